"""Errors and gradients of blocks, estimated fast and with little memory.

A histogram of |a − b| has all the moments of the difference. Pictures are compared in 8-bit YCbCr; the rounding adds
about 1/6 to every squared error. Of large pictures only some stripes of 16 rows are looked at, which saves time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from .colour import CHROMA_WEIGHT, LUMA_WEIGHT
from .grid import BlockGrid
from .resample import enlarged_rows

GRADIENT_MOMENTS = (1, 2, 4)
"""The powers of the absolute gradient whose means are taken."""
_STRIPE = 16
_PERIODS = ((600_000, 1), (3_000_000, 2), (2**62, 4))
"""(Pixels, one of so many stripes is looked at). By half of them, the errors of pictures of 0.4 MP were off by 5 %."""
_CAP = 80
"""Gradients above it count as this in the moments."""
_SQUARES = np.arange(256, dtype=np.float64) ** 2
_WEIGHTS = np.array([LUMA_WEIGHT, CHROMA_WEIGHT, CHROMA_WEIGHT]) / (LUMA_WEIGHT + 2 * CHROMA_WEIGHT)
_POWERS = np.minimum(np.arange(256, dtype=np.float64), _CAP)[:, None] ** GRADIENT_MOMENTS


class BlockStatistics:
    """A picture in YCbCr, and what is measured against it.

    Args:
        picture: the whole padded picture at 1/`at`, `uint8 [H/at, W/at, 3]`.
        grid: the blocks of the picture.
        at: a rate.
    """

    def __init__(self, picture: NDArray[np.uint8], grid: BlockGrid, at: int = 1) -> None:
        self._heights, self._widths = (sides // at for sides in (grid.heights, grid.widths))
        pixels = grid.padded_width * grid.padded_height
        period = next(period for most, period in _PERIODS if pixels <= most) * _STRIPE // at
        self._stripes = [
            [(top, min(top + _STRIPE // at, bottom)) for top in range(bottom - height, bottom, period)]
            for bottom, height in zip(np.cumsum(self._heights).tolist(), self._heights.tolist(), strict=True)
        ]
        self._looked_at = [self._joined(picture, 1, stripes) for stripes in self._stripes]

    def errors(self, plane: NDArray[np.uint8], rate: int) -> NDArray[np.float64]:
        """Returns the squared error (YCbCr weighted 6:1:1) of each block, summed, of a plane enlarged by bicubic.

        Args:
            plane: the same picture `rate` times smaller, `uint8 [H/(at·rate), W/(at·rate), 3]`.

        Returns:
            `float64 [rows, cols]`.
        """
        sums = np.zeros((len(self._heights), len(self._widths)))
        lefts = np.cumsum(self._widths) - self._widths
        for row, (stripes, strip) in enumerate(zip(self._stripes, self._looked_at, strict=True)):
            difference = ImageChops.difference(strip, self._joined(plane, rate, stripes))
            share = self._heights[row] / strip.height
            squares = np.asarray(difference).astype(np.float32)
            np.square(squares, out=squares)
            sums[row] = share * np.add.reduceat(squares.sum(axis=0) @ _WEIGHTS, lefts)
        return sums

    def gradient_moments(self) -> NDArray[np.float64]:
        """Returns the means of the first, second and fourth power of the luma gradient: `float64 [3, rows, cols]`.

        The gradient is the absolute difference of neighbours, across and down alike. Where stripes meet, rows that are
        no neighbours count, too.
        """
        means = np.zeros((len(GRADIENT_MOMENTS), len(self._heights), len(self._widths)))
        for row, strip in enumerate(self._looked_at):
            luma = strip.getchannel("Y")
            width, height = luma.size
            across = ImageChops.difference(luma.crop((1, 0, width + 1, height)), luma)
            down = ImageChops.difference(luma.crop((0, 1, width, height + 1)), luma)
            # beyond the border lies zero, which is no neighbour
            across.paste(0, (width - 1, 0, width, height))
            down.paste(0, (0, height - 1, width, height))
            for column, (one, other) in enumerate(
                zip(self._histograms(across), self._histograms(down), strict=True)
            ):
                means[:, row, column] = (one + other) @ _POWERS / (one.sum() + other.sum())
        return means

    @staticmethod
    def _joined(plane: NDArray[np.uint8], rate: int, stripes: list[tuple[int, int]]) -> Image.Image:
        """The stripes of a plane, enlarged and stacked, in YCbCr."""
        rows = [plane[top:end] if rate == 1 else enlarged_rows(plane, rate, top, end) for top, end in stripes]
        return Image.fromarray(np.concatenate(rows)).convert("YCbCr")

    def _histograms(self, row: Image.Image) -> Iterator[NDArray[np.float64]]:
        rights = np.cumsum(self._widths)
        for left, right in zip((rights - self._widths).tolist(), rights.tolist(), strict=True):
            yield np.array(row.crop((left, 0, right, row.height)).histogram(), np.float64)


def mean_squared_error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Returns the mean squared error of two pictures: `uint8 [h, w, 3]`, or `[h, w]` for three equal channels."""
    first, second = (Image.fromarray(np.ascontiguousarray(one)) for one in (a, b))
    if first.mode != second.mode:
        first, second = first.convert("RGB"), second.convert("RGB")
    histogram = np.array(ImageChops.difference(first, second).histogram(), np.float64).reshape(-1, 256)
    return float((histogram @ _SQUARES).sum() / histogram.sum())
