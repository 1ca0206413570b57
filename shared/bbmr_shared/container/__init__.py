"""The container format: header, rate and strength maps, planes, digests; reading, checking and writing.

Names are loaded when they are first used, so that importing one light submodule does not load numpy and Pillow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .container import FULL_STRENGTH, MEDIA_TYPE, Container
    from .planes import AlphaPlane, Plane

__all__ = ["FULL_STRENGTH", "MEDIA_TYPE", "AlphaPlane", "Container", "Plane"]

_HOMES = {
    "Container": ".container",
    "FULL_STRENGTH": ".container",
    "MEDIA_TYPE": ".container",
    "AlphaPlane": ".planes",
    "Plane": ".planes",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
