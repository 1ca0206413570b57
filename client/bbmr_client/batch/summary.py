"""What a run comes to: figures while it goes on, a table or JSON at its end.

In: outcomes. Out: text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bbmr_client.batch.inputs import Passed
from bbmr_client.batch.plan import Row
from bbmr_client.batch.result import Facts
from bbmr_client.text import counted

SHOWN_FAILURES = 20
"""Failed files in the summary; all of them are in the report."""

LISTED_WARNINGS = 100
"""Warnings in the summary as JSON; all of them are in the report."""


@dataclass
class Tally:
    """Figures of a run so far. Bytes are those of the files that are done now, in this run or before."""

    noun: str
    total: int
    done: int = 0
    unchanged: int = 0
    failed: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    warnings: list[tuple[str, str]] = field(default_factory=list)
    """The first ones, (file, text)."""

    @property
    def finished(self) -> int:
        return self.done + self.unchanged + self.failed

    @property
    def left(self) -> int:
        return self.total - self.finished

    def add(self, source: str, facts: Facts, unchanged: bool) -> None:
        """A file is done."""
        self.unchanged += unchanged
        self.done += not unchanged
        self.bytes_in += facts.bytes_in
        self.bytes_out += facts.bytes_out
        room = LISTED_WARNINGS - len(self.warnings)
        self.warnings += [(source, warning) for warning in facts.warnings[:room]]

    def sizes(self) -> str:
        """Bytes in and out, and what is saved."""
        saved = self.bytes_in - self.bytes_out
        gain = f", {megabytes(saved)} saved" if saved > 0 else ""
        return f"{megabytes(self.bytes_in)} → {megabytes(self.bytes_out)}{gain}"


@dataclass(frozen=True)
class Summary:
    """The end of a run. failures: the first of them; stopped: why it ended early ("" where it did not)."""

    tally: Tally
    seconds: float
    failures: list[Row]
    stopped: str = ""
    report: str | None = None
    passed: Passed = field(default_factory=Passed)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        tally = self.tally
        return {
            "total": tally.total,
            "done": tally.done,
            "unchanged": tally.unchanged,
            "failed": tally.failed,
            "left": tally.left,
            "stopped": self.stopped or None,
            "bytes_in": tally.bytes_in,
            "bytes_out": tally.bytes_out,
            "ratio": round(tally.bytes_in / tally.bytes_out, 4) if tally.bytes_out else None,
            "seconds": round(self.seconds, 3),
            "warnings": [{"path": path, "warning": text} for path, text in tally.warnings],
            "failures": [{"path": row.source, "reason": row.reason} for row in self.failures],
            "other_files": self.passed.files,
            "links_to_folders": self.passed.links,
            "report": self.report,
        }

    def lines(self) -> list[str]:
        """For a person."""
        tally = self.tally
        counts = {
            "done": tally.done,
            "unchanged": tally.unchanged,
            "failed": tally.failed,
            "left": tally.left,
        }
        notes = {
            "done": tally.noun + ("" if tally.done == 1 else "s"),
            "unchanged": "(done before)",
            "left": f"({self.stopped})",
        }
        width = len(str(max(counts.values())))
        told = [
            f"{name:<10} {number:>{width}} {notes.get(name, '')}".rstrip()
            for name, number in counts.items()
            if number or name in ("done", "failed")
        ]
        if tally.bytes_out:
            told.append(f"{'bytes':<10} {tally.sizes()}, ratio {tally.bytes_in / tally.bytes_out:.2f}")
        told.append(f"{'seconds':<10} {self.seconds:.1f}")
        if self.passed.files:
            told.append(
                f"{'passed by':<10} {counted(self.passed.files, 'file')} by the ending no {tally.noun}"
            )
        if self.passed.links:
            told.append(
                f"{'passed by':<10} {counted(self.passed.links, 'link')} to folders: name such a folder itself"
            )
        if self.failures:
            told.append("failed:")
            told += [f"  {named(row.source, row.reason)}" for row in self.failures]
            more = tally.failed - len(self.failures)
            if more > 0:
                told.append(f"  and {more} more: {self.report or '--report FILE.csv lists them all'}")
        return told


def named(source: str, reason: str) -> str:
    """A reason with the file's name, which many reasons begin with."""
    return reason if reason.startswith(source) else f"{source}: {reason}"


def megabytes(count: int) -> str:
    """Bytes as MB of 10⁶."""
    return f"{count / 1e6:.1f} MB"
