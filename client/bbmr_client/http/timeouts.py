"""How long each step of an exchange with a server may take. In: seconds. Out: `Timeouts`, checked."""

from __future__ import annotations

from dataclasses import dataclass

from bbmr_shared.errors import UsageError
from bbmr_shared.limits import MAX_TIMEOUT_S


@dataclass(frozen=True)
class Timeouts:
    """Seconds that each step may take.

    connect: until a connection stands, TLS included. read: the longest silence while an answer is awaited. write: the
    longest time in which not one piece of the upload is taken. pool: waiting for a free connection where this client
    has more requests in flight than connections. total: the whole of it, with every further try and the
    waits between them.

    httpx's own default is 5 s for each, which a large picture on a CPU exceeds.
    """

    connect: float = 10.0
    read: float = 300.0
    write: float = 60.0
    pool: float = 900.0
    total: float = 900.0

    def __post_init__(self) -> None:
        for seconds in (self.connect, self.read, self.write, self.pool, self.total):
            if not 0 < seconds <= MAX_TIMEOUT_S:
                raise UsageError(
                    f"a timeout is a positive number of seconds up to {MAX_TIMEOUT_S:.0f} (a week), not {seconds}"
                )

    @classmethod
    def of(cls, timeout: float | Timeouts | None) -> Timeouts:
        """A number limits the whole exchange; None means the defaults."""
        if timeout is None:
            return cls()
        if isinstance(timeout, Timeouts):
            return timeout
        return cls(min(10.0, timeout), timeout, min(60.0, timeout), timeout, timeout)
