"""The results of `benchmarks.speed.flops` as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.common import table

PARTS = ("stem", "backbone", "deblock", "head")


def markdown(results: dict[str, Any]) -> str:
    """The table for a 2K picture, and the totals of the other sizes."""
    head = [
        "model",
        "channels × blocks",
        "parameters",
        *PARTS,
        "total",
        "plain network",
        "rise",
        "1080p",
        "4K",
    ]
    lines = [head]
    for row in results["models"]:
        config, flops = row["config"], row["flops"]
        width = f"{config['backbone']} {config['channels']} × {config['blocks']}"
        cells = [_giga(flops["2K"][key]) for key in (*PARTS, "total", "plain")]
        others = [_giga(flops[size]["total"]) for size in ("1080p", "4K")]
        lines.append(
            [row["model"], width, f"{row['parameters']['total']:,}", *cells, f"{row['rise']:+.1%}", *others]
        )
    note = (
        "GFLOP (1 multiply-accumulate = 2 FLOP) for a 2K picture (2048×1365), by part, as reconstructed: tiles with "
        "their halo, none skipped; the same at every overall rate, as the network works on the HR/4 grid. *Plain "
        "network* is the backbone between a 3×3 convolution of 3 channels and a 3×3 convolution to 48, on the same "
        "tiles; *rise* is what JointSR adds to it: a stem that sees three levels and the rate map, and the deblock "
        "branch."
    )
    return f"{note}\n\n{table(lines)}"


def _giga(operations: int) -> str:
    return f"{operations / 1e9:,.1f}"
