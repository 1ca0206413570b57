"""Reconstruction on this machine, without a server.

The network comes from an entry point (group "bbmr.reconstruct", name "local"), so the client itself imports no runtime.
It needs the extra `local` or `server`.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, cast

from bbmr_client.region import checked_region
from bbmr_shared.arguments import check_type, is_whole
from bbmr_shared.compositing.region import Region
from bbmr_shared.errors import InvalidArgumentError, UsageError

if TYPE_CHECKING:
    from PIL import Image

    from bbmr_shared.container import Container

_RUNTIMES = ("ncnn", "torch")
GROUP, NAME = "bbmr.reconstruct", "local"
INSTALL = "reconstructing on this machine needs the network: pip install '.[local]' in a checkout, or use --server URL"


class Reconstruct(Protocol):
    """The function that the entry point loads."""

    def __call__(
        self,
        container: Container,
        *,
        model: str | None = None,
        region: Region | None = None,
        threads: int | None = None,
    ) -> Image.Image: ...


def reconstruct_local(
    container: Container,
    *,
    model: str | None = None,
    region: Region | None = None,
    threads: int | None = None,
) -> Image.Image:
    """Returns the reconstructed picture, made with the weights on this machine.

    model: name of the weights; None: those that the container names.
    region: x, y, width, height in pixels; None: the whole picture.
    threads: CPU threads; None: as many as the process may use.

    Raises:
        UsageError: the network is not installed, or the region is not in the picture.
        ModelError: the weights do not exist or cannot read the container.
    """
    from bbmr_shared.container import Container

    check_type("the container", container, Container)
    check_type("model", model, str, type(None))
    if threads is not None and (not is_whole(threads) or threads < 1):
        raise InvalidArgumentError(f"threads are a whole number above 0, not {threads!r}")
    part = None if region is None else checked_region(region, (container.width, container.height))
    return _load()(container, model=model, region=part, threads=threads)


def has_network() -> bool:
    """Returns whether a network is installed on this machine."""
    return bool(entry_points(group=GROUP, name=NAME)) and any(find_spec(name) for name in _RUNTIMES)


def _load() -> Reconstruct:
    for entry_point in entry_points(group=GROUP, name=NAME):
        return cast(Reconstruct, entry_point.load())
    raise UsageError(INSTALL)
