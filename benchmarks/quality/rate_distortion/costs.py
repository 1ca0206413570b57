"""CPU time and peak memory of bbmr's encoder beside Pillow's AVIF encoder, measured in turns."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .codecs import Codec, avif
from .points import Key, Point
from .times import time_ratio

Picture = NDArray[np.uint8]
AVIF_QUALITIES = (0, 13, 33, 54, 75, 91)
LOW_BPP = 0.1
MEMORY_QUALITY = 50


def time_costs(name: str, photo: Picture, codec: Codec, qualities: Sequence[float]) -> dict[str, Any]:
    """Return CPU seconds of `codec` over those of AVIF, speed 6, at the same rate: of all points, and below 0.1 bpp."""
    reference = avif(6, "psnr", "4:2:0")
    jobs = [(codec, quality) for quality in qualities]
    step = max(1, len(jobs) // len(AVIF_QUALITIES))
    for index, quality in enumerate(AVIF_QUALITIES):  # in turns, so that both meet the same load
        jobs.insert(min(len(jobs), index * (step + 1)), (reference, quality))
    points: dict[str, list[Point]] = {codec.name: [], reference.name: []}
    for one, quality in jobs:
        data, seconds = one.encode(photo, quality)
        key = Key(name, one.name, one.version, quality)
        points[one.name].append(Point(key, photo.shape[0] * photo.shape[1], len(data), seconds, 0.0))
    ours, theirs = points[codec.name], points[reference.name]
    return {
        "picture": name,
        "points": [
            {"quality": point.key.quality, "bpp": round(point.bpp, 4), "seconds": round(point.encode_s, 3)}
            for point in ours
        ],
        "avif_seconds": [round(point.encode_s, 3) for point in theirs],
        "ratio": time_ratio(ours, theirs, 0, float("inf")),
        "low_ratio": time_ratio(ours, theirs, 0, LOW_BPP),
    }


def memory_costs(path: Path, run: Callable[[str, Path, int], dict[str, int]] | None = None) -> dict[str, Any]:
    """Return the peak memory of both encoders on one photo, and the limit: 1.5 times AVIF's, and 20 bytes a pixel."""
    measure = run or _in_process
    ours, theirs = (measure(kind, path, MEMORY_QUALITY) for kind in ("bbmr", "avif"))
    return {
        "picture": path.stem,
        "peak": ours["peak"],
        "avif_peak": theirs["peak"],
        "before": ours["before"],
        "avif_before": theirs["before"],
        "limit": int(1.5 * theirs["peak"] + 20 * theirs["pixels"]),
    }


def mean_ratio(costs: Sequence[dict[str, Any]], key: str) -> float | None:
    """Return the mean of a ratio over the photos that have it."""
    found = [cost[key] for cost in costs if cost[key] is not None]
    return round(statistics.fmean(found), 3) if found else None


def _in_process(kind: str, path: Path, quality: int) -> dict[str, int]:
    module = f"{__package__}.memory_worker"
    done = subprocess.run(
        [sys.executable, "-m", module, kind, str(path), str(quality)],
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(json.loads(done.stdout))
