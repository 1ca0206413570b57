"""The results of `benchmarks.service.soak` as Markdown and as a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import table


def markdown(results: dict[str, Any]) -> str:
    memory = results["memory"]
    rows = [
        ["requests", "clients", "answers a second", "p50 ms", "p99 ms", "MB at the start", "half-way", "end"],
        [
            f"{results['requests']:,}",
            str(results["clients"]),
            f"{results['pictures_per_second']:.1f}",
            f"{results['p50_ms']:.0f}",
            f"{results['p99_ms']:.0f}",
            *(f"{memory[name]:,.1f}" for name in ("first_mb", "half_mb", "last_mb")),
        ],
    ]
    text = (
        f"Slope of memory over the last half: {memory['slope_mb_per_1000']:+.3f} ± {memory['slope_error']:.3f} MB per "
        "thousand requests (standard error). Answers that are right: "
        + ", ".join(f"{count:,} {name}" for name, count in sorted(results["verdicts"].items()))
        + "."
    )
    checks = "\n".join(
        f"- {row['check']}: {'yes' if row['holds'] else '**no**'}" for row in results["checks"]
    )
    return "\n\n".join([table(rows), text, checks])


def plot(results: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 3.6))
    memory = results["memory"]
    samples = np.array(memory["samples"])
    left.plot(samples[:, 0], samples[:, 1], color="#6f8fae")
    ends = np.array([results["requests"] / 2, results["requests"]])
    line = memory["fitted_at_0_mb"] + memory["slope_mb_per_1000"] * ends / 1000
    left.plot(ends, line, color="#d9772b", label="least squares, last half")
    left.set_ylim(0, 1.15 * memory["most_mb"])
    left.set_xlabel("requests answered")
    left.set_ylabel("MB, server and workers")
    left.legend(loc="lower right")
    rows = results["seconds_by_thousand"]
    for name, colour in (("p50_ms", "#6f8fae"), ("p99_ms", "#d9772b")):
        right.plot(range(1, len(rows) + 1), [row[name] for row in rows], "o-", color=colour, label=name[:3])
    right.set_ylim(bottom=0)
    right.set_xlabel("thousand")
    right.set_ylabel("ms")
    right.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
