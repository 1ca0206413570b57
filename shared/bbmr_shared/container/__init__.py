"""The container format: header, rate and strength maps, planes, digests; reading, checking and writing.

Names are loaded when they are first used, so that importing one light submodule does not load numpy and Pillow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bbmr_shared.lazy import lazy_names

if TYPE_CHECKING:
    from .container import FULL_STRENGTH, MEDIA_TYPE, Container
    from .planes import AlphaPlane, Plane

__all__ = ["FULL_STRENGTH", "MEDIA_TYPE", "AlphaPlane", "Container", "Plane"]

_MODULE_OF = {
    "Container": ".container",
    "FULL_STRENGTH": ".container",
    "MEDIA_TYPE": ".container",
    "AlphaPlane": ".planes",
    "Plane": ".planes",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
