"""Draws the rate map of a container: colours over the picture, with a legend."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bbmr_client.text import counted
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
    """Returns the rate map drawn over `picture`, which is the whole one, with the legend below; RGB."""
    tinted = overlay(picture, container.rate_map, container.grid)
    legend = rate_legend(container, tinted.width)
    sheet = Image.new("RGB", (max(tinted.width, legend.width), tinted.height + legend.height), BACKGROUND)
    sheet.paste(tinted, (0, 0))
    sheet.paste(legend, (0, tinted.height))
    return sheet


def overlay(picture: Image.Image, rate_map: NDArray[np.uint8], grid: BlockGrid) -> Image.Image:
    """Returns `picture` in grey under the colours of its blocks' rates, with lines between different rates; RGB.

    rate_map: uint8 [rows, cols]; grid: of a picture of the same size.
    """
    colours = np.zeros((max(RATES) + 1, 3), np.uint8)
    for rate, colour in RATE_COLOURS.items():
        colours[rate] = colour
    tint = grid.expand(rate_map)[: grid.height, : grid.width]
    grey = picture.convert("RGB").convert("L").convert("RGB")
    result = Image.blend(grey, Image.fromarray(colours[tint]), TINT)
    _draw_borders(ImageDraw.Draw(result), rate_map, grid)
    return result


def _draw_borders(draw: ImageDraw.ImageDraw, rate_map: NDArray[np.uint8], grid: BlockGrid) -> None:
    """Lines between neighbouring blocks of different rates."""
    wide = max(1, round(max(grid.width, grid.height) / 1400))
    for row, col in np.argwhere(rate_map[:, 1:] != rate_map[:, :-1]):
        x = (int(col) + 1) * grid.block
        draw.line((x, int(row) * grid.block, x, (int(row) + 1) * grid.block), fill=BACKGROUND, width=wide)
    for row, col in np.argwhere(rate_map[1:] != rate_map[:-1]):
        y = (int(row) + 1) * grid.block
        draw.line((int(col) * grid.block, y, (int(col) + 1) * grid.block, y), fill=BACKGROUND, width=wide)


def rate_legend(container: Container, width: int) -> Image.Image:
    """Returns a strip with the colour and the number of blocks of each rate, at least `width` pixels wide."""
    size = min(28, max(11, width // 52))
    font, pad = default_font(size), round(size * 0.7)
    entries = [
        (
            RATE_COLOURS[rate],
            f"rate {rate}: {counted(int(np.count_nonzero(container.rate_map == rate)), 'block')}",
        )
        for rate in RATES
    ]
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
    """Returns Pillow's own font, which has only ASCII: no ×, ², –."""
    return ImageFont.load_default(size)


def text_width(font: Font, text: str) -> int:
    """Returns the width of `text` on one line, in pixels."""
    return round(font.getlength(text))
