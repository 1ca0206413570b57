"""The results of `benchmarks.speed.folder` as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.common import table


def markdown(results: dict[str, Any]) -> str:
    rows = [["run", "seconds", "outputs written", "process", "MB after warm-up", "least", "most"]]
    for run in results["runs"]:
        if not run["memory"]:
            rows.append(
                [run["run"], f"{run['seconds']:.1f}", str(run["done"]), "too short to tell", "", "", ""]
            )
        for index, process in enumerate(run["memory"]):
            head = [run["run"], f"{run['seconds']:.1f}", str(run["done"])] if index == 0 else ["", "", ""]
            sizes = [f"{process[name]:.1f}" for name in ("first_mb", "least_mb", "most_mb")]
            rows.append([*head, process["process"], *sizes])
    at = results["at_the_kill"]
    text = (
        f"At the kill {at['outputs']} outputs were there, and {at['temporary_files']} temporary files were left. "
        f"{results['bytes_in'] / 1e6:.1f} MB of photos became {results['bytes_out'] / 1e6:.1f} MB."
    )
    checks = "\n".join(
        f"- {row['check']}: {'yes' if row['holds'] else '**no**'}" for row in results["checks"]
    )
    return "\n\n".join([table(rows), text, checks])
