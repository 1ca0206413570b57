"""The results of `benchmarks.quality.rescaling` as means, as Markdown and as a plot."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.common import table
from benchmarks.seams import BorderGradients

CONDITIONS = ("bicubic uniform", "bicubic block-based", "network uniform", "network block-based")
SAME_CONTAINER = "composite of the network's block-based container"
EQUAL_BYTES = ("bicubic block-based, equal bytes", "network block-based, equal bytes")
METRICS = ("psnr_y", "psnr_rgb", "ssim")
PICTURES = ("network", "composite", "original")
Results = list[dict[str, Any]]


def mean_rows(results: Results) -> list[dict[str, Any]]:
    """Return means over the pictures of each set and rate; seam figures are over all border pixels of a set."""
    means = []
    for group in sorted({result["set"] for result in results}):
        for rate in (4, 2):
            chosen = [result for result in results if (result["set"], result["rate"]) == (group, rate)]
            conditions = {
                name: {
                    key: statistics.fmean(result["conditions"][name][key] for result in chosen)
                    for key in (*METRICS, "bytes", "pixels")
                }
                for name in chosen[0]["conditions"]
            }
            seam = {which: seam_ratio(chosen, which) for which in PICTURES}
            mean_seam = {which: seam_ratio(chosen, which, "mean_ratio") for which in PICTURES}
            row = {"set": group, "rate": rate, "pictures": len(chosen), "conditions": conditions}
            means.append(row | {"seam": seam, "seam_mean_absolute": mean_seam})
    return means


def seam_ratio(results: Results, which: str, kind: str = "ratio") -> float:
    """Return one figure of `BorderGradients` over all border pixels of some results."""
    total = sum((BorderGradients(**result["seam"][which]) for result in results), BorderGradients())
    return round(float(getattr(total, kind)), 3)


def gain(conditions: dict[str, Any], better: str, worse: str) -> tuple[float, float]:
    """Return the gain of one condition over another, PSNR-Y and PSNR-RGB in dB."""
    a, b = conditions[better], conditions[worse]
    return a["psnr_y"] - b["psnr_y"], a["psnr_rgb"] - b["psnr_rgb"]


def network_gain(conditions: dict[str, Any], uniform: bool) -> tuple[float, float]:
    """Return the gain of the network over the composite of the same container, PSNR-Y and PSNR-RGB in dB."""
    if uniform:
        return gain(conditions, CONDITIONS[2], CONDITIONS[0])
    return gain(conditions, CONDITIONS[3], SAME_CONTAINER)


def markdown(results: dict[str, Any]) -> str:
    """Return all tables."""
    return "\n\n".join(
        [
            "Means over the pictures of each set. All rows of a set and rate have the same number of samples, except "
            "those at equal bytes. *bicubic* is the composite without a network, *network* is `light`.",
            table([_MEAN_HEAD, *(row for mean in results["means"] for row in _mean_lines(mean))]),
            "Gains in dB (Y / RGB). *Share kept*: gain of block-based rates with the network, divided by that without.",
            table([_GAIN_HEAD, *(_gain_line(mean) for mean in results["means"])]),
            "Seams: gradients across borders between blocks of different rates, divided by those inside the "
            "same blocks "
            "(`benchmarks/seams.py`), for network / composite / photo. By the first figure 1 means no seam. The "
            "second, with mean absolute gradients, is above 1 wherever a detailed and a smooth block meet, even "
            "without a seam.",
            table([_SEAM_HEAD, *(_seam_line(mean) for mean in results["means"])]),
            "Every picture, in dB (Y / RGB).",
            table([_PICTURE_HEAD, *(_picture_line(result) for result in results["pictures"])]),
        ]
    )


_MEAN_HEAD = ["set, overall rate", "condition", "PSNR-Y", "PSNR-RGB", "SSIM", "LR pixels", "bytes"]
_GAIN_HEAD = [
    "set, rate",
    "block-based − uniform: bicubic",
    "with the network",
    "share kept",
    "network − composite: uniform",
    "block-based",
]
_SEAM_HEAD = ["set, rate", "root mean square", "mean absolute"]
_PICTURE_HEAD = [
    "picture",
    *CONDITIONS,
    "network: block-based − uniform",
    "block-based: network − composite",
    "seam: network / composite / photo",
]


def _mean_lines(mean: dict[str, Any]) -> list[list[str]]:
    lines = []
    for name, row in mean["conditions"].items():
        quality = [f"{row['psnr_y']:.2f}", f"{row['psnr_rgb']:.2f}", f"{row['ssim']:.4f}"]
        sizes = [f"{row['pixels']:,.0f}", f"{row['bytes']:,.0f}"]
        lines.append([f"{mean['set']} ×{mean['rate']}", name, *quality, *sizes])
    return lines


def _gain_line(mean: dict[str, Any]) -> list[str]:
    plain = gain(mean["conditions"], CONDITIONS[1], CONDITIONS[0])
    network = gain(mean["conditions"], CONDITIONS[3], CONDITIONS[2])
    share = " / ".join(f"{b / a:.2f}" for a, b in zip(plain, network, strict=True))
    worth = [network_gain(mean["conditions"], uniform) for uniform in (True, False)]
    return [f"{mean['set']} ×{mean['rate']}", _pair(plain), _pair(network), share, *map(_pair, worth)]


def _seam_line(mean: dict[str, Any]) -> list[str]:
    cells = (
        " / ".join(f"{mean[key][which]:.3f}" for which in PICTURES) for key in ("seam", "seam_mean_absolute")
    )
    return [f"{mean['set']} ×{mean['rate']}", *cells]


def _picture_line(result: dict[str, Any]) -> list[str]:
    c = result["conditions"]
    cells = [f"{c[name]['psnr_y']:.2f} / {c[name]['psnr_rgb']:.2f}" for name in CONDITIONS]
    gains = gain(c, CONDITIONS[3], CONDITIONS[2]), network_gain(c, False)
    seam = " / ".join(f"{seam_ratio([result], which):.3f}" for which in PICTURES)
    return [f"×{result['rate']} {result['picture']}", *cells, *map(_pair, gains), seam]


def _pair(gains: tuple[float, float]) -> str:
    return f"{gains[0]:+.2f} / {gains[1]:+.2f}"


def plot(results: Results, path: Path) -> None:
    """Plot the gain of every condition over uniform bicubic, per picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(13, 5.2))
    colours = ("#6f8fae", "#f2c6a0", "#d9772b")
    for axis, rate in zip(axes, (4, 2), strict=True):
        chosen = [result for result in results if result["rate"] == rate]
        for offset, (name, colour) in enumerate(zip(CONDITIONS[1:], colours, strict=True)):
            heights = [gain(result["conditions"], name, CONDITIONS[0])[0] for result in chosen]
            places = [index + (offset - 1) * 0.27 for index in range(len(chosen))]
            axis.bar(places, heights, 0.27, label=name, color=colour)
        names = [result["picture"] for result in chosen]
        axis.set_xticks(range(len(chosen)), names, rotation=40, ha="right", fontsize=8)
        axis.set_title(f"overall rate ×{rate}, equal LR pixels")
        axis.set_ylabel("PSNR-Y over bicubic uniform, dB")
        axis.grid(axis="y", alpha=0.3)
    axes[0].legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
