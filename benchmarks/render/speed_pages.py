"""The results of `benchmarks.speed.speed` as Markdown and as a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import table


def markdown(results: dict[str, Any]) -> str:
    rows = [["encode, 2K (2.8 MP)", "MP/s", "× lossless WebP", "bytes"]]
    for row in results["encode"]:
        numbers = [f"{row['megapixels_per_second']:.2f}", f"{row['times_webp']:.2f}", f"{row['bytes']:,}"]
        rows.append([row["what"], *numbers])
    again = [
        [
            "reconstruct, `light`, ×4, CPU",
            "threads",
            "total ms",
            "composite ms",
            "network ms",
            "peak MB over idle",
        ]
    ]
    for row in results["reconstruct"]:
        cells = [f"{row[key]:,.0f}" for key in ("total_ms", "composite_ms", "network_ms", "peak_mb")]
        again.append([row["size"], str(row["threads"]), *cells])
    return "\n\n".join([table(rows), table(again)])


def plot(results: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 3.6))
    rows = results["encode"]
    left.barh([row["what"] for row in rows], [row["megapixels_per_second"] for row in rows], color="#6f8fae")
    left.set_xlabel("MP/s, one thread")
    left.invert_yaxis()
    names = [
        f"{row['size']}, {row['threads']} thread{'s' * (row['threads'] > 1)}"
        for row in results["reconstruct"]
    ]
    before = [row["composite_ms"] for row in results["reconstruct"]]
    right.barh(names, before, color="#b8c4d0", label="decode and composite")
    network = [row["network_ms"] for row in results["reconstruct"]]
    right.barh(names, network, left=before, color="#d9772b", label="network")
    right.set_xlabel("ms")
    right.invert_yaxis()
    right.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
