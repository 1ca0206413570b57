"""BD-rates of every codec against the anchors, per photo and on the mean.

The anchor of a metric is the convex hull, over rate and error, of AVIF's tunes and chroma formats at one speed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .bd_rate import Curve, bd_rate, convex_hull, undominated
from .points import Point
from .ranges import CLASSIC, RANGES, Range, size_class

ANCHOR_CHROMA = {
    "psnr-y": ("420",),
    "psnr-rgb": ("420", "444"),
    "psnr-611": ("420", "444"),
    "ms-ssim": ("420", "444"),
    "ssimulacra2": ("420", "444"),
}
"""Metric → chroma formats of AVIF in the anchor. 4:4:4 only costs bytes in PSNR-Y."""
ANCHOR_TUNES = {
    "psnr-y": ("psnr", "ssim"),
    "psnr-rgb": ("psnr", "ssim"),
    "psnr-611": ("psnr", "ssim"),
    "ms-ssim": ("psnr", "ssim", "iq"),
    "ssimulacra2": ("iq",),
}
ANCHOR_SPEED = 6
Points = dict[str, list[Point]]
"""Name of a codec → its points on one photo."""


@dataclass(frozen=True)
class Photo:
    """The points of one photo."""

    folder: str
    name: str
    pixels: int
    points: Points


def score(metric: str, value: float) -> float:
    """Return what BD-rates integrate over: dB, of 1 − MS-SSIM for that metric; SSIMULACRA 2 as it is."""
    if metric == "ms-ssim":
        return math.inf if value >= 1 else -10 * math.log10(1 - value)
    return value


def error(metric: str, value: float) -> float:
    """Return what convex hulls are taken over, beside the rate: mean squared error, 1 − MS-SSIM, 100 − SSIMULACRA 2."""
    if metric == "ms-ssim":
        return 1 - value
    return 100 - value if metric == "ssimulacra2" else 10 ** (-value / 10)


def curve_of(points: Iterable[Point], metric: str, hull: bool) -> Curve | None:
    """Return the curve through points: their convex hull, or all that are not dominated. None for fewer than two."""
    usable = [
        (point.bpp, point.metrics[metric])
        for point in points
        if math.isfinite(score(metric, point.metrics.get(metric, math.nan)))
    ]
    kept = (
        convex_hull((rate, error(metric, value)) for rate, value in usable)
        if hull
        else undominated((rate, value) for rate, value in usable)
    )
    if len(kept) < 2:
        return None
    return Curve(
        tuple(usable[index][0] for index in kept), tuple(score(metric, usable[index][1]) for index in kept)
    )


def anchor_names(metric: str, speed: int = ANCHOR_SPEED) -> list[str]:
    """Return the names of the codecs whose hull is the anchor of a metric."""
    return [
        f"avif-s{speed}-{tune}-{chroma}" for tune in ANCHOR_TUNES[metric] for chroma in ANCHOR_CHROMA[metric]
    ]


def member_names(contender: str, metric: str, points: Points) -> list[str]:
    """Return the codecs that make up a contender: AVIF of a speed, a group of options, or one codec."""
    if contender.startswith("avif-s"):
        return anchor_names(metric, int(contender.removeprefix("avif-s")))
    return [name for name in points if name == contender or name.startswith(f"{contender}-")]


def contender_curve(photo: Photo, contender: str, metric: str) -> Curve | None:
    """Return the curve of a contender: a hull over its options, or its own points if it has none."""
    if contender.startswith("bbmr-"):
        return curve_of(photo.points.get(contender, []), metric, hull=False)
    names = member_names(contender, metric, photo.points)
    points = [point for name in names for point in photo.points.get(name, [])]
    return curve_of(points, metric, hull=len(names) > 1)


def photo_rows(
    photo: Photo, contenders: Sequence[str], anchor: str, metrics: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the BD-rates of one photo: a row for each contender and range of rates."""
    rows = []
    for low, high in ranges_against(anchor, photo.pixels):
        for contender in contenders:
            figures = {}
            for metric in metrics:
                base, test = (contender_curve(photo, name, metric) for name in (anchor, contender))
                delta = None if base is None or test is None else bd_rate(base, test, low, high)
                if delta is not None:
                    figures[metric] = {
                        "percent": round(delta.percent, 3),
                        "covered": round(delta.covered, 3),
                    }
            if figures:
                rows.append(
                    {
                        "set": photo.folder,
                        "picture": photo.name,
                        "codec": contender,
                        "anchor": anchor,
                        "range": [low, high],
                        "bd_rate": figures,
                    }
                )
    return rows


def ranges_against(anchor: str, pixels: int) -> tuple[Range, ...]:
    """Return the ranges of rates that a photo is compared in."""
    return RANGES[size_class(pixels)] if anchor.startswith("avif") else (CLASSIC,)


def mean_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return means over the photos of a set, with the worst photo and the number of those that need more bytes."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = row["set"], row["anchor"], tuple(row["range"]), row["codec"]
        groups.setdefault(key, []).append(row)
    return [
        {
            "set": folder,
            "codec": codec,
            "anchor": anchor,
            "range": list(limits),
            "pictures": len(group),
            "bd_rate": {metric: _mean(group, metric) for metric in _metrics(group)},
        }
        for (folder, anchor, limits, codec), group in groups.items()
    ]


def _metrics(group: Sequence[dict[str, Any]]) -> list[str]:
    return [metric for metric in ANCHOR_TUNES if any(metric in row["bd_rate"] for row in group)]


def _mean(group: Sequence[dict[str, Any]], metric: str) -> dict[str, Any]:
    figures = {row["picture"]: row["bd_rate"][metric]["percent"] for row in group if metric in row["bd_rate"]}
    worst = max(figures, key=lambda name: figures[name])
    return {
        "percent": round(statistics.fmean(figures.values()), 3),
        "pictures": len(figures),
        "losing": sum(percent > 0 for percent in figures.values()),
        "worst": {"picture": worst, "percent": figures[worst]},
    }
