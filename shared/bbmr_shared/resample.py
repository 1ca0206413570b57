"""Bicubic resizing of whole pictures (Keys, a = −0.5, antialiased, by Pillow)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .colour import weighted_squared_error


def bicubic(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resizes `uint8 [H, W, 3]` to `uint8 [height, width, 3]`; the kernel grows with the factor of shrinking."""
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def round_trip_error(picture: NDArray[np.uint8], plane: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the weighted squared error `[H, W]` of `plane`, a smaller version of the picture, enlarged again."""
    height, width = picture.shape[:2]
    return weighted_squared_error(picture, bicubic(plane, width, height))
