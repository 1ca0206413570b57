"""From a container to the header map of its file, in the one order that the specification gives.

In: a checked `Container`. Out: a map that `layout.write_frame` packs: known fields first, then those that were
read and are not known here, as they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import block_maps
from .frame import digest
from .header import ORIGINAL, VERSION

if TYPE_CHECKING:
    from .container import Container
    from .planes import AlphaPlane, Plane


def header_map(container: Container) -> dict[str, object]:
    """The header of the container's file; the same container always gives the same map in the same order."""
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
