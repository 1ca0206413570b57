"""Measures the largest pictures within the limits: `python -m tests.fuzz.worst [--result docs/benchmarks]`.

For each codec it makes a small file of 2²⁷ pixels, and measures reading it and decoding it to the preview, each in a
process of its own. `--result` writes `worst.json` and `worst.md`.
"""

from __future__ import annotations

import argparse
import io
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bbmr_shared import RATES, AlphaPlane, BlockGrid, Container, Plane
from bbmr_shared.limits import DEFAULT_LIMITS, JPEG_MAX_SCANS
from benchmarks.common import machine, table
from tests.fuzz import bombs
from tests.fuzz.exhaust import measured

SIZE = (16_368, 8192)
"""Every format allows these sides; their product is 99.9 % of the allowed pixels."""

ROWS = {
    "webp": "a WebP plane",
    "png": "a PNG plane",
    "avif": "an AVIF plane",
    "jpeg": f"a JPEG of {JPEG_MAX_SCANS} scans",
    "webp, five rates, alpha": "five WebP planes and alpha",
}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Measure the largest pictures.")
    parser.add_argument("--result", type=Path, help="Folder for worst.json and worst.md.")
    arguments = parser.parse_args()
    assert SIZE[0] * SIZE[1] <= DEFAULT_LIMITS.max_pixels
    rows = []
    for name in ROWS:
        data = _make(name)
        for decode in (False, True):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                outcome, seconds, megabytes = pool.submit(measured, data, decode).result()
            rows.append({"name": name, "bytes": len(data), "decode": decode, "outcome": outcome})
            rows[-1] |= {"seconds": round(seconds, 2), "megabytes": round(megabytes)}
            print(rows[-1])
    if arguments.result:
        _write(arguments.result, rows)


def _make(name: str) -> bytes:
    grid = BlockGrid(*SIZE)
    codec = name.split(",")[0]
    if "," not in name:
        data = _coded(codec.upper(), SIZE)
        original = codec == "jpeg"
        planes = (Plane(1, codec, data),)
        return Container(
            *SIZE, np.ones(grid.shape, np.uint8), planes, strength=0, original=original
        ).to_bytes()
    rates = np.ones(grid.shape, np.uint8)
    rates.flat[: len(RATES)] = RATES
    planes = tuple(Plane(rate, codec, _coded("WEBP", grid.plane_size(rate))) for rate in reversed(RATES))
    alpha = AlphaPlane(codec, _coded("WEBP", SIZE))
    return Container(*SIZE, rates, planes, strength=0, alpha=alpha).to_bytes()


def _coded(format: str, size: tuple[int, int]) -> bytes:
    options: dict[str, Any] = {
        "WEBP": {"lossless": True, "method": 0},
        "AVIF": {"speed": 10, "quality": 30},
        "JPEG": {"progressive": True},
    }.get(format, {})
    out = io.BytesIO()
    Image.new("RGB", size, (90, 120, 60)).save(out, format, **options)
    if format == "JPEG":
        scans = out.getvalue().count(b"\xff\xda")
        return bombs.jpeg_with_scans(out.getvalue(), JPEG_MAX_SCANS - scans)
    return out.getvalue()


def _write(folder: Path, rows: list[dict[str, Any]]) -> None:
    where = machine()
    held = {"command": "python -m tests.fuzz.worst", "machine": where, "size": SIZE, "rows": rows}
    (folder / "worst.json").write_text(json.dumps(held, indent=1) + "\n")
    decoded = [row for row in rows if row["decode"]]
    body = [
        [ROWS[row["name"]], f"{row['bytes']:,}", f"{row['seconds']:.1f} s", f"{row['megabytes']:,} MB"]
        for row in decoded
    ]
    seconds, megabytes = (max(r[key] for r in rows if not r["decode"]) for key in ("seconds", "megabytes"))
    text = (
        f"Previews of the largest pictures within the default limits, {SIZE[0]}×{SIZE[1]}: processor time, and memory "
        f"beyond the file's. Reading without decoding takes at most {seconds} s and {megabytes} MB."
    )
    note = f"`{held['command']}` · {where['date']} · {where['cpu']}, {where['cores']} cores · Python {where['python']}"
    head = ["container", "bytes", "time", "memory"]
    (folder / "worst.md").write_text(f"{text}\n\n{table([head, *body])}\n\n{note}\n")


if __name__ == "__main__":
    main()
