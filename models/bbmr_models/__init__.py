"""The Upscaling Module: JointSR, its weights, and reconstruction of containers.

model = bbmr_models.load("light")
picture = bbmr_models.Reconstructor(model).reconstruct(container)

The names below are imported when they are first used, so that cards, tiles and configurations need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cards import Card, available
    from .config import JointSRConfig
    from .jointsr import JointSR
    from .reconstruct import Reconstructor
    from .weights import load

__all__ = ["Card", "JointSR", "JointSRConfig", "Reconstructor", "available", "load"]

_HOMES = {
    "Card": "cards",
    "JointSR": "jointsr",
    "JointSRConfig": "config",
    "Reconstructor": "reconstruct",
    "available": "cards",
    "load": "weights",
}


def __getattr__(name: str) -> Any:
    if name == "reconstruct":
        return import_module(".reconstruct", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
