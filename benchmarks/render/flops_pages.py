"""The results of `benchmarks.speed.flops` as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.common import table

PARTS = ("stem", "backbone", "deblock", "head")


def markdown(results: dict[str, Any]) -> str:
    """Return the table for a 2K picture, and the totals of the other sizes."""
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
        channels = config["channels"]
        widths = "/".join(map(str, channels if isinstance(channels, list) else [channels]))
        width = f"{config['backbone']} {widths} × {config['blocks']}"
        cells = [_giga(flops["2K"][key]) for key in (*PARTS, "total", "plain")]
        others = [_giga(flops[size]["total"]) for size in ("1080p", "4K")]
        lines.append(
            [row["model"], width, f"{row['parameters']['total']:,}", *cells, f"{row['rise']:+.1%}", *others]
        )
    note = (
        "GFLOP (1 multiply-accumulate = 2 FLOP) for a 2K picture (2048×1365), by part: tiles with their halo, none "
        "skipped. They are the same at every overall rate. *Plain network*, on the same tiles: of `omnisr` and `craft` "
        "the backbone between a 3×3 convolution of 3 channels and one to 48, of `light` the same U-shape on the "
        "picture alone. *Rise*: what JointSR adds to it, a stem that sees the rate map and the coding error, and, "
        "around `omnisr` and `craft`, three levels and the deblock branch."
    )
    return f"{note}\n\n{table(lines)}"


def _giga(operations: int) -> str:
    return f"{operations / 1e9:,.1f}"
