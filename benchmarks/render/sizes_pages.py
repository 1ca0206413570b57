"""The results of `benchmarks.quality.sizes` as Markdown and as a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import table

from .paper_pages import story

RATE = 4


def markdown(results: dict[str, Any]) -> str:
    """Return the table."""
    head = [
        "network",
        "trained",
        "channels × blocks",
        "parameters",
        "GFLOP",
        "ms",
        "PSNR-Y",
        "over the composite",
    ]
    lines = [head]
    for row in results["sizes"]:
        size = f"{row['channels']} × {row['blocks']}"
        counts = [f"{row['parameters']:,}", f"{row['gflop_1080p']:,.0f}", f"{row['ms_1080p']:,.0f}"]
        gained = f"{row['psnr_y'] - results['composite_psnr_y']:+.2f}"
        trained = f"{row['kind']}: {story(row['notes'])}"
        lines.append([f"`{row['name']}`", trained, size, *counts, f"{row['psnr_y']:.2f}", gained])
    note = (
        f"PSNR-Y: means over the block-based containers of {results['set']} at ×{RATE}, whose composite has "
        f"{results['composite_psnr_y']:.2f} dB. GFLOP and milliseconds: a 1080p picture on the CPU, whole "
        f"reconstruction, {results['threads']} threads. Networks *as shipped* had longer and different "
        f"training: compare "
        "sizes only among those of equal steps."
    )
    return f"{note}\n\n{table(lines)}"


def plot(results: dict[str, Any], path: Path) -> None:
    """Plot dB against operations and against milliseconds, both on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    axes[0].set_ylabel(f"PSNR-Y, block-based, {results['set']} ×{RATE}, dB")
    for axis, key, title in zip(
        axes,
        ("gflop_1080p", "ms_1080p"),
        ("GFLOP for 1080p", f"ms for 1080p, {results['threads']} CPU threads"),
        strict=True,
    ):
        for kind, marker, line, colour in (
            ("equal steps", "o", "-", "#d9772b"),
            ("as shipped", "D", "", "#4a7ba6"),
        ):
            rows = sorted((row for row in results["sizes"] if row["kind"] == kind), key=lambda row: row[key])
            places, heights = [row[key] for row in rows], [row["psnr_y"] for row in rows]
            label = (
                "trained for the same steps"
                if kind == "equal steps"
                else "as shipped, each trained in its own way"
            )
            axis.plot(places, heights, marker=marker, linestyle=line or "none", color=colour, label=label)
            for row in rows:
                below = row["name"] == "craft"  # omnisr's label is above it
                axis.annotate(
                    row["name"],
                    (row[key], row["psnr_y"]),
                    (-4, -14 if below else 7),
                    textcoords="offset points",
                    fontsize=9,
                    ha="center",
                )
        axis.axhline(
            results["composite_psnr_y"], color="#888888", linewidth=1, linestyle=":", label="composite"
        )
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.xaxis.set_minor_formatter("")
        axis.set_xticks([30, 100, 300] if key == "gflop_1080p" else [200, 500, 1000, 2000])
        axis.margins(0.12)
        axis.set_xlabel(title)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8, loc=(0.03, 0.2))
    figure.tight_layout()
    figure.savefig(path, dpi=110)
