"""Encoding time: of a codec beside AVIF's, and the bytes that are left of a gain at equal time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from .bd_rate import bd_rate
from .comparison import ANCHOR_SPEED, Photo, contender_curve, mean_rows, member_names
from .points import Point
from .ranges import RANGES, Range, size_class

SLOW = "avif-s4"
REFERENCE = f"avif-s{ANCHOR_SPEED}-psnr-420"


def time_ratio(points: Sequence[Point], reference: Sequence[Point], low: float, high: float) -> float | None:
    """Return the mean of CPU seconds over the reference's at the same rate; None without a point in the range."""
    by_rate = sorted(reference, key=lambda point: point.bpp)
    rates, seconds = [math.log(point.bpp) for point in by_rate], [point.encode_s for point in by_rate]
    chosen = [point for point in points if low <= point.bpp <= high]
    if not chosen or not rates:
        return None
    return statistics.fmean(
        point.encode_s / float(np.interp(math.log(point.bpp), rates, seconds)) for point in chosen
    )


def at_equal_time(percent: float, ratio: float, slow_percent: float, slow_ratio: float) -> float:
    """Return a BD-rate against AVIF as good as it gets in the same time.

    AVIF's own gain is interpolated over the logarithm of the time, between its ordinary speed (ratio 1, no gain) and a
    slower one. Outside the two speeds the nearer one counts.
    """
    share = min(1.0, max(0.0, math.log(ratio) / math.log(slow_ratio))) if slow_ratio > 1 else 0.0
    return 100 * ((1 + percent / 100) / (1 + share * slow_percent / 100) - 1)


def equal_time_rows(
    photos: Sequence[Photo], contenders: Sequence[str], metrics: Sequence[str]
) -> list[dict[str, Any]]:
    """Return, for each set, range and codec, the time ratio and BD-rates at equal time, as means over the photos."""
    rows = [
        row
        for photo in photos
        for limits in RANGES[size_class(photo.pixels)]
        for contender in contenders
        if (row := _row(photo, contender, metrics, limits)) is not None
    ]
    means = mean_rows(rows)
    for mean in means:
        group = [row for row in rows if all(row[key] == mean[key] for key in ("set", "codec", "range"))]
        for key in ("time", "slow_time"):
            mean[key] = round(statistics.fmean(row[key] for row in group), 2)
    return means


def _row(photo: Photo, contender: str, metrics: Sequence[str], limits: Range) -> dict[str, Any] | None:
    reference = photo.points.get(REFERENCE, [])
    slow = [p for name in member_names(SLOW, "psnr-y", photo.points) for p in photo.points.get(name, [])]
    slow_time = time_ratio(slow, reference, *limits)
    time = time_ratio(photo.points.get(contender, []), reference, *limits)
    if time is None or slow_time is None:
        return None
    figures = {}
    for metric in metrics:
        gain, slow_gain = (_percent(photo, name, metric, limits) for name in (contender, SLOW))
        if gain is not None and slow_gain is not None:
            figures[metric] = {"percent": round(at_equal_time(gain, time, slow_gain, slow_time), 3)}
    if not figures:
        return None
    return {
        "set": photo.folder,
        "picture": photo.name,
        "codec": contender,
        "anchor": "AVIF at equal time",
        "range": list(limits),
        "bd_rate": figures,
        "time": time,
        "slow_time": slow_time,
    }


def _percent(photo: Photo, contender: str, metric: str, limits: Range) -> float | None:
    anchor, test = (contender_curve(photo, name, metric) for name in (f"avif-s{ANCHOR_SPEED}", contender))
    delta = None if anchor is None or test is None else bd_rate(anchor, test, *limits)
    return None if delta is None else delta.percent
