"""Bytes against quality: bbmr beside AVIF, JPEG XL, WebP and JPEG on folders of photos.

In: folders of photos. Out: `rate-distortion.json`, `.md` and `.png`, and a JSON file for each set and codec in the
shape of CompressAI's benchmark. Points are kept in a file outside the repository, so a second run measures only what
changed.

    python -m benchmarks.quality.rate_distortion eval2k eval4k --points points.jsonl --models "light omnisr craft"
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common import Partial, photos, read_rgb
from benchmarks.render.pages import write
from benchmarks.render.rate_distortion_pages import plot

from .anchors import codecs as other_codecs
from .anchors import in_processes, one_thread
from .bbmr_codecs import COMPOSITE, DEFAULT_MODEL, bbmr_codecs, source_digest
from .codecs import Codec
from .comparison import ANCHOR_SPEED, ANCHOR_TUNES, Photo, mean_rows, photo_rows
from .points import PointFile, curve
from .promises import promises_of
from .ranges import bounds
from .results import mean_curves, write_codec_files
from .times import equal_time_rows

NAME = "rate-distortion"
OTHERS = ("avif-s4", "jxl-e7", "webp-m6", "jpeg", "planes", "uniform-2", "uniform-4")


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of photos.")],
    points: Annotated[Path, typer.Option(help="File that keeps the points.")],
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("docs/benchmarks"),
    models: Annotated[str, typer.Option(help="Networks.")] = DEFAULT_MODEL,
    speeds: Annotated[str, typer.Option(help="Speeds of AVIF.")] = "6 4",
    metrics: Annotated[str, typer.Option(help="Metrics.")] = " ".join(ANCHOR_TUNES),
    promises: Annotated[
        bool, typer.Option(help="Measure time, memory and promises of the encoder, too.")
    ] = True,
    jobs: Annotated[int, typer.Option(help="Processes for the points.")] = 1,
) -> None:
    """Measure, print and write."""
    chosen = [int(speed) for speed in speeds.split()]
    work = partial(measure_photo, points=points, speeds=chosen, models=models.split(), names=metrics.split())
    measured = list(in_processes(work, photos(folders), jobs))
    results = compare(measured, models.split(), metrics.split())
    if promises:
        results["promises"] = _promises(photos(folders), points, output)
    every = {codec.name: codec for codec in all_codecs(1, chosen, models.split())}
    write_codec_files(output / NAME, list(every.values()), measured)
    results["codecs"] = {name: codec.description for name, codec in every.items()}
    text = write(output, NAME, results)
    plot(results, output / f"{NAME}.png")
    print(text)


def all_codecs(pixels: int, speeds: list[int], models: list[str]) -> list[Codec]:
    """Return every codec, at the rates at which a photo of `pixels` is compared."""
    low, high = bounds(pixels)
    highest = max(high, bounds(pixels, classic=True)[1])
    return [*other_codecs(pixels, speeds), *bbmr_codecs(models, low, highest)]


def measure_photo(path: Path, points: Path, speeds: list[int], models: list[str], names: list[str]) -> Photo:
    """Return the points of one photo with every codec."""
    one_thread()
    photo = read_rgb(path)
    pixels = photo.shape[0] * photo.shape[1]
    kept = PointFile(points)
    found = {codec.name: curve(photo, codec, kept, names) for codec in all_codecs(pixels, speeds, models)}
    print(f"{path.stem}: {sum(map(len, found.values()))} points", flush=True)
    return Photo(path.parent.name, path.stem, pixels, found)


def compare(measured: Sequence[Photo], models: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """Return every BD-rate, the means, and the curves of the plots."""
    ours = [COMPOSITE, *(f"bbmr-{model}" for model in models)]
    if models:
        ours.append(f"bbmr-{DEFAULT_MODEL}-composite")
    rows = [
        row
        for photo in measured
        for anchor, tests, names in (
            (f"avif-s{ANCHOR_SPEED}", [*ours, *OTHERS], metrics),
            ("webp-m6", ours, ["psnr-y"]),
            ("jpeg", ours, ["psnr-y"]),
        )
        for row in photo_rows(photo, tests, anchor, names)
    ]
    return {
        "ours": ours,
        "means": mean_rows(rows),
        "equal_time": equal_time_rows(measured, ours, metrics),
        "pictures": [row for row in rows if row["codec"] in ours],
        "curves": mean_curves(measured, [f"avif-s{ANCHOR_SPEED}", *ours, *OTHERS[1:4]]),
    }


def _promises(paths: list[Path], points: Path, output: Path) -> list[dict[str, Any]]:
    partial_rows = Partial(output, NAME, {"version": source_digest()})
    rows = []
    for path in paths:
        row = partial_rows.find(picture=path.stem, set=path.parent.name)
        if row is None:
            row = {"picture": path.stem, "set": path.parent.name} | promises_of(path, PointFile(points))
            partial_rows.add(row)
        rows.append(row)
    partial_rows.finish()
    return rows


if __name__ == "__main__":
    typer.run(main)
