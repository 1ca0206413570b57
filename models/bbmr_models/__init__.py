"""The Upscaling Module: JointSR, its weights, and reconstruction of containers.

model = bbmr_models.load("light")
picture = bbmr_models.reconstruct.Reconstructor(model).reconstruct(container)
"""

from __future__ import annotations

from .jointsr import JointSR, JointSRConfig
from .weights import Card, available, load

__all__ = ["Card", "JointSR", "JointSRConfig", "available", "load"]
