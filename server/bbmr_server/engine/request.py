"""The requests to the engine and its answers: plain data, without HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bbmr_server.errors import InvalidRequestError
from bbmr_shared.compositing.region import Region
from bbmr_shared.compositing.region import check_region as check_region_of
from bbmr_shared.container import Container
from bbmr_shared.errors import UnknownModelError

STAGES = ("decode", "queue", "network", "encode")
"""The parts of a request's time, in the order in which `Server-Timing` lists them."""


@dataclass(frozen=True)
class PictureRequest:
    """One picture to make.

    Attributes:
        container: checked, not decoded.
        format: a name in `bbmr_shared.images.output.OUTPUT_FORMATS`.
        region: only this part of the picture.
        max_side: a thumbnail of the composite with at most this many pixels a side; the network is not used.
        model: name of the weights; None takes those that the container names, or the server's default.
        pixels: the answer also has the picture's samples.
    """

    container: Container
    format: str = "png"
    region: Region | None = None
    max_side: int | None = None
    model: str | None = None
    pixels: bool = False

    @property
    def source_file(self) -> bytes | None:
        """The file that answers the request as it is: an original, asked for whole and in its own format."""
        if self.region is not None or self.max_side is not None or self.pixels:
            return None
        return self.container.source_file(self.format)


def check_region(region: Region, container: Container) -> None:
    """Raise `InvalidRequestError` if the region is not inside the picture."""
    try:
        check_region_of(region, container.width, container.height)
    except ValueError as error:
        raise InvalidRequestError(
            str(error), fields={"errors": [{"field": "region", "message": str(error)}]}
        ) from None


def check_model(name: str, models: Sequence[str], who: str = "the request asks") -> None:
    """Raise `UnknownModelError` if the weights `name` are not among `models`, which are served."""
    if name not in models:
        raise UnknownModelError(
            f"{who} for the weights {name[:80]!r}, which are not loaded here; choose with "
            f"model={' or model='.join(models)}"
        )


def model_for(request: PictureRequest, models: Sequence[str]) -> str:
    """The name of the weights that make the picture.

    Args:
        models: the names that are served; the first is the default.

    Raises:
        UnknownModelError: the weights are not served.
    """
    if request.model is None and not request.container.uses_network:
        return models[0]  # the network will not run
    name = request.model or request.container.model or models[0]
    check_model(name, models, "the request asks" if request.model else "the container was made")
    return name


@dataclass(frozen=True)
class Answer:
    """One picture as a file.

    Attributes:
        data: the file, of type `mime`.
        width, height: its size in pixels.
        model: name of the weights; "none" where no weights were chosen: a thumbnail, or a container of strength 0.
        seconds: stage → seconds, for each of `STAGES` that the request went through.
        pixels: `uint8 [height, width, 3]` without alpha, if the request asked for them.
    """

    data: bytes
    mime: str
    width: int
    height: int
    model: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    pixels: NDArray[np.uint8] | None = field(default=None, compare=False, repr=False)
