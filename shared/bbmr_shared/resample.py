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


REACH = 3
"""Rows of a plane beyond a strip that the kernel can reach (Keys: two), and one to spare."""


def enlarged_rows(plane: NDArray[np.uint8], rate: int, top: int, bottom: int) -> NDArray[np.uint8]:
    """Returns rows `top` to `bottom` of the picture that `bicubic` makes of a plane: `uint8 [bottom - top, W, 3]`.

    Passes only the rows that the kernel reaches. The number of rows decides which of Pillow's two passes comes first,
    and the samples are rounded in between.
    """
    first, last = max(0, top // rate - REACH), min(plane.shape[0], bottom // rate + REACH)
    box = (0, top // rate - first, plane.shape[1], bottom // rate - first)
    size = (plane.shape[1] * rate, bottom - top)
    return np.asarray(Image.fromarray(plane[first:last]).resize(size, Image.Resampling.BICUBIC, box=box))


def round_trip_error(picture: NDArray[np.uint8], plane: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the weighted squared error `[H, W]` of `plane`, a smaller version of the picture, enlarged again."""
    height, width = picture.shape[:2]
    return weighted_squared_error(picture, bicubic(plane, width, height))
