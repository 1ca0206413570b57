"""The report of a run as a file, CSV or JSON: a row for every input.

In: rows of the plan. Out: a file that is there whole or not at all, written row by row.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bbmr_client.batch.plan import Row
from bbmr_client.batch.result import DONE, UNCHANGED
from bbmr_client.files import FileAccessError, check_output, reason, replacement
from bbmr_shared.errors import UsageError

COLUMNS = (
    *("path", "output", "outcome", "reason", "width", "height"),
    *("bytes_in", "bytes_out", "bpp", "seconds", "warnings"),
)


def check_report(name: str) -> None:
    """Find out before the work that `name` cannot be written.

    Raises:
        UsageError: its ending says neither .csv nor .json.
        FileAccessError: as `check_output`.
    """
    if _ending(name) not in (".csv", ".json"):
        raise UsageError(f"--report {name}: the ending says what it is, .csv or .json")
    check_output(name)


def write_report(name: str, rows: Iterable[Row], folder: str, container_is_output: bool) -> None:
    """Write the report. folder: that of the outputs; container_is_output: whose bytes count for bpp.

    Raises:
        FileAccessError: it cannot be written.
    """
    told = (as_values(row, folder, container_is_output) for row in rows)
    try:
        with replacement(Path(os.path.realpath(name))) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
            (_write_csv if _ending(name) == ".csv" else _write_json)(text, told)
            text.flush()
            text.detach()
    except OSError as problem:
        raise FileAccessError(f"{name} cannot be written: {reason(problem)}") from problem


def as_values(row: Row, folder: str, container_is_output: bool) -> dict[str, Any]:
    """The columns of one row; None where there is nothing to say."""
    facts = row.facts
    values: dict[str, Any] = dict.fromkeys(COLUMNS)
    values |= {"path": row.source, "outcome": row.outcome, "reason": row.reason or None, "warnings": []}
    if row.outcome in (DONE, UNCHANGED):
        values["output"] = os.path.join(folder, row.output)
    if facts is not None:
        coded = facts.bytes_out if container_is_output else facts.bytes_in
        values |= {name: getattr(facts, name) for name in COLUMNS if hasattr(facts, name)}
        values |= {
            "warnings": list(facts.warnings),
            "bpp": round(8 * coded / (facts.width * facts.height), 6),
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
