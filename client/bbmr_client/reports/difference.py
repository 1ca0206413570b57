"""Draws how two pictures differ: a heat map with its scale, or a sheet that also enlarges the worst places.

The difference of a pixel is the largest of its channels, 0 … 255. The scale ends at a power of two that at most one
pixel in a hundred exceeds, so that small differences are visible too. Pictures are `uint8 [H, W, 3]` of one size.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bbmr_client.reports.figure import Box, Panel, comparison_figure
from bbmr_client.reports.ratemap import BACKGROUND, TEXT, default_font, text_width

Picture = NDArray[np.uint8]

SCALES = (4, 8, 16, 32, 64, 128, 255)
MAX_SHARE_BEYOND = 0.01
"""The largest share of the pixels that may exceed the scale."""
REFERENCE_BRIGHTNESS = 0.22
"""Brightness of the reference where the pictures do not differ."""
DETAILS = 2
DETAIL_SIZE = (300, 180)
"""Width and height of a detail in pixels. The sheet shows it twice as large."""

_HEAT = ((0, 0, 0), (66, 30, 130), (176, 42, 110), (238, 102, 36), (252, 190, 44), (255, 255, 220))
_CELL = 4
_STRIP = 256


def difference_map(reference: Picture, test: Picture) -> Image.Image:
    """Returns the heat map over the darkened reference, pixel for pixel, with the scale below; RGB."""
    amount = differences(reference, test)
    top = scale_end(amount)
    heat = heat_map(reference, amount, top)
    legend = scale_legend(top, heat.width)
    sheet = Image.new("RGB", (max(heat.width, legend.width), heat.height + legend.height), BACKGROUND)
    sheet.paste(heat, (0, 0))
    sheet.paste(legend, (0, heat.height))
    return sheet


def difference_sheet(
    reference: Picture, test: Picture, titles: tuple[str, str], figures: Mapping[str, float | int | None]
) -> Image.Image:
    """Returns reference, test and heat map side by side, with the places that differ most enlarged below; RGB.

    titles: the names of the two pictures; figures: from `bbmr_shared.metrics.compare`.
    """
    amount = differences(reference, test)
    top = scale_end(amount)
    sheet = comparison_figure(
        (
            Panel(titles[0], ("reference",), Image.fromarray(reference)),
            Panel(titles[1], (_metrics_line(figures),), Image.fromarray(test)),
            Panel("difference", (_difference_line(amount, top),), heat_map(reference, amount, top)),
        ),
        worst_details(amount),
    )
    legend = scale_legend(top, sheet.width)
    whole = Image.new("RGB", (sheet.width, sheet.height + legend.height), BACKGROUND)
    whole.paste(sheet, (0, 0))
    whole.paste(legend, (0, sheet.height))
    return whole


def differences(reference: Picture, test: Picture) -> Picture:
    """Returns the largest difference of the channels of every pixel, `uint8 [H, W]`.

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != test.shape:
        raise ValueError(f"pictures of unequal shape: {reference.shape} and {test.shape}")
    amount = np.empty(reference.shape[:2], np.uint8)
    for row in range(0, len(amount), _STRIP):
        rows = slice(row, row + _STRIP)
        higher, lower = np.maximum(reference[rows], test[rows]), np.minimum(reference[rows], test[rows])
        amount[rows] = (higher - lower).max(axis=2)
    return amount


def largest(first: Picture, second: Picture) -> int:
    """Returns the largest difference of any two samples, 0 … 255. The arrays have the same shape."""
    return int((np.maximum(first, second) - np.minimum(first, second)).max())


def scale_end(amount: Picture) -> int:
    """Returns the end of the scale: the first of `SCALES` that at most `MAX_SHARE_BEYOND` of the pixels exceed."""
    counts = np.bincount(amount.ravel(), minlength=256)
    return next(top for top in SCALES if counts[top + 1 :].sum() <= MAX_SHARE_BEYOND * amount.size)


def heat_map(reference: Picture, amount: Picture, top: int) -> Image.Image:
    """Returns `amount` in colours, black at 0 and brightest from `top` on, over the reference, dark and grey."""
    colours = _colours(top)
    # The share of the colour: below a quarter of the scale the reference is visible.
    share = np.minimum(np.arange(256) * 4 / top, 1)
    table = (colours * share[:, None]).astype(np.uint8)
    below = ((1 - share) * REFERENCE_BRIGHTNESS).astype(np.float32)
    grey = np.asarray(Image.fromarray(reference).convert("L"))
    out = table[amount]
    for row in range(0, len(amount), _STRIP):
        rows = slice(row, row + _STRIP)
        out[rows] += (below[amount[rows]] * grey[rows]).astype(np.uint8)[..., None]
    return Image.fromarray(out)


def scale_legend(top: int, width: int) -> Image.Image:
    """Returns a strip with the colours from 0 to `top` and numbers, at least `width` pixels wide."""
    size = min(20, max(11, width // 52))
    font, pad = default_font(size), round(size * 0.7)
    marks = [round(top * part / 4) for part in range(5)]
    labels = [
        *(str(mark) for mark in marks[:-1]),
        f"{top} of 255" if top == 255 else f"{top} and more, of 255",
    ]
    room = text_width(font, labels[-1])
    bar = max(min(width - room - 3 * pad, 40 * size), 4 * text_width(font, "000"))
    strip = Image.new("RGB", (max(width, bar + room + 3 * pad), 2 * size + 3 * pad), BACKGROUND)
    ramp = _colours(top)[np.linspace(0, top, bar).round().astype(int)].astype(np.uint8)
    strip.paste(Image.fromarray(np.broadcast_to(ramp, (size, bar, 3)).copy()), (pad, pad))
    draw = ImageDraw.Draw(strip)
    for part, label in enumerate(labels):
        x = pad + round(part * (bar - 1) / 4)
        draw.line((x, 2 * pad, x, pad + size + pad // 2), fill=TEXT)
        draw.text((x, 2 * pad + size), label, font=font, fill=TEXT, anchor="la" if part in (0, 4) else "ma")
    return strip


def worst_details(amount: Picture) -> list[Box]:
    """Returns the boxes of `DETAIL_SIZE` with the largest squared differences. They do not overlap.

    A picture that is smaller than two details across or down has none.
    """
    height, width = amount.shape
    if width < 2 * DETAIL_SIZE[0] or height < 2 * DETAIL_SIZE[1] or not amount.any():
        return []
    cells = _cell_sums(amount)
    wide, high = DETAIL_SIZE[0] // _CELL, DETAIL_SIZE[1] // _CELL
    sums = np.zeros((cells.shape[0] + 1, cells.shape[1] + 1))
    np.cumsum(np.cumsum(cells, axis=0), axis=1, out=sums[1:, 1:])
    windows = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    details: list[Box] = []
    for _ in range(DETAILS):
        top, left = divmod(int(np.argmax(windows)), windows.shape[1])
        if windows[top, left] <= 0:
            break
        x, y = left * _CELL, top * _CELL
        details.append((x, y, x + DETAIL_SIZE[0], y + DETAIL_SIZE[1]))
        windows[max(0, top - high + 1) : top + high, max(0, left - wide + 1) : left + wide] = -1
    return details


def _cell_sums(amount: Picture) -> NDArray[np.float64]:
    """Sums of squares over cells of `_CELL`×`_CELL` pixels, without incomplete cells at the right and bottom."""
    rows, cols = amount.shape[0] // _CELL, amount.shape[1] // _CELL
    sums = np.empty((rows, cols))
    for row in range(rows):
        strip = amount[row * _CELL : (row + 1) * _CELL, : cols * _CELL].astype(np.float64)
        sums[row] = (strip**2).reshape(_CELL, cols, _CELL).sum(axis=(0, 2))
    return sums


def _colours(top: int) -> NDArray[np.float64]:
    """Returns the colour of every difference, `[256, 3]`."""
    at = np.minimum(np.arange(256) / top, 1) * (len(_HEAT) - 1)
    return np.stack(
        [np.interp(at, np.arange(len(_HEAT)), channel) for channel in np.transpose(_HEAT)], axis=1
    )


def _metrics_line(figures: Mapping[str, float | int | None]) -> str:
    decibel = {
        key: "equal" if figures[key] is None else f"{figures[key]:.2f} dB" for key in ("psnr_y", "psnr_rgb")
    }
    return f"PSNR-Y {decibel['psnr_y']}, PSNR-RGB {decibel['psnr_rgb']}, SSIM {figures['ssim']:.4f}"


def _difference_line(amount: Picture, top: int) -> str:
    largest = int(amount.max())
    if largest == 0:
        return "none"
    return f"at most {largest}; mean {float(amount.mean()):.2f}; scale ends at {top}"
