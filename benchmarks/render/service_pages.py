"""The results of `benchmarks.service.service` as Markdown and as a plot, and the sizing table of docs/operations.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.common import table

MARKER = "service-sizing"
DEVICES = {"service": "CPU", "service-cuda": "GPU"}
MEMORY_MB = 1500
"""Largest memory for an 8K picture above that of an idle server."""


def markdown(results: dict[str, Any]) -> str:
    """Return the tables."""
    return "\n\n".join(
        [*(_throughput(one) for one in results["throughput"]), _one(results), _region(results["region"])]
    )


def _throughput(one: dict[str, Any]) -> str:
    rows = [
        [
            f"{one['kind']}: `BBMR_BATCH`",
            "clients",
            "pictures/s",
            "× plain loop",
            "device works",
            "p50 ms",
            "p99 ms",
        ]
    ]
    rows.append(["plain loop, no HTTP", "", f"{one['alone_per_second']:.2f}", "1.00", "", "", ""])
    for row in one["rows"]:
        cells = [str(row["clients"]), f"{row['pictures_per_second']:.2f}", f"{row['ratio']:.2f}"]
        cells += [f"{row['device_share']:.0%}", f"{row['p50_ms']:,.0f}", f"{row['p99_ms']:,.0f}"]
        rows.append([str(row["batch"] or "0 (own choice)"), *cells])
    return table(rows)


def _one(results: dict[str, Any]) -> str:
    one = results["one"]
    rows = [
        [
            "one at a time, JPEG",
            "p50 ms",
            *(f"{stage} ms" for stage in _stages(one)),
            "peak MB over idle",
            "shared once",
        ]
    ]
    for row in one["rows"]:
        stages = [f"{row['stages_ms'].get(stage, 0):,.1f}" for stage in _stages(one)]
        memory = [f"{row['above_idle_mb']:,.0f}", f"{row['proportional_mb']:,.0f}"]
        rows.append([row["kind"], f"{row['p50_ms']:,.0f}", *stages, *memory])
    largest = one["rows"][-1]
    verdict = "within" if largest["above_idle_mb"] <= MEMORY_MB else "**above**"
    return (
        f"{table(rows)}\n\nThe idle server and its workers hold {one['idle_mb']:,.0f} MB "
        f"({one['idle_proportional_mb']:,.0f} MB, shared pages counted once). *Peak* is the sum of the peaks of "
        f"the processes, by the kernel's count; {largest['kind']} is {verdict} {MEMORY_MB:,} MB. 8K is a 4K "
        f"photo mirrored."
    )


def _region(region: dict[str, Any]) -> str:
    side = region["side"]
    verdict = "within" if region["holds"] else "**above**"
    return (
        f"A region of {side}×{side} of the 8K picture takes {region['region']['p50_ms']:,.0f} ms, a picture of that "
        f"size {region['picture']['p50_ms']:,.0f} ms, and decoding the planes alone {region['decode_ms']:,.0f} ms: "
        f"{verdict} decoding + 2 × picture = {region['bound_ms']:,.0f} ms."
    )


def _stages(one: dict[str, Any]) -> list[str]:
    return list(one["rows"][-1]["stages_ms"])


def sizing(results: Path) -> str:
    """Return the table of docs/operations.md, with a row per device; empty if nothing was measured."""
    rows: list[list[str]] = []
    for name, title in DEVICES.items():
        path = results / f"{name}.json"
        if not path.is_file():
            continue
        measured = json.loads(path.read_text())
        best = {
            one["kind"]: max(row["pictures_per_second"] for row in one["rows"])
            for one in measured["throughput"]
        }
        rows = rows or [_sizing_head(list(best))]
        rows.append(_sizing_row(title, measured, best))
    if not rows:
        return ""
    note = (
        "Answers are JPEG. Pictures/s: several clients at once; seconds: one request alone; GB: server with its "
        "workers. [Service](benchmarks/service.md) has every figure."
    )
    return f"{table(rows)}\n\n{note}"


def _sizing_head(kinds: list[str]) -> list[str]:
    return [
        "one worker with `light`",
        "megapixels/s",
        *(f"{kind} pictures/s" for kind in kinds),
        *("2K s", "4K s", "8K s"),
        *("GB idle", "GB with a 2K", "GB with an 8K"),
    ]


def _sizing_row(title: str, measured: dict[str, Any], best: dict[str, float]) -> list[str]:
    """Return the row of one device; `best` is kind → pictures per second."""
    by_kind = {row["kind"]: row for row in measured["one"]["rows"]}
    largest, idle_mb = measured["throughput"][-1], measured["one"]["idle_mb"]
    return [
        f"{title}: {measured['machine']['cpu']}, {measured['machine']['cores']} cores",
        f"{best[largest['kind']] * largest['megapixels']:.1f}",
        *(f"{speed:.1f}" for speed in best.values()),
        *(f"{by_kind[kind]['p50_ms'] / 1000:.2f}" for kind in ("2K", "4K", "8K")),
        f"{idle_mb / 1000:.2f}",
        *(f"{(idle_mb + by_kind[kind]['above_idle_mb']) / 1000:.2f}" for kind in ("2K", "8K")),
    ]


def plot(results: dict[str, Any], path: Path) -> None:
    """Plot pictures per second over clients as multiples of the plain loop, one line per batch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(results["throughput"]), figsize=(12, 3.6), squeeze=False)
    for axis, one in zip(axes[0], results["throughput"], strict=True):
        for batch in sorted({row["batch"] for row in one["rows"]}):
            rows = [row for row in one["rows"] if row["batch"] == batch]
            points = [row["clients"] for row in rows], [row["ratio"] for row in rows]
            axis.plot(*points, "o-", label=f"batch {batch}" if batch else "own choice")
        axis.axhline(1, color="#888888", linewidth=1)
        axis.set_title(one["kind"])
        axis.set_xlabel("clients")
        axis.set_ylabel("pictures/s over the plain loop's")
        axis.set_ylim(bottom=0)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
