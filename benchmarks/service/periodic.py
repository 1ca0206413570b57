"""A thread that does something again and again while a `with` block runs."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self


class PeriodicThread:
    """Calls `tick` every `every_s` seconds inside the `with` block, and `finish` once after it."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def tick(self) -> None:
        """Do the work of one period."""

    def finish(self) -> None:
        """Do what is left when the thread has ended."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.finish()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self.tick()
