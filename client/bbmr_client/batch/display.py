"""The progress of a run on standard error: a live line on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from bbmr_client.batch.summary import Tally
from bbmr_client.files import print_message

if TYPE_CHECKING:
    from rich.progress import Progress

EVERY_S = 5.0
"""Seconds between two plain lines."""

_WINDOW = 24
"""Plain lines that the remaining time is estimated from. All lines would mislead: files that are done take no time."""

_MOST = 4000
_GONE = (OSError, ValueError)


class Display(Protocol):
    """Shows a run. `say`: a line that stays; `scanned`, `update`: progress of looking for files and of the work."""

    def say(self, line: str) -> None: ...

    def scanned(self, count: int, noun: str) -> None: ...

    def update(self, tally: Tally) -> None: ...

    def close(self) -> None: ...


def make_display(quiet: bool) -> Display:
    """Returns the display that fits standard error."""
    if quiet:
        return NoDisplay()
    return LiveDisplay() if is_terminal() else LineDisplay()


class NoDisplay:
    """Shows nothing."""

    def say(self, line: str) -> None:
        """Does nothing."""

    def scanned(self, count: int, noun: str) -> None:
        """Does nothing."""

    def update(self, tally: Tally) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


class LineDisplay:
    """A line every few seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque([(self._last, 0)], maxlen=_WINDOW)

    def say(self, line: str) -> None:
        print_message(_clean(line))

    def scanned(self, count: int, noun: str) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY_S:
            self._last = now
            self.say(f"{count} {noun}s found so far")

    def update(self, tally: Tally) -> None:
        now = time.monotonic()
        if now - self._last < EVERY_S:
            return
        self._last = now
        began, before = self._seen[0]
        self._seen.append((now, tally.finished))
        speed = (tally.finished - before) / (now - began)
        rest = f", about {_duration(tally.left / speed)} left" if speed > 0 and tally.left else ""
        failed = f", {tally.failed} failed" if tally.failed else ""
        self.say(f"{tally.finished} of {tally.total} {tally.noun}s{failed}, {tally.sizes()}{rest}")

    def close(self) -> None:
        """Does nothing: its lines stay."""


class LiveDisplay:
    """One line at the bottom of the terminal: a bar, counts, bytes, the remaining time.

    The run goes on if the terminal is closed.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._progress: Progress = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[noun]}{task.fields[failed]}"),
            TextColumn("{task.fields[sizes]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=self._console,
            transient=True,
            refresh_per_second=4,
        )
        self._task = self._progress.add_task("", total=None, visible=False, noun="", failed="", sizes="")
        self._progress.start()

    def say(self, line: str) -> None:
        with suppress(*_GONE):
            self._console.print(_clean(line), markup=False, highlight=False, soft_wrap=True)

    def scanned(self, count: int, noun: str) -> None:
        if count % 100 == 0:
            self._show(completed=count, total=count, noun=f"{noun}s found")

    def update(self, tally: Tally) -> None:
        self._show(
            total=tally.total,
            completed=tally.finished,
            noun=tally.noun + "s",
            failed=f", [red]{tally.failed} failed[/red]" if tally.failed else "",
            sizes=tally.sizes(),
        )

    def close(self) -> None:
        with suppress(*_GONE):
            self._progress.stop()

    def _show(self, **fields: Any) -> None:
        with suppress(*_GONE):
            self._progress.update(self._task, visible=True, **fields)


def is_terminal() -> bool:
    """Returns whether standard error is a terminal that can redraw a line."""
    try:
        return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def _clean(line: str) -> str:
    """Returns `line` without control characters. Unlike `printable`, it keeps columns of spaces."""
    return "".join(sign if sign.isprintable() else " " for sign in line[:_MOST])


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
