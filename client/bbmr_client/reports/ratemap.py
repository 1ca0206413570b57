"""The rate map as something to look at: coloured over the picture, with a legend.

In: a picture and its container. Out: a `PIL.Image.Image` in RGB. Drawn with Pillow alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bbmr_shared.container import Container
from bbmr_shared.grid import RATES, BlockGrid

RATE_COLOURS = {1: (244, 84, 84), 2: (247, 160, 58), 4: (236, 218, 92), 8: (62, 180, 166), 16: (68, 92, 196)}
"""From warm (many samples) to cool (few)."""

TINT = 0.42
BACKGROUND = (255, 255, 255)
TEXT = (32, 32, 36)
FAINT = (110, 110, 118)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def rate_map_picture(picture: Image.Image, container: Container) -> Image.Image:
    """The rate map over `picture` (the whole one), with the legend below."""
    tinted = overlay(picture, container.rate_map, container.grid)
    legend = rate_legend(container, tinted.width)
    sheet = Image.new("RGB", (max(tinted.width, legend.width), tinted.height + legend.height), BACKGROUND)
    sheet.paste(tinted, (0, 0))
    sheet.paste(legend, (0, tinted.height))
    return sheet


def overlay(picture: Image.Image, rate_map: NDArray[np.uint8], grid: BlockGrid) -> Image.Image:
    """`picture` in grey under the colours of its blocks' rates, with the block borders: RGB, the same size.

    rate_map: uint8 [rows, cols]; grid: of the whole picture, whose size `picture` has.
    """
    colours = np.zeros((max(RATES) + 1, 3), np.uint8)
    for rate, colour in RATE_COLOURS.items():
        colours[rate] = colour
    tint = grid.expand(rate_map)[: grid.height, : grid.width]
    grey = picture.convert("RGB").convert("L").convert("RGB")
    result = Image.blend(grey, Image.fromarray(colours[tint]), TINT)
    draw = ImageDraw.Draw(result)
    wide = max(1, round(max(grid.width, grid.height) / 1400))
    for row, col in np.argwhere(rate_map[:, 1:] != rate_map[:, :-1]):
        x = (int(col) + 1) * grid.block
        draw.line((x, int(row) * grid.block, x, (int(row) + 1) * grid.block), fill=BACKGROUND, width=wide)
    for row, col in np.argwhere(rate_map[1:] != rate_map[:-1]):
        y = (int(row) + 1) * grid.block
        draw.line((int(col) * grid.block, y, (int(col) + 1) * grid.block, y), fill=BACKGROUND, width=wide)
    return result


def rate_legend(container: Container, width: int) -> Image.Image:
    """One swatch per rate with the number of its blocks, in a strip `width` pixels wide (or as wide as the text)."""
    size = min(28, max(11, width // 52))
    font, pad = default_font(size), round(size * 0.7)
    entries = []
    for rate in RATES:
        blocks = int(np.count_nonzero(container.rate_map == rate))
        entries.append((RATE_COLOURS[rate], f"rate {rate}: {blocks} block{'' if blocks == 1 else 's'}"))
    swatch = size
    needed = sum(swatch + pad // 2 + text_width(font, text) + 2 * pad for _, text in entries) + pad
    strip = Image.new("RGB", (max(width, needed), size + 2 * pad), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    x = pad
    for colour, text in entries:
        draw.rectangle((x, pad, x + swatch - 1, pad + swatch - 1), fill=colour)
        x += swatch + pad // 2
        draw.text((x, pad + swatch // 2), text, font=font, fill=TEXT, anchor="lm")
        x += text_width(font, text) + 2 * pad
    return strip


def default_font(size: int) -> Font:
    """Pillow's own font (ASCII only: no ×, ², –)."""
    return ImageFont.load_default(size)


def text_width(font: Font, text: str) -> int:
    """Pixels that `text` takes on one line."""
    return round(font.getlength(text))
