"""The results of `benchmarks.speed.runtimes` as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.common import table

LARGEST = "1184, 1 thread"


def markdown(results: dict[str, Any]) -> str:
    """Return the tables."""
    rows = results["rows"]
    plain = next(row for row in rows if row["kind"] == "plain")
    cases = [key for key in plain if "thread" in key]
    times = [
        [
            "ms of a tile, wall / processor",
            *(f"{case.replace(',', '² pixels,')}" for case in cases),
            "of the first",
        ]
    ]
    for row in rows:
        cells = [_times(row[case]) if case in row else "" for case in cases]
        share = row[LARGEST]["cpu_ms"] / plain[LARGEST]["cpu_ms"]
        times.append([row["title"], *cells, f"{share:.2f}"])
    others = [
        [
            "",
            "MB installed",
            "s to load",
            "ms of the first tile",
            "MB loaded",
            "MB at most",
            "largest difference",
            "values that differ",
            "PSNR-Y",
        ]
    ]
    for row in rows:
        change = row["psnr_y"] - plain["psnr_y"]
        quality = f"{row['psnr_y']:.3f}" if row is plain else f"{change:+.3f}"
        others.append(
            [
                row["title"],
                f"{row['megabytes_installed']}",
                f"{row['load_s']:.2f}",
                f"{row['first_ms']:,.0f}",
                f"{row['loaded_mb']:.0f}",
                f"{row['peak_mb']:.0f}",
                f"{row['largest']}",
                f"{row['differing']:.4%}",
                quality,
            ]
        )
    note = (
        f"*Of the first*: processor time for the largest tile on one thread, relative to the first row. Memory "
        f"is that of "
        f"the whole process with one tile of 1184² pixels on one thread. Differences, in steps of 1/255, and "
        f"PSNR are over "
        f"{len(results['pictures'])} photos at ×4 and ×2. "
        f"{', '.join(f'{name} {version}' for name, version in results['versions'].items())}."
    )
    return "\n\n".join([table(times), table(others), note])


def _times(best: dict[str, float]) -> str:
    return f"{best['wall_ms']:,.0f} / {best['cpu_ms']:,.0f}"
