"""The report of a run as a CSV or JSON file, with a row for every input. It is written row by row."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bbmr_client.batch.plan import PlanRow
from bbmr_client.batch.result import DONE, UNCHANGED
from bbmr_client.files import FileAccessError, check_output, reason, replacement
from bbmr_shared.errors import UsageError

COLUMNS = (
    *("path", "output", "outcome", "reason", "width", "height"),
    *("bytes_in", "bytes_out", "bpp", "seconds", "warnings"),
)


def check_report(name: str) -> None:
    """Check before the work that `name` can be written.

    Raises:
        UsageError: its ending is neither .csv nor .json.
        FileAccessError: as `check_output`.
    """
    if _ending(name) not in (".csv", ".json"):
        raise UsageError(f"--report {name}: the name must end in .csv or .json")
    check_output(name)


def write_report(name: str, rows: Iterable[PlanRow], folder: str, container_is_output: bool) -> None:
    """Write the report. folder: of the outputs; container_is_output: whether bpp counts the output's bytes.

    Raises:
        FileAccessError: it cannot be written.
    """
    values = (as_values(row, folder, container_is_output) for row in rows)
    try:
        with replacement(Path(os.path.realpath(name))) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
            (_write_csv if _ending(name) == ".csv" else _write_json)(text, values)
            text.flush()
            text.detach()
    except OSError as problem:
        raise FileAccessError(f"{name} cannot be written: {reason(problem)}") from problem


def as_values(row: PlanRow, folder: str, container_is_output: bool) -> dict[str, Any]:
    """Returns the columns of one row. A column without a value is None."""
    stats = row.stats
    values: dict[str, Any] = dict.fromkeys(COLUMNS)
    values |= {"path": row.source, "outcome": row.outcome, "reason": row.reason or None, "warnings": []}
    if row.outcome in (DONE, UNCHANGED):
        values["output"] = os.path.join(folder, row.output)
    if stats is not None:
        coded = stats.bytes_out if container_is_output else stats.bytes_in
        values |= {name: getattr(stats, name) for name in COLUMNS if hasattr(stats, name)}
        values |= {
            "warnings": list(stats.warnings),
            "bpp": round(8 * coded / (stats.width * stats.height), 6),
        }
    return values


def _write_csv(text: io.TextIOWrapper, rows: Iterable[dict[str, Any]]) -> None:
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "warnings": "; ".join(row["warnings"])})


def _write_json(text: io.TextIOWrapper, rows: Iterable[dict[str, Any]]) -> None:
    before = "["
    for row in rows:
        text.write(f"{before}\n{json.dumps(row)}")
        before = ","
    text.write("[]\n" if before == "[" else "\n]\n")


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()
