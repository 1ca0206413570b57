"""Bicubic resizing of whole pictures, the one way this project does it (Keys, a = −0.5, antialiased, Pillow)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .colour import weighted_squared_error


def bicubic(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """`uint8 [H, W, 3]` → `uint8 [height, width, 3]`; the kernel's support is stretched when it shrinks."""
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def round_trip_error(picture: NDArray[np.uint8], plane: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Weighted squared error of each pixel after `plane`, the picture made small, is enlarged again: `[H, W]`."""
    height, width = picture.shape[:2]
    return weighted_squared_error(picture, bicubic(plane, width, height))
