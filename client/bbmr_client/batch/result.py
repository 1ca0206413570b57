"""The messages between a run and its workers: plain data that can be sent to another process.

FileTask → TaskDone (the result is in the temporary file, or the target was right already) or TaskFailed
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

DONE, UNCHANGED, FAILED, LEFT = "done", "unchanged", "failed", "left"
"""Outcomes: written in this run; written in an earlier run and still right; failed; not reached."""


@dataclass(frozen=True)
class FileStats:
    """Figures of one result: size of the picture, bytes read and written, seconds of work, warnings."""

    width: int
    height: int
    bytes_in: int
    bytes_out: int
    seconds: float
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> FileStats:
        """Returns what `to_json` wrote. Raises `ValueError` for anything else."""
        held: Any = json.loads(text)
        try:
            width, height, bytes_in, bytes_out = (
                held[n] for n in ("width", "height", "bytes_in", "bytes_out")
            )
            seconds, warnings = held["seconds"], held["warnings"]
        except (KeyError, TypeError) as error:
            raise ValueError("a figure is missing") from error
        are_counts = all(
            isinstance(count, int) and count >= 0 for count in (bytes_in, bytes_out, width - 1, height - 1)
        )
        are_texts = isinstance(warnings, list) and all(isinstance(warning, str) for warning in warnings)
        if not are_counts or not are_texts or not isinstance(seconds, int | float):
            raise ValueError("a figure has the wrong type")
        return cls(width, height, bytes_in, bytes_out, float(seconds), tuple(warnings))


@dataclass(frozen=True)
class JournalEntry:
    """What the journal knows of an output: the digest of its recipe, of its bytes, and its figures."""

    recipe: bytes
    digest: bytes
    stats: FileStats


@dataclass(frozen=True)
class FileTask:
    """One file: `source` becomes `target`, by way of `temporary`, a new file on the same file system."""

    index: int
    source: str
    target: str
    temporary: str
    known: JournalEntry | None
    overwrite: bool


@dataclass(frozen=True)
class TaskDone:
    """The result is in the task's temporary file. unchanged: it was in the target already; nothing was written."""

    index: int
    recipe: bytes
    digest: bytes
    stats: FileStats
    unchanged: bool = False


@dataclass(frozen=True)
class TaskFailed:
    """affects_all: the reason does not lie in this file, so the next files will fail as well."""

    index: int
    reason: str
    affects_all: bool = False


TaskResult = TaskDone | TaskFailed
