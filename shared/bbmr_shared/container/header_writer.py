"""Makes the header map of a container's file: known fields in the order of the specification, then unknown ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from . import block_maps
from .frame import digest
from .header import ORIGINAL, VERSION
from .planes import AlphaPlane, Plane


class Writable(Protocol):
    """What is written of a `Container`; its fields are described there."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def rate_map(self) -> NDArray[np.uint8]: ...
    @property
    def planes(self) -> tuple[Plane, ...]: ...
    @property
    def block(self) -> int: ...
    @property
    def alpha(self) -> AlphaPlane | None: ...
    @property
    def downscaler(self) -> str: ...
    @property
    def downscaler_version(self) -> int: ...
    @property
    def strength(self) -> int: ...
    @property
    def strength_map(self) -> NDArray[np.uint8] | None: ...
    @property
    def channels(self) -> int: ...
    @property
    def dpi(self) -> tuple[float, float] | None: ...
    @property
    def original(self) -> bool: ...
    @property
    def extra(self) -> Mapping[str, object]: ...


def header_map(container: Writable) -> dict[str, object]:
    """Returns the header of the container's file; the same container always gives the same map in the same order."""
    fields: dict[str, object] = {
        "version": VERSION,
        "width": container.width,
        "height": container.height,
        "block": container.block,
        "rates": [plane.rate for plane in container.planes],
        "map": block_maps.encode_map(block_maps.rates_to_symbols(container.rate_map)),
        "planes": [
            {"rate": plane.rate, **_entry(plane), "error": plane.error, **plane.extra}
            for plane in container.planes
        ],
        "strength": container.strength,
        "downscaler": container.downscaler,
        "downscaler_version": container.downscaler_version,
    }
    if container.strength_map is not None:
        fields["strength_map"] = block_maps.encode_map(container.strength_map)
    if container.alpha is not None:
        fields["alpha"] = {**_entry(container.alpha), **container.alpha.extra}
    for name in ("model", "icc", "exif", "xmp"):
        if getattr(container, name) is not None:
            fields[name] = getattr(container, name)
    if container.channels != 3:
        fields["channels"] = container.channels
    if container.dpi is not None:
        fields["dpi"] = [float(density) for density in container.dpi]
    if container.original:
        fields[ORIGINAL] = True
    return {**fields, **container.extra}


def _entry(picture: Plane | AlphaPlane) -> dict[str, object]:
    return {"codec": picture.codec, "bytes": len(picture.data), "digest": digest(picture.data)}
