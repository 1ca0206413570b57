"""Reads photos: a picture file becomes upright 8-bit RGB, alpha and metadata.

Names are loaded when they are first used, so that importing one light submodule does not load numpy and Pillow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bbmr_shared.lazy import lazy_names

if TYPE_CHECKING:
    from .photo import Photo, load_photo

__all__ = ["Photo", "load_photo"]

_MODULE_OF = {"Photo": ".photo", "load_photo": ".photo"}

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
