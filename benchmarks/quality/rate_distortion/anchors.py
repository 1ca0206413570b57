"""Measures the points of other formats and keeps them; they cost most of the time and do not change.

    python -m benchmarks.quality.rate_distortion.anchors eval2k --points anchors.jsonl --speeds 6

A later run goes on where this one ended, and `benchmarks.quality.rate_distortion` reads the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from benchmarks.common import photos, read_rgb

from .codecs import CHROMA, Codec, avifs, jpegs, jxl, plane_avif, uniform, webp
from .metrics import METRICS
from .points import PointFile, curve
from .ranges import bounds

T = TypeVar("T")


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of photos.")],
    points: Annotated[Path, typer.Option(help="File that keeps the points.")],
    speeds: Annotated[str, typer.Option(help="Speeds of AVIF; an empty string leaves it out.")] = "6 4",
    others: Annotated[bool, typer.Option(help="JPEG XL, WebP, JPEG and reduced AVIF, too.")] = True,
    metrics: Annotated[str, typer.Option(help="Metrics to measure; others can be added later.")] = (
        " ".join(METRICS)
    ),
    jobs: Annotated[int, typer.Option(help="Processes.")] = 1,
) -> None:
    """Measure the points, and the metrics of points, that are missing in the file."""
    chosen = [int(speed) for speed in speeds.split()]
    work = partial(measure_photo, points=points, speeds=chosen, others=others, names=metrics.split())
    for line in in_processes(work, photos(folders), jobs):
        print(line, flush=True)


def in_processes(work: Callable[[Path], T], paths: list[Path], jobs: int) -> Iterator[T]:
    """Yield `work(path)` for each path in order, from `jobs` processes, or from this one if `jobs` is 1."""
    if jobs == 1:
        yield from map(work, paths)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(work, paths)


def codecs(pixels: int, speeds: list[int], others: bool = True) -> list[Codec]:
    """Return the codecs that a picture of `pixels` is coded with, at the rates that are compared."""
    low, high = bounds(pixels)
    chosen = [codec for speed in speeds for codec in avifs(speed, low, high)]
    if others:
        optional = jxl(low, high)
        chosen += [] if optional is None else [optional]
        chosen += [webp(*bounds(pixels, classic=True)), *jpegs(*bounds(pixels, classic=True))]
        chosen += [plane_avif(chroma, low, high) for chroma in CHROMA]
        chosen += [uniform(rate, name, low, high) for rate in (2, 4) for name in ("bicubic", "lanczos")]
    return chosen


def measure_photo(path: Path, points: Path, speeds: list[int], others: bool, names: list[str]) -> str:
    """Measure one photo with every codec; returns a line that says so."""
    one_thread()
    photo = read_rgb(path)
    kept = PointFile(points)
    count = sum(
        len(curve(photo, codec, kept, names))
        for codec in codecs(photo.shape[0] * photo.shape[1], speeds, others)
    )
    return f"{path.stem}: {count} points"


def one_thread() -> None:
    """Let torch use one thread, so that several processes share the cores."""
    import torch

    torch.set_num_threads(1)


if __name__ == "__main__":
    typer.run(main)
