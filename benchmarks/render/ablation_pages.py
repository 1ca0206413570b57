"""The results of `benchmarks.quality.ablations` as means and as Markdown."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.common import table
from benchmarks.seams import BorderGradients

from .paper_pages import story

METRICS = ("psnr_y", "psnr_rgb", "ssim", "pixels", "bytes")
TITLES = {
    "rates": "Block-based rates, `light`",
    "deblock": "The deblock branch: two small networks, trained alike with and without it, on the same containers",
    "separate": "JointSR against one network per rate on separate blocks, on the same containers",
    "palette": "The palette of rates, `light` (at ×2 the palette 2, 4, 8 allows only uniform rescaling)",
    "block": "The side of a block in pixels, `light` (trained on 128)",
    "allocation": "The error by which rates are chosen, `light` (by measured errors: at full network strength)",
}
"""Ablation → its heading, in the order of the page."""
ORDER = ("one rate a block", "2, 4, 8", "64", "128", "256", "bicubic's error")
"""Variants that come first, in this order. The others follow in the order of measurement."""


def means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return means over pictures per ablation, rate and variant; seam figures are over all border pixels."""
    rows_of_means = []
    for ablation in TITLES:
        for rate in (4, 2):
            here = [row for row in rows if (row["ablation"], row["rate"]) == (ablation, rate)]
            names = sorted({row["variant"]: None for row in here}, key=_place)
            for name in names:
                chosen = [row for row in here if row["variant"] == name]
                mean: dict[str, Any] = {"ablation": ablation, "rate": rate, "variant": name}
                mean |= {"pictures": len(chosen)}
                mean |= {key: statistics.fmean(row[key] for row in chosen) for key in METRICS}
                if "seam" in chosen[0]:
                    seam = sum((BorderGradients(**row["seam"]) for row in chosen), BorderGradients())
                    mean |= {"seam": round(seam.ratio, 4), "seam_mean_absolute": round(seam.mean_ratio, 4)}
                rows_of_means.append(mean)
    return rows_of_means


def markdown(results: dict[str, Any]) -> str:
    """Return one table per ablation."""
    parts = []
    for ablation, title in TITLES.items():
        rows = [mean for mean in results["means"] if mean["ablation"] == ablation]
        if rows:
            parts += [f"**{title}.**{_note(ablation, results)}", _table(rows)]
    return "\n\n".join(parts)


def _note(ablation: str, results: dict[str, Any]) -> str:
    """Return how the small networks were trained."""
    if ablation not in ("deblock", "separate"):
        return ""
    weights = results["weights"]
    alone = [f"rate {key}: {story(notes)}" for key, notes in weights.items() if key.isdigit()]
    keys = ("joint", "no deblock") if ablation == "deblock" else ("joint", "joint, longer")
    stories = [f"{key}: {story(weights[key])}" for key in keys if key in weights]
    return " Trained: " + "; ".join(stories + (alone if ablation == "separate" else [])) + "."


def _table(rows: list[dict[str, Any]]) -> str:
    with_seam = "seam" in rows[0]
    head = ["overall rate", "variant", "PSNR-Y", "PSNR-RGB", "SSIM", "LR pixels", "bytes"]
    lines = [head + ["seam, root mean square", "seam, mean absolute"] * with_seam]
    for row in rows:
        itself = row["psnr_y"] >= 99  # the photo compared with itself: only its seam figure has a meaning
        quality = [f"{row['psnr_y']:.2f}", f"{row['psnr_rgb']:.2f}", f"{row['ssim']:.4f}"]
        counts = [f"{row['pixels']:,.0f}", f"{row['bytes']:,.0f}"]
        cells = [f"×{row['rate']}", row["variant"], *([""] * 5 if itself else quality + counts)]
        lines.append(
            cells + ([f"{row['seam']:.3f}", f"{row['seam_mean_absolute']:.3f}"] if with_seam else [])
        )
    return table(lines)


def _place(variant: str) -> int:
    return ORDER.index(variant) if variant in ORDER else len(ORDER)
