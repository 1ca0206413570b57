"""Speed of encoding, beside lossless WebP, and of reconstruction on the CPU.

In: one photo of at least 4K size (a smaller one is mirrored). Out: `speed.json`, `speed.md`, `speed.png`. Every time
is the median of several runs; what is compared is measured in the same run.

    python -m benchmarks.speed.speed eval4k/4k3_glass-facade.webp
"""

from __future__ import annotations

import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common import SIZES, cut, read_rgb
from benchmarks.render.pages import write
from benchmarks.render.speed_pages import plot


def main(
    photo: Annotated[Path, typer.Argument(help="A photo.")],
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("docs/benchmarks"),
    runs: Annotated[int, typer.Option(help="Runs per figure.")] = 5,
) -> None:
    """Measure, print and write."""
    full = read_rgb(photo)
    results: dict[str, Any] = {"photo": photo.name, "encode": encoding(cut(full, *SIZES["2K"]), runs)}
    results["reconstruct"] = [
        worker("reconstruct", photo, size, threads, runs) for size in ("1080p", "4K") for threads in (1, 2)
    ]
    text = write(output, "speed", results)
    plot(results, output / "speed.png")
    print(text)


def encoding(photo: NDArray[np.uint8], runs: int) -> list[dict[str, Any]]:
    """Return MP/s of encoding. It uses one thread: numpy's element-wise code and Pillow's codecs have no others."""
    from bbmr_client.encoding.encoder import encode

    megapixels = photo.shape[0] * photo.shape[1] / 1e6
    image = Image.fromarray(photo)

    def webp() -> int:
        out = io.BytesIO()
        image.save(out, "WEBP", lossless=True, exact=True, method=4, quality=75)
        return len(out.getvalue())

    rows: dict[str, Callable[[], int]] = {
        "Pillow, lossless WebP of the whole photo": webp,
        "bbmr, overall rate ×4": lambda: len(encode(photo, rate=4).to_bytes()),
        "bbmr, overall rate ×2": lambda: len(encode(photo, rate=2).to_bytes()),
        "bbmr, uniform ×4": lambda: len(encode(photo, rate=4, uniform=True).to_bytes()),
    }
    times: dict[str, list[float]] = {name: [] for name in rows}
    sizes = {}
    for _ in range(runs):  # in turns, so that other load affects all of them
        for name, run in rows.items():
            began = time.perf_counter()
            sizes[name] = run()
            times[name].append(time.perf_counter() - began)
    reference = statistics.median(times["Pillow, lossless WebP of the whole photo"])
    return [
        {
            "what": name,
            "megapixels_per_second": round(megapixels / statistics.median(times[name]), 2),
            "times_webp": round(reference / statistics.median(times[name]), 2),
            "bytes": sizes[name],
        }
        for name in rows
    ]


def worker(kind: str, photo: Path, size: str, threads: int, runs: int) -> dict[str, Any]:
    """Run one measurement in a process of its own, so that the peak memory is that of the measurement."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed.speed_worker",
        kind,
        str(photo),
        size,
        str(threads),
        str(runs),
    ]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(answer.stdout)
    return {"size": size, "threads": threads} | result


if __name__ == "__main__":
    typer.run(main)
