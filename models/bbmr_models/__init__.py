"""The Upscaling Module: JointSR, its weights, and reconstruction of containers.

model = bbmr_models.load("light")
picture = bbmr_models.reconstruct.Reconstructor(model).reconstruct(container)

The names below are loaded when they are first asked for: cards, tiles and configurations can be had without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cards import Card, available
    from .config import JointSRConfig
    from .jointsr import JointSR
    from .weights import load

__all__ = ["Card", "JointSR", "JointSRConfig", "available", "load"]

_HOMES = {
    "Card": "cards",
    "JointSR": "jointsr",
    "JointSRConfig": "config",
    "available": "cards",
    "load": "weights",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
