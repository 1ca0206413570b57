"""Counts the files and bytes of a run, and shows them at its end as text or JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bbmr_client.batch.inputs import Skipped
from bbmr_client.batch.plan import PlanRow
from bbmr_client.batch.result import FileStats
from bbmr_client.text import counted

SHOWN_FAILURES = 20
"""Failed files that the summary lists. The report has them all."""

LISTED_WARNINGS = 100
"""Warnings that the JSON summary lists. The report has them all."""


@dataclass
class Tally:
    """Figures of a run so far. Bytes are those of the files that are done, in this run or an earlier one."""

    noun: str
    total: int
    done: int = 0
    unchanged: int = 0
    failed: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    warnings: list[tuple[str, str]] = field(default_factory=list)
    """The first ones, as (file, text)."""

    @property
    def finished(self) -> int:
        return self.done + self.unchanged + self.failed

    @property
    def left(self) -> int:
        return self.total - self.finished

    def add(self, source: str, stats: FileStats, unchanged: bool) -> None:
        """Count a file that is done."""
        self.unchanged += unchanged
        self.done += not unchanged
        self.bytes_in += stats.bytes_in
        self.bytes_out += stats.bytes_out
        room = LISTED_WARNINGS - len(self.warnings)
        self.warnings += [(source, warning) for warning in stats.warnings[:room]]

    def sizes(self) -> str:
        """Returns bytes in, bytes out, and the difference if it is a gain."""
        saved = self.bytes_in - self.bytes_out
        gain = f", {megabytes(saved)} saved" if saved > 0 else ""
        return f"{megabytes(self.bytes_in)} → {megabytes(self.bytes_out)}{gain}"


@dataclass(frozen=True)
class Summary:
    """The results of a run. failures: the first ones. stopped: why the run ended early; "" if it did not."""

    tally: Tally
    seconds: float
    failures: list[PlanRow]
    stopped: str = ""
    report: str | None = None
    skipped: Skipped = field(default_factory=Skipped)

    def as_dict(self) -> dict[str, Any]:
        """Returns the summary for JSON."""
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
            "other_files": self.skipped.files,
            "links_to_folders": self.skipped.links,
            "report": self.report,
        }

    def lines(self) -> list[str]:
        """Returns the summary as lines of text."""
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
        lines = [
            f"{name:<10} {number:>{width}} {notes.get(name, '')}".rstrip()
            for name, number in counts.items()
            if number or name in ("done", "failed")
        ]
        if tally.bytes_out:
            lines.append(f"{'bytes':<10} {tally.sizes()}, ratio {tally.bytes_in / tally.bytes_out:.2f}")
        lines.append(f"{'seconds':<10} {self.seconds:.1f}")
        if self.skipped.files:
            lines.append(
                f"{'skipped':<10} {counted(self.skipped.files, 'file')} without the file extension of a {tally.noun}"
            )
        if self.skipped.links:
            lines.append(
                f"{'skipped':<10} {counted(self.skipped.links, 'link')} to folders: name such a folder itself"
            )
        if self.failures:
            lines.append("failed:")
            lines += [f"  {named(row.source, row.reason)}" for row in self.failures]
            more = tally.failed - len(self.failures)
            if more > 0:
                lines.append(f"  and {more} more: {self.report or '--report FILE.csv lists them all'}")
        return lines


def named(source: str, reason: str) -> str:
    """Returns `reason` with the name of the file in front, unless it begins with that already."""
    return reason if reason.startswith(source) else f"{source}: {reason}"


def megabytes(count: int) -> str:
    """Returns a number of bytes in MB (10⁶ bytes)."""
    return f"{count / 1e6:.1f} MB"
