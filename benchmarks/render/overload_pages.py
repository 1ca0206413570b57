"""The results of `benchmarks.service.overload` as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.common import table


def markdown(results: dict[str, Any]) -> str:
    health = results["health"]
    rows = [
        ["", "a second", "in all", "p50 ms", "slowest"],
        ["what the server can serve", f"{results['capacity_per_second']:.1f}", "", "", ""],
        ["offered", f"{results['offered_per_second']:.1f}", f"{results['requests']:,}", "", ""],
        [
            "accepted and served (200)",
            f"{results['pictures_per_second']:.1f}",
            f"{results['statuses'].get('200', 0):,}",
            f"{results['p50_ms'] or 0:,.0f}",
            f"{results['slowest_accepted_s']:.2f} s",
        ],
        ["refused (429)", "", f"{results['statuses'].get('429', 0):,}", "", ""],
        [
            "`/healthz` meanwhile",
            "",
            f"{health['asked']:,}",
            f"{health['p50_ms']:.1f}",
            f"{health['slowest_ms']:.1f} ms",
        ],
    ]
    waits = results["retry_after_s"]
    side, refused = results["side"], results["refused_p99_ms"] or 0
    text = (
        f"The picture has {side}×{side} pixels; the server has {results['places']} places and a deadline of "
        f"{results['deadline_s']:g} s. `Retry-After` said {min(waits, default=0)} to {max(waits, default=0)} s; 99 of "
        f"100 refusals came within {refused:.0f} ms, 99 of 100 answers of `/healthz` within {health['p99_ms']:.1f} ms."
    )
    checks = "\n".join(
        f"- {row['check']}: {'yes' if row['holds'] else '**no**'}" for row in results["checks"]
    )
    return "\n\n".join([table(rows), text, checks])
