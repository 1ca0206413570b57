"""Processes as /proc shows them: who belongs to whom and what memory they hold; and the samples of a run.

In: process ids. Out: megabytes (10⁶ bytes). Linux only.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class MemorySample:
    """What a family of processes holds at one moment, in MB.

    `resident` counts a page once for every process that shares it; `proportional` counts it once (0 where it was
    not asked for).
    """

    at: float
    resident: float
    proportional: float = 0.0


def can_watch() -> bool:
    """Whether this system shows processes as this module reads them."""
    return Path("/proc/self/smaps_rollup").exists()


def children(pid: int) -> list[int]:
    """The processes below `pid`, at any depth."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in task.read_text().split()]
        except OSError:
            continue
    return [one for child in found for one in (child, *children(child))]


def resident(pid: int) -> float | None:
    """MB of memory that `pid` holds; None for a process that has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 if pages else None


def proportional(pid: int) -> float:
    """MB that `pid` holds, shared pages divided among those that share them; 0 for a process that has ended."""
    return _field(f"/proc/{pid}/smaps_rollup", "Pss:")


def peak(pid: int) -> float:
    """MB that `pid` held at most since `forget_peak`, or since it began; 0 for a process that has ended."""
    return _field(f"/proc/{pid}/status", "VmHWM:")


def forget_peak(pid: int) -> None:
    """From now on `peak` counts anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def command(pid: int) -> str:
    """The words of a process's command, separated by spaces; empty for a process that has ended."""
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


class MemorySampler:
    """Samples a process and all below it in a thread, from entering the block to leaving it."""

    def __init__(self, pid: int, every_s: float = 0.25, shares: bool = False) -> None:
        self.samples: list[MemorySample] = []
        self._pid, self._every_s, self._shares = pid, every_s, shares
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def take(self) -> MemorySample:
        """One sample now; it is not kept."""
        family = [self._pid, *children(self._pid)]
        held = sum(resident(pid) or 0.0 for pid in family)
        shared = sum(proportional(pid) for pid in family) if self._shares else 0.0
        return MemorySample(time.monotonic(), held, shared)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.samples.append(self.take())

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self.samples.append(self.take())
