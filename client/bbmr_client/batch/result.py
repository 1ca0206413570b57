"""What goes to a worker and what comes back; plain data, fit to be sent to another process.

Job → Made (written to a temporary file, or found done already) or Failed
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

DONE, UNCHANGED, FAILED, LEFT = "done", "unchanged", "failed", "left"
"""Outcomes: written in this run; written in one before, and still right; not possible; not come to."""


@dataclass(frozen=True)
class Facts:
    """One result in figures: the picture's size, bytes read and written, seconds of work, and what to know."""

    width: int
    height: int
    bytes_in: int
    bytes_out: int
    seconds: float
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """Raises `ValueError` for anything else."""
        held: Any = json.loads(text)
        try:
            width, height, bytes_in, bytes_out = (
                held[n] for n in ("width", "height", "bytes_in", "bytes_out")
            )
            seconds, warnings = held["seconds"], held["warnings"]
        except (KeyError, TypeError) as error:
            raise ValueError("no facts") from error
        whole = all(
            isinstance(count, int) and count >= 0 for count in (bytes_in, bytes_out, width - 1, height - 1)
        )
        told = isinstance(warnings, list) and all(isinstance(warning, str) for warning in warnings)
        if not whole or not told or not isinstance(seconds, int | float):
            raise ValueError("no facts")
        return cls(width, height, bytes_in, bytes_out, float(seconds), tuple(warnings))


@dataclass(frozen=True)
class Known:
    """What the journal holds of an output: the digest of what it was made from, its own digest, its facts."""

    recipe: bytes
    digest: bytes
    facts: Facts


@dataclass(frozen=True)
class Job:
    """One file: `source` becomes `target`, by way of `temporary` (same file system, not there yet)."""

    index: int
    source: str
    target: str
    temporary: str
    known: Known | None
    overwrite: bool


@dataclass(frozen=True)
class Made:
    """The result lies in the job's temporary file; `unchanged`: in the target already, nothing was written."""

    index: int
    recipe: bytes
    digest: bytes
    facts: Facts
    unchanged: bool = False


@dataclass(frozen=True)
class Failed:
    """`hopeless`: the reason is not this file's, so the next ones will fail as well."""

    index: int
    reason: str
    hopeless: bool = False


Result = Made | Failed
