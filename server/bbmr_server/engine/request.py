"""What the engine is asked for and what it answers. Plain data, no HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bbmr_server.errors import InvalidRequestError
from bbmr_shared.compositing.region import Region
from bbmr_shared.compositing.region import check_region as check_region_of
from bbmr_shared.container import Container
from bbmr_shared.errors import UnknownModelError

STAGES = ("decode", "queue", "network", "encode")
"""The parts of a request's time, in the order in which `Server-Timing` lists them."""


@dataclass(frozen=True)
class Work:
    """One picture to make.

    Attributes:
        container: checked, not decoded.
        format: a name in `bbmr_shared.images.output.OUTPUT_FORMATS`.
        region: only this part of the picture.
        max_side: a thumbnail of the composite with at most this many pixels a side; the network is not used.
        model: the weights; None takes those that the container names, or the server's default.
    """

    container: Container
    format: str = "png"
    region: Region | None = None
    max_side: int | None = None
    model: str | None = None


def check_region(region: Region, container: Container) -> None:
    """Raise `InvalidRequestError` where the region is not inside the picture."""
    try:
        check_region_of(region, container.width, container.height)
    except ValueError as error:
        raise InvalidRequestError(
            str(error), fields={"errors": [{"field": "region", "message": str(error)}]}
        ) from None


def check_model(name: str, models: Sequence[str], who: str = "the request asks") -> None:
    """Raise `UnknownModelError` where the weights `name` are not among those that are served."""
    if name not in models:
        raise UnknownModelError(
            f"{who} for the weights {name[:80]!r}, which are not loaded here; choose with "
            f"model={' or model='.join(models)}"
        )


def model_for(work: Work, models: Sequence[str]) -> str:
    """The weights, of those that are served (the default first), that `work` will be done with.

    Raises:
        UnknownModelError: they are not served.
    """
    if work.model is None and not work.container.uses_network:
        return models[0]  # it will not be asked
    name = work.model or work.container.model or models[0]
    check_model(name, models, "the request asks" if work.model else "the container was made")
    return name


@dataclass(frozen=True)
class Answer:
    """One picture made.

    Attributes:
        data: the coded file of type `mime`.
        width, height: its size in pixels.
        model: the weights used; "none" where no network was asked: a thumbnail, or a container of strength 0.
        seconds: stage → seconds, for each of `STAGES` that was gone through.
    """

    data: bytes
    mime: str
    width: int
    height: int
    model: str
    seconds: Mapping[str, float] = field(default_factory=dict)
