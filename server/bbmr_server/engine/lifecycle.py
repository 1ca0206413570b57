"""The state of an engine (started, stopping, failed), and the error for requests that it refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable

from bbmr_server.errors import NotReadyError
from bbmr_shared.errors import BbmrError


class Lifecycle:
    """The state that the engine and its pipeline share. Any thread may use it.

    Attributes:
        stopping: no request is accepted any more.
        failure: why the last device was given up; None while there is one.
    """

    def __init__(self, devices: int) -> None:
        self.started = False
        self.stopping = False
        self.failure: BaseException | None = None
        self._working = devices
        self._lock = threading.Lock()
        self._on_failure: Callable[[], None] | None = None

    def start(self, on_failure: Callable[[], None] | None) -> None:
        """Record the start, and the function that `report_failure` calls. Raises `RuntimeError` if called twice."""
        if self.started:
            raise RuntimeError("an engine is started once")
        self.started = True
        self._on_failure = on_failure

    def device_failed(self, error: BaseException) -> bool:
        """Count a device that was given up. Returns whether it was the last one; then `failure` is set."""
        with self._lock:  # two devices that end at the same time: exactly one of them is the last
            self._working -= 1
            last = self._working == 0
            if last:
                self.failure = error
        return last

    def report_failure(self) -> None:
        """Call the function that was passed to `start`."""
        if self._on_failure is not None:
            self._on_failure()

    def refusal(self) -> NotReadyError:
        """The error for a request that the engine cannot take or finish now."""
        if self.failure is not None:
            why = self.failure if isinstance(self.failure, BbmrError) else "the server's log says why"
            return NotReadyError(f"the engine has failed: {why}", retry_after=60)
        if self.stopping:
            return NotReadyError("the server is stopping; try another or come back later")
        return NotReadyError(
            "the engine is loading, or does not get on with its work; try again in a few seconds"
        )
