"""Crops to look at: original, uniform rescaling, block-based rescaling and the rate map, side by side.

In: photos (three, for the page). Out: `visual.webp`, `visual.json`, `visual.md`. A rule chooses the crops: of all
windows of 384×384 pixels whose corner is on the grid of blocks, those with the most different rates, and of these the
one whose blocks differ most in detail.

    python -m benchmarks.quality.visual eval2k/05_city-night.webp eval2k/06_spices-texture.webp eval2k/08_budgie.webp
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bbmr_client.encoding.encoder import encode
from bbmr_client.reports.ratemap import BACKGROUND, FAINT, RATE_COLOURS, TEXT, default_font, overlay
from bbmr_models import load
from bbmr_models.reconstruct import Reconstructor
from bbmr_shared.colour import luma
from bbmr_shared.container import Container
from bbmr_shared.grid import BlockGrid
from bbmr_shared.metrics import psnr_y
from benchmarks.common import read_rgb
from benchmarks.render.pages import write
from benchmarks.render.visual_pages import WINDOW

GAP, LINE = 12, 20
MOST_BYTES = 1_000_000


def main(
    paths: Annotated[list[Path], typer.Argument(help="Photos, one per row.")],
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("docs/benchmarks"),
    model: Annotated[str, typer.Option(help="Shipped weights, or a .safetensors file.")] = "light",
    rate: Annotated[int, typer.Option(help="Overall rate.")] = 4,
) -> None:
    """Draw and write the picture."""
    reconstructor = Reconstructor(load(model))
    rows, chosen = [], []
    for path in paths:
        row, facts = compare_crops(read_rgb(path), rate, reconstructor, path.stem)
        rows.append(row)
        chosen.append(facts)
        print(facts, flush=True)
    output.mkdir(parents=True, exist_ok=True)
    _save(sheet(rows), output / "visual.webp")
    write(output, "visual", {"model": model, "rate": rate, "crops": chosen})


def compare_crops(
    photo: NDArray[np.uint8], rate: int, reconstructor: Reconstructor, name: str
) -> tuple[list[tuple[str, str, Image.Image]], dict[str, Any]]:
    """Return one row, (title, line below it, crop) four times; and the place of the crop and its PSNR-Y."""
    uniform, blocks = encode(photo, rate=rate, uniform=True), encode(photo, rate=rate)
    x, y, wide, tall = most_varied_window(photo, blocks.rate_map, blocks.grid)
    area = (x, y, wide, tall)
    crops = [np.asarray(reconstructor.reconstruct(container, area)) for container in (uniform, blocks)]
    original = np.ascontiguousarray(photo[y : y + tall, x : x + wide])
    before, after = (psnr_y(original, crop) for crop in crops)
    rates = overlay(Image.fromarray(photo), blocks.rate_map, blocks.grid).crop((x, y, x + wide, y + tall))
    row = [
        (name, f"{wide} x {tall} pixels at ({x}, {y})", Image.fromarray(original)),
        (f"uniform, x{rate}", f"{before:.2f} dB in this crop", Image.fromarray(crops[0])),
        (f"block-based, x{rate} on the whole", f"{after:.2f} dB in this crop", Image.fromarray(crops[1])),
        ("rates of the blocks", _rates_inside(blocks, area), rates),
    ]
    facts = {
        "picture": name,
        "area": area,
        "psnr_y": {"uniform": round(before, 4), "block-based": round(after, 4)},
    }
    return row, facts


def most_varied_window(
    photo: NDArray[np.uint8], rate_map: NDArray[np.uint8], grid: BlockGrid
) -> tuple[int, int, int, int]:
    """Return (x, y, width, height) of the window by the rule of this module; smaller if the photo is smaller."""
    energy = np.zeros((grid.padded_height, grid.padded_width), np.float32)
    gradient = np.abs(np.diff(luma(photo), axis=1))
    energy[: gradient.shape[0], : gradient.shape[1]] = gradient
    detail = np.log1p(grid.block_sums(energy) / grid.areas())
    wide, tall = min(WINDOW, grid.width), min(WINDOW, grid.height)
    best: tuple[tuple[int, float], tuple[int, int]] | None = None
    for y in range(0, grid.height - tall + 1, grid.block):
        for x in range(0, grid.width - wide + 1, grid.block):
            rows = slice(y // grid.block, -(-(y + tall) // grid.block))
            columns = slice(x // grid.block, -(-(x + wide) // grid.block))
            score = len(np.unique(rate_map[rows, columns])), float(detail[rows, columns].std())
            if best is None or score > best[0]:
                best = score, (x, y)
    assert best is not None  # the corner (0, 0) is always in range
    return (*best[1], wide, tall)


def sheet(rows: list[list[tuple[str, str, Image.Image]]]) -> Image.Image:
    """Draw all rows of crops with their titles, and the legend of the rates below."""
    columns = [max(row[i][2].width for row in rows) for i in range(len(rows[0]))]
    heights = [max(crop.height for _, _, crop in row) + 2 * LINE + 16 for row in rows]
    size = sum(columns) + GAP * (len(columns) + 1), sum(heights) + GAP * len(rows) + 2 * LINE + GAP
    picture = Image.new("RGB", size, BACKGROUND)
    draw, y = ImageDraw.Draw(picture), GAP
    for row, height in zip(rows, heights, strict=True):
        x = GAP
        for (title, line, crop), column in zip(row, columns, strict=True):
            draw.text((x, y), title, font=default_font(LINE), fill=TEXT)
            draw.text((x, y + LINE + 4), line, font=default_font(LINE - 4), fill=FAINT)
            picture.paste(crop, (x, y + 2 * LINE + 10))
            x += column + GAP
        y += height + GAP
    x = GAP
    for rate, colour in RATE_COLOURS.items():
        draw.rectangle((x, y, x + LINE, y + LINE), fill=colour)
        kept = "all samples" if rate == 1 else f"1/{rate**2} of the samples"
        draw.text((x + LINE + 8, y + 1), f"rate {rate}: {kept}", font=default_font(LINE - 3), fill=TEXT)
        x += size[0] // len(RATE_COLOURS)
    return picture


def _rates_inside(container: Container, area: tuple[int, int, int, int]) -> str:
    x, y, wide, tall = area
    block = container.block
    inside = container.rate_map[y // block : -(-(y + tall) // block), x // block : -(-(x + wide) // block)]
    return ", ".join(
        f"{count} of rate {rate}" for rate, count in zip(*np.unique(inside, return_counts=True), strict=True)
    )


def _save(picture: Image.Image, path: Path) -> None:
    """As WebP of the best quality that stays below a megabyte."""
    for quality in (95, 92, 88, 84, 80, 70, 60):
        picture.save(path, "WEBP", quality=quality, method=6)
        if path.stat().st_size < MOST_BYTES:
            return
    raise ValueError(f"{path.name} does not fit in {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    typer.run(main)
