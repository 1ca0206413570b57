"""The results as files: one for each codec in the shape of CompressAI's benchmark, and mean curves for the plots."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .codecs import Codec
from .comparison import ANCHOR_SPEED, ANCHOR_TUNES, Photo, contender_curve
from .points import Point
from .ranges import RANGES, size_class

KEYS = {
    "psnr-y": "psnr-y",
    "psnr-rgb": "psnr-rgb",
    "psnr-611": "psnr-ycbcr-611",
    "ms-ssim": "ms-ssim-rgb",
    "ssimulacra2": "ssimulacra2",
}
"""Our metric → its name in the files; those that CompressAI has are called as there."""
_CURVE_POINTS = 24


def codec_file(codec: Codec, photos: Sequence[Photo]) -> dict[str, Any]:
    """Return a codec's results: lists of equal length, and the same for each photo.

    The means hold the qualities that were measured on every photo.
    """
    by_photo = {photo.name: photo.points[codec.name] for photo in photos if photo.points.get(codec.name)}
    qualities = [{point.key.quality for point in points} for points in by_photo.values()]
    common = sorted(set.intersection(*qualities)) if qualities else []
    at_quality = [
        [point for points in by_photo.values() for point in points if point.key.quality == quality]
        for quality in common
    ]
    columns = [_columns(points) for points in by_photo.values()]
    names = [key for key in _columns([]) if all(key in column for column in columns)]
    means = {
        key: [_rounded(statistics.fmean(_value(point, key) for point in points)) for points in at_quality]
        for key in names
    }
    return {
        "name": codec.name,
        "description": codec.description,
        "results": means,
        "pictures": {name: _columns(points) for name, points in by_photo.items()},
    }


def write_codec_files(folder: Path, codecs: Sequence[Codec], photos: Sequence[Photo]) -> None:
    """Write one file for each set and codec, a photo's figures in one line."""
    for name in {photo.folder: None for photo in photos}:
        chosen = [photo for photo in photos if photo.folder == name]
        (folder / name).mkdir(parents=True, exist_ok=True)
        for codec in codecs:
            held = codec_file(codec, chosen)
            if held["pictures"]:
                (folder / name / f"{codec.name}.json").write_text(_in_lines(held))


def mean_curves(photos: Sequence[Photo], contenders: Sequence[str]) -> list[dict[str, Any]]:
    """Return, for each set, codec and metric, the mean score and the mean saving over the anchor at common rates."""
    curves = []
    for name in {photo.folder: None for photo in photos}:
        chosen = [photo for photo in photos if photo.folder == name]
        low, high = RANGES[size_class(chosen[0].pixels)][0]
        rates = np.geomspace(min(low, 0.03), high, _CURVE_POINTS).tolist()
        for contender in contenders:
            for metric in ANCHOR_TUNES:
                line = [_at_rate(chosen, contender, metric, rate) for rate in rates]
                if any(value is not None for value in line):
                    curves.append(
                        {
                            "set": name,
                            "codec": contender,
                            "metric": metric,
                            "bpp": [round(rate, 4) for rate in rates],
                            "score": [None if value is None else value[0] for value in line],
                            "bytes": [None if value is None else value[1] for value in line],
                        }
                    )
    return curves


def _at_rate(
    photos: Sequence[Photo], contender: str, metric: str, rate: float
) -> tuple[float, float | None] | None:
    """Return the mean score at a rate, and the mean difference in bytes, in percent, at the anchor's score there."""
    scores, savings = [], []
    for photo in photos:
        anchor, test = (contender_curve(photo, name, metric) for name in (f"avif-s{ANCHOR_SPEED}", contender))
        if anchor is None or test is None or not test.rates[0] <= rate <= test.rates[-1]:
            return None
        scores.append(test.score_at(rate))
        savings.append(100 * (test.rate_at(anchor.score_at(rate)) / rate - 1))
    inside = all(math.isfinite(saving) for saving in savings)
    return round(statistics.fmean(scores), 3), round(statistics.fmean(savings), 2) if inside else None


def _columns(points: Sequence[Point]) -> dict[str, list[float]]:
    keys = ["quality", "bpp", *KEYS.values(), "encoding_time", "decoding_time"]
    return {
        key: [_rounded(_value(point, key)) for point in points]
        for key in keys
        if not any(math.isnan(_value(point, key)) for point in points)
    }


def _value(point: Point, key: str) -> float:
    plain = {
        "quality": point.key.quality,
        "bpp": point.bpp,
        "encoding_time": point.encode_s,
        "decoding_time": point.decode_s,
    }
    metrics = {KEYS[name]: value for name, value in point.metrics.items()}
    return (plain | metrics).get(key, math.nan)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _in_lines(held: dict[str, Any]) -> str:
    """Return JSON with one line for each list of results and for each photo."""
    lines = []
    for key, value in held.items():
        if isinstance(value, dict):
            inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(item)}" for name, item in value.items())
            lines.append(f" {json.dumps(key)}: {{\n{inner}\n }}")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
