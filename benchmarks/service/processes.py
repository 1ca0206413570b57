"""Processes as /proc shows them: their children and memory, and memory samples of a run. Linux only.

Memory is in megabytes of 10⁶ bytes.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.service.periodic import PeriodicThread


@dataclass(frozen=True)
class MemorySample:
    """Memory of a process and its children at one moment, in MB.

    `resident` counts a shared page once per process; `proportional` counts it once (0 if it was not measured).
    """

    at: float
    resident: float
    proportional: float = 0.0


def can_watch() -> bool:
    """Return whether this system has the files in /proc that this module reads."""
    return Path("/proc/self/smaps_rollup").exists()


def children(pid: int) -> list[int]:
    """Return the processes below `pid`, at any depth."""
    direct = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            direct += [int(word) for word in task.read_text().split()]
        except OSError:
            continue
    return [one for child in direct for one in (child, *children(child))]


def resident(pid: int) -> float | None:
    """Return the resident MB of `pid`; None if it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 if pages else None


def proportional(pid: int) -> float:
    """Return the MB of `pid` with shared pages divided among the processes that share them; 0 if it has ended."""
    return _field(f"/proc/{pid}/smaps_rollup", "Pss:")


def peak(pid: int) -> float:
    """Return the peak MB of `pid` since `forget_peak`, or since its start; 0 if it has ended."""
    return _field(f"/proc/{pid}/status", "VmHWM:")


def forget_peak(pid: int) -> None:
    """Reset `peak`."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def command(pid: int) -> str:
    """Return the command of a process, separated by spaces; an empty string if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


def _field(path: str, name: str) -> float:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name)), 0.0)


class MemorySampler(PeriodicThread):
    """Samples the memory of a process and its children in a thread, inside the `with` block."""

    def __init__(self, pid: int, every_s: float = 0.25, shares: bool = False) -> None:
        super().__init__(every_s)
        self.samples: list[MemorySample] = []
        self._pid, self._shares = pid, shares

    def take(self) -> MemorySample:
        """Return a sample. It is not stored."""
        family = [self._pid, *children(self._pid)]
        total = sum(resident(pid) or 0.0 for pid in family)
        shared = sum(proportional(pid) for pid in family) if self._shares else 0.0
        return MemorySample(time.monotonic(), total, shared)

    def tick(self) -> None:
        self.samples.append(self.take())

    def finish(self) -> None:
        self.samples.append(self.take())
