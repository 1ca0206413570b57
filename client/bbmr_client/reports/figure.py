"""Draws a comparison: pictures side by side with captions, and enlarged details of each below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bbmr_client.reports.ratemap import BACKGROUND, FAINT, TEXT, default_font, text_width

COLUMN = 600
ZOOM = 2
_GAP, _TITLE, _LINE, _STEP = 20, 26, 20, 28
_MARKS = ((255, 255, 255), (255, 214, 10))

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels."""
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Panel:
    """One column of the figure.

    title, lines: the caption. picture: RGB; those of all panels have the same size. keys: a legend of colours.
    """

    title: str
    lines: tuple[str, ...]
    picture: Image.Image
    keys: tuple[tuple[str, Colour], ...] = ()


def comparison_figure(panels: Sequence[Panel], details: Sequence[Box]) -> Image.Image:
    """Returns all panels, with each detail enlarged below its picture and its place marked in the picture."""
    width, height = panels[0].picture.size
    scale = min(COLUMN / width, COLUMN / height)
    small = max(1, round(width * scale)), max(1, round(height * scale))
    zoomed = [(ZOOM * (box[2] - box[0]), ZOOM * (box[3] - box[1])) for box in details]
    column = max([small[0], *(size[0] for size in zoomed)])
    caption = _TITLE + 14 + _STEP * max(len(panel.lines) + bool(panel.keys) for panel in panels)
    tall = 2 * _GAP + caption + small[1] + sum(_GAP + size[1] for size in zoomed)
    sheet = Image.new("RGB", (len(panels) * (column + _GAP) + _GAP, tall), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for index, panel in enumerate(panels):
        x, y = _GAP + index * (column + _GAP), _GAP + caption
        _draw_caption(draw, panel, x, _GAP)
        sheet.paste(panel.picture.resize(small, Image.Resampling.LANCZOS), (x, y))
        _draw_marks(draw, details, scale, x, y)
        y += small[1]
        for box, size in zip(details, zoomed, strict=True):
            y += _GAP
            sheet.paste(panel.picture.crop(box).resize(size, Image.Resampling.NEAREST), (x, y))
            y += size[1]
    return sheet


def best_and_worst_details(
    reference: NDArray[np.uint8], first: NDArray[np.uint8], second: NDArray[np.uint8]
) -> tuple[Box, Box]:
    """Returns where `second` is better than `first` by most, and where it is worse by most.

    All pictures are uint8 [H, W, 3]. An enlarged detail fits a column.
    """
    height, width = reference.shape[:2]
    box_width, box_height = min(width, COLUMN // ZOOM), min(height, COLUMN // ZOOM * 3 // 5)
    gain = _squared_error(reference, first) - _squared_error(reference, second)
    sums = np.zeros((height + 1, width + 1))
    np.cumsum(np.cumsum(gain, axis=0), axis=1, out=sums[1:, 1:])
    tops, lefts = height - box_height + 1, width - box_width + 1
    windows = sums[box_height:, box_width:] - sums[:tops, box_width:] - sums[box_height:, :lefts]
    windows += sums[:tops, :lefts]

    def box(at: np.intp) -> Box:
        top, left = divmod(int(at), windows.shape[1])
        return left, top, left + box_width, top + box_height

    return box(np.argmax(windows)), box(np.argmin(windows))


def _draw_marks(draw: ImageDraw.ImageDraw, details: Sequence[Box], scale: float, x: int, y: int) -> None:
    """Frames around the details in a picture at (x, y), `scale` times its size."""
    for number, box in enumerate(details):
        left, top, right, bottom = (round(value * scale) for value in box)
        frame = (x + left, y + top, x + right - 1, y + bottom - 1)
        draw.rectangle(frame, outline=TEXT, width=5)
        draw.rectangle(frame, outline=_MARKS[number % len(_MARKS)], width=3)


def _draw_caption(draw: ImageDraw.ImageDraw, panel: Panel, x: int, y: int) -> None:
    draw.text((x, y), panel.title, font=default_font(_TITLE), fill=TEXT)
    font = default_font(_LINE)
    y += _TITLE + 12
    for line in panel.lines:
        draw.text((x, y), line, font=font, fill=FAINT)
        y += _STEP
    for name, colour in panel.keys:
        draw.rectangle((x, y + 2, x + _LINE - 3, y + _LINE - 1), fill=colour)
        draw.text((x + _LINE + 4, y), name, font=font, fill=FAINT)
        x += _LINE + 4 + text_width(font, name) + _GAP


def _squared_error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    difference = a.astype(np.float32) - b.astype(np.float32)
    return np.asarray((difference**2).sum(axis=2), dtype=np.float64)
