"""A deadline for a whole exchange. In: seconds. Out: every socket of the exchange is shut down once they are over.

The time-outs of an HTTP client begin anew with every byte, so a peer that sends or takes a byte now and then keeps it
busy for ever; a socket that is shut down wakes whoever waits in a read or a write.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self


class Deadline:
    """Runs from `with` on, in a thread of its own. `over`: whether the time was up before the block ended."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def watch(self, event: str, facts: Mapping[str, Any]) -> None:
        """The "trace" extension of httpx: takes note of each connection that is made, below and above TLS."""
        stream = facts.get("return_value")
        ask = getattr(stream, "get_extra_info", None) if event.endswith(".complete") else None
        made = None if ask is None else ask("socket")
        if isinstance(made, socket.socket):
            with self._lock:
                self._sockets.append(made)
                if self.over:
                    _shut(made)

    def _end(self) -> None:
        with self._lock:
            self.over = True
            for made in self._sockets:
                _shut(made)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()


def _shut(made: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already, or handed on to TLS
        # Not the method of an SSL socket, which forgets its session while the other thread reads.
        socket.socket.shutdown(made, socket.SHUT_RDWR)
