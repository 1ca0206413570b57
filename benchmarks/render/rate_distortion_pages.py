"""The results of `benchmarks.quality.rate_distortion` as Markdown and as plots."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.common import table

METRICS = {
    "psnr-y": "PSNR-Y",
    "psnr-rgb": "PSNR-RGB",
    "psnr-611": "YCbCr 6:1:1",
    "ms-ssim": "MS-SSIM",
    "ssimulacra2": "SSIMULACRA 2",
}
"""Metric → head of its column, in their order."""
NAMES = {
    "avif-s4": "AVIF speed 4",
    "avif-s6": "AVIF speed 6",
    "bbmr-composite": "**bbmr**, no network",
    "bbmr-light": "**bbmr**, `light`",
    "bbmr-light-composite": "bbmr, made for `light`, shown without it",
    "jpeg": "JPEG",
    "jxl-e7": "JPEG XL effort 7",
    "planes": "AVIF with the options of bbmr's planes",
    "uniform-2": "AVIF reduced by 2",
    "uniform-4": "AVIF reduced by 4",
    "webp-m6": "WebP method 6",
}
_COLOURS = {
    "avif-s6": "#444444",
    "bbmr-composite": "#f2c6a0",
    "bbmr-light": "#d9772b",
    "jpeg": "#b8b8b8",
    "jxl-e7": "#4a7ba6",
    "webp-m6": "#5e9c6b",
}
_FULL_COVER = 0.75
_MB = 1_000_000


def markdown(results: dict[str, Any]) -> str:
    """Return all tables."""
    means = results["means"]
    against_avif = [row for row in means if row["anchor"] == "avif-s6"]
    classic = [row for row in means if row["anchor"] in ("webp-m6", "jpeg")]
    parts = [
        "BD-rate: mean difference in bytes of whole files at equal quality, in percent; negative means fewer bytes. "
        "The anchor of each metric is the best of AVIF speed 6 at Pillow's defaults: the convex hull, over bytes and "
        "error, of tunes psnr and ssim in 4:2:0 for PSNR-Y, in 4:2:0 and 4:4:4 for PSNR-RGB and for PSNR of YCbCr "
        "weighted 6:1:1, of tune iq in both for SSIMULACRA 2, and of all six for MS-SSIM. The logarithm of the rate is "
        "interpolated over the score by a piecewise cubic and integrated over the scores that the anchor has between "
        "two rates, in bits per pixel, and that the codec reaches. A photo counts in a range if the anchor reaches a "
        "third of it: AVIF's lowest quality is above 0.08 bits per pixel where detail is everywhere. In brackets: "
        "photos that need more bytes than the anchor, of those that count.",
        table([["set, bpp", "codec", *METRICS.values()], *map(_mean_line, against_avif)]),
    ]
    if classic:
        parts += [
            "Against WebP (method 6) and JPEG (progressive, the better of 4:2:0 and 4:4:4), in PSNR-Y:",
            table([["set, bpp", "codec", "against", "BD-rate"], *map(_classic_line, classic)]),
        ]
    parts += [
        "Every photo against AVIF speed 6. **Bold** needs more bytes; \\* the codec reaches less than three quarters "
        "of the anchor's scores in that range.",
        table(
            [
                ["photo, bpp", "codec", *METRICS.values()],
                *(_picture_line(row) for row in results["pictures"] if row["anchor"] == "avif-s6"),
            ]
        ),
    ]
    if results["equal_time"]:
        parts += [
            "At equal encoding time. *Time*: mean CPU time over that of one AVIF file, speed 6, tune psnr, 4:2:0, at "
            "the same rate. The anchor gets the same time: its gain by speed 4 is interpolated over the logarithm of "
            "the time.",
            table(
                [
                    ["set, bpp", "codec", "time", "AVIF speed 4", *METRICS.values()],
                    *map(_equal_time_line, results["equal_time"]),
                ]
            ),
        ]
    if results.get("promises"):
        parts += _promises(results["promises"])
    return "\n\n".join(parts)


def _mean_line(row: dict[str, Any]) -> list[str]:
    return [_place(row), _name(row["codec"]), *(_mean_cell(row["bd_rate"].get(metric)) for metric in METRICS)]


def _mean_cell(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return ""
    return f"{figure['percent']:+.1f} ({figure['losing']} of {figure['pictures']})"


def _classic_line(row: dict[str, Any]) -> list[str]:
    return [_place(row), _name(row["codec"]), _name(row["anchor"]), _mean_cell(row["bd_rate"]["psnr-y"])]


def _picture_line(row: dict[str, Any]) -> list[str]:
    cells = [_cell(row["bd_rate"].get(metric)) for metric in METRICS]
    return [f"{row['picture']}, {_limits(row)}", _name(row["codec"]), *cells]


def _cell(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return ""
    text = f"{figure['percent']:+.1f}" + ("" if figure["covered"] >= _FULL_COVER else "\\*")
    return f"**{text}**" if figure["percent"] > 0 else text


def _equal_time_line(row: dict[str, Any]) -> list[str]:
    times = [f"{row['time']:.2f}", f"{row['slow_time']:.2f}"]
    cells = [_mean_cell(row["bd_rate"].get(metric)) for metric in METRICS]
    return [_place(row), _name(row["codec"]), *times, *cells]


def _place(row: dict[str, Any]) -> str:
    return f"{row['set']}, {_limits(row)}"


def _limits(row: dict[str, Any]) -> str:
    low, high = row["range"]
    return f"{low:g}–{high:g}"


def _name(codec: str) -> str:
    return NAMES.get(codec, f"bbmr, `{codec.removeprefix('bbmr-')}`" if codec.startswith("bbmr-") else codec)


_PROMISE_HEAD = [
    "photo",
    "encoding time: all",
    "below 0.1 bpp",
    "peak memory, MB",
    "AVIF's",
    "limit",
    "qualities out of order: bytes, PSNR",
    "without a network",
    "budgets kept",
    "one plane − AVIF file, bytes",
]


def _promises(rows: list[dict[str, Any]]) -> list[str]:
    ratios = {
        key: statistics.fmean(found)
        for key in ("ratio", "low_ratio")
        if (found := [row["time"][key] for row in rows if row["time"][key] is not None])
    }
    return [
        "What the encoder promises. *Encoding time*: CPU time over that of AVIF speed 6 at the same rate, as above, "
        "but measured in turns; the means are "
        + " and ".join(
            f"{ratios[key]:.2f} {text}"
            for key, text in (("ratio", "over all qualities"), ("low_ratio", "below 0.1 bpp"))
            if key in ratios
        )
        + ". *Peak memory*: of a process that encodes one photo; the limit is 1.5 times that of Pillow's AVIF encoder "
        "and 20 bytes a pixel. *Qualities out of order*: neighbours among 0, 10, …, 100 at which bytes or PSNR (6:1:1) "
        "fall. *One plane*: a container with every block at rate 1 beside the AVIF file of the photo with the same "
        "options, at three qualities.",
        table([_PROMISE_HEAD, *map(_promise_line, rows)]),
    ]


def _promise_line(row: dict[str, Any]) -> list[str]:
    time, memory = row["time"], row["memory"]
    ratios = ["" if time[key] is None else f"{time[key]:.2f}" for key in ("ratio", "low_ratio")]
    sizes = [f"{memory[key] / _MB:.0f}" for key in ("peak", "avif_peak", "limit")]
    orders = [
        f"{len(row[key]['fewer_bytes'])}, {len(row[key]['lower_psnr'])}"
        for key in ("order", "order_composite")
    ]
    kept = f"{sum(one['kept'] for one in row['budgets'])} of {len(row['budgets'])}"
    extra = ", ".join("?" if one["extra"] is None else f"{one['extra']:+d}" for one in row["plain"])
    return [row["picture"], *ratios, *sizes, *orders, kept, extra]


def plot(results: dict[str, Any], path: Path) -> None:
    """Plot, for each set, mean quality over rate, and the mean bytes of every codec beside AVIF's at equal quality."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sets = list(dict.fromkeys(curve["set"] for curve in results["curves"]))
    columns = [("psnr-y", "score"), ("psnr-y", "bytes"), ("psnr-611", "bytes"), ("ssimulacra2", "bytes")]
    figure, axes = pyplot.subplots(len(sets), len(columns), figsize=(19, 4.6 * len(sets)), squeeze=False)
    for name, row in zip(sets, axes, strict=True):
        for (metric, kind), axis in zip(columns, row, strict=True):
            chosen = [c for c in results["curves"] if (c["set"], c["metric"]) == (name, metric)]
            for curve in chosen:
                _line(axis, curve, kind)
            axis.set_xscale("log")
            axis.set_xlabel("bits per pixel" if kind == "score" else "bits per pixel of AVIF speed 6")
            what = f"{METRICS[metric]}, dB" if kind == "score" else f"bytes at equal {METRICS[metric]}, %"
            axis.set_ylabel(what)
            axis.set_title(name)
            axis.grid(alpha=0.3)
            if kind == "bytes":
                axis.set_ylim(-30, 30)
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def _line(axis: Any, curve: dict[str, Any], kind: str) -> None:
    pairs = [(x, y) for x, y in zip(curve["bpp"], curve[kind], strict=True) if y is not None]
    if not pairs:
        return
    codec = curve["codec"]
    wide = 2.2 if codec.startswith("bbmr-") else 1.3
    style = "--" if codec.endswith("composite") else "-"
    label = _name(codec).replace("*", "").replace("`", "")
    axis.plot(*zip(*pairs, strict=True), style, color=_COLOURS.get(codec), linewidth=wide, label=label)
