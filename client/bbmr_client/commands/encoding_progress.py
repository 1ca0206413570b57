"""The progress of encoding one photo: a line on a terminal, if it takes long, that disappears at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bbmr_client.batch.display import is_terminal
from bbmr_client.text import printable

AFTER_S = 2.0
"""Seconds without a line: nobody needs to be told of what ends soon."""


@contextmanager
def encoding_shown(name: str, quiet: bool) -> Iterator[Callable[[], None]]:
    """Yields what `encode` takes as `step`. Shows nothing if `quiet` or standard error is no terminal."""
    if quiet or not is_terminal():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    progress = Progress(
        SpinnerColumn(),
        TextColumn("encoding {task.description}, step {task.completed:.0f}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=4,
    )
    task = progress.add_task(printable(name, 200), total=None)
    timer = threading.Timer(AFTER_S, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda: progress.advance(task)
    finally:
        timer.cancel()
        timer.join()  # it may be starting the line just now
        progress.stop()
