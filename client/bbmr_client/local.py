"""Reconstruction on this machine, without a server: the network is found through an entry point, never imported.

In: a container. Out: a picture. The entry point (group "bbmr.reconstruct", name "local") keeps the client free of
torch: whoever installs the `server` extra has one, and `import bbmr_client` does not know of it.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol, cast

from bbmr_shared.compositing.region import Region
from bbmr_shared.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

    from bbmr_shared.container import Container

GROUP, NAME = "bbmr.reconstruct", "local"
INSTALL = "reconstructing on this machine needs the network: pip install 'bbmr[server]', or use --server URL"

_PACKAGES_OF_THE_EXTRA = {"torch", "safetensors", "bbmr_models"}


class Reconstruct(Protocol):
    """What the entry point names."""

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
    """Reconstruct with the weights on this machine: `model`, or those that the container names.

    Raises:
        UsageError: the network is not installed.
        ModelError: the weights do not exist or cannot read the container.
    """
    return _load()(container, model=model, region=region, threads=threads)


def _load() -> Reconstruct:
    for found in entry_points(group=GROUP, name=NAME):
        try:
            return cast(Reconstruct, found.load())
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _PACKAGES_OF_THE_EXTRA:
                raise
            raise UsageError(INSTALL) from error
    raise UsageError(INSTALL)
