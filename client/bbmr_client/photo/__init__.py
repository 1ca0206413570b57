"""Reads photos: a picture file becomes upright 8-bit RGB, alpha and metadata.

Names are loaded when they are first used, so that importing one light submodule does not load numpy and Pillow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .photo import Photo, load_photo

__all__ = ["Photo", "load_photo"]

_HOMES = {"Photo": ".photo", "load_photo": ".photo"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
