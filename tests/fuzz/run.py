"""Fuzzes both targets at the same time: `python -m tests.fuzz.run --minutes 5 [--result docs/benchmarks]`.

It needs the extra `fuzz` (`make fuzz` installs it) and prints executions, coverage and findings. With a finding the
exit status is 1, and the inputs are in `fuzz-findings/`. `--result` writes `fuzz.json` and `fuzz.md` to its folder.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.common import machine, table

FINDINGS = Path("fuzz-findings")
STATISTICS = "statistics.json"
TARGETS = {
    "reader": "a container is read, and written again as it was",
    "preview": "a container is read, decoded and composited",
}
GRACE_SECONDS = 60.0
PROGRESS = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")


def fuzz(seconds: float, folder: Path = FINDINGS) -> list[dict[str, Any]]:
    """Runs both targets for `seconds`; returns a row for each: executions, outcomes, coverage, findings."""
    started = {}
    for name in TARGETS:
        place = folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        log = (place / "log").open("w")
        command = [sys.executable, "-m", f"tests.fuzz.fuzz_{name}", str(place)]
        command += [f"-max_total_time={max(round(seconds), 1)}", "-print_final_stats=1"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        started[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    rows = []
    for name, process in started.items():
        try:
            status = process.wait(seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        rows.append({"target": name, "seconds": round(seconds), **_read(folder / name, status)})
    return rows


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Fuzz the container reader and the preview.")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--result", type=Path, help="Folder for fuzz.json and fuzz.md.")
    arguments = parser.parse_args()
    rows = fuzz(arguments.minutes * 60)
    print(_table(rows))
    findings = [f"{FINDINGS / row['target']}/{finding}" for row in rows for finding in row["findings"]]
    print("\n".join(findings) or "no findings")
    if arguments.result:
        _write(arguments.result, f"make fuzz MINUTES={arguments.minutes:g}", rows)
    return 1 if findings else 0


def _read(place: Path, status: int) -> dict[str, Any]:
    log = (place / "log").read_text(errors="replace")
    held = json.loads((place / STATISTICS).read_text()) if (place / STATISTICS).is_file() else {}
    progress = PROGRESS.findall(log)
    edges, features, corpus = map(int, progress[-1]) if progress else (0, 0, 0)
    executed = re.search(r"number_of_executed_units: (\d+)", log)
    findings = held.get("findings", [])
    findings += [f"{path.name}: ended the run" for path in sorted(place.glob("libfuzzer-*"))]
    if status and not findings:
        findings = [f"log: the target ended with status {status}"]
    return {
        "executions": int(executed[1]) if executed else held.get("executions", 0),
        "edges": edges,
        "features": features,
        "corpus": corpus,
        "slowest_seconds": held.get("slowest_seconds"),
        "largest_growth_mib": held.get("largest_growth_mib"),
        "outcomes": held.get("outcomes", {}),
        "findings": findings,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    head = [
        "target",
        "executions",
        "a second",
        "edges",
        "features",
        "slowest",
        "memory of a step",
        "findings",
    ]
    body = [
        [
            f"`{row['target']}`: {TARGETS[row['target']]}",
            f"{row['executions']:,}",
            f"{row['executions'] / max(row['seconds'], 1):,.0f}",
            f"{row['edges']:,}",
            f"{row['features']:,}",
            f"{1000 * (row['slowest_seconds'] or 0):.0f} ms",
            f"{row['largest_growth_mib'] or 0:.1f} MiB",
            str(len(row["findings"])),
        ]
        for row in rows
    ]
    return table([head, *body])


def _write(folder: Path, command: str, rows: list[dict[str, Any]]) -> None:
    where = machine()
    held = {"command": command, "machine": where, "targets": rows}
    (folder / "fuzz.json").write_text(json.dumps(held, indent=1) + "\n")
    note = (
        f"`{command}` · {where['date']} · {where['cpu']}, {where['cores']} cores · Python {where['python']}"
    )
    text = (
        "Coverage-guided fuzzing (atheris) of both targets. *Edges* and *features* are libFuzzer's, of the Python code "
        "of `bbmr_shared`; times are of one step on one core. Without a finding only declared errors came out."
    )
    (folder / "fuzz.md").write_text(f"# Fuzzing\n\n{text}\n\n{_table(rows)}\n\n{note}\n")


if __name__ == "__main__":
    sys.exit(main())
