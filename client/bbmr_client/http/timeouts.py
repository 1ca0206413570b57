"""How long each step of an exchange with a server may take."""

from __future__ import annotations

from dataclasses import dataclass

from bbmr_shared.arguments import is_number
from bbmr_shared.errors import UsageError
from bbmr_shared.limits import MAX_TIMEOUT_S


@dataclass(frozen=True)
class Timeouts:
    """Seconds that each step may take.

    connect: opening a connection, TLS included.
    read: the longest silence while the client waits for the response.
    write: the longest time in which no piece of the upload is accepted.
    pool: waiting for a free connection if this client has more requests in flight than connections.
    total: the whole exchange, with all retries and the waits between them.

    httpx's own default is 5 s for each step. A large picture on a CPU takes longer.

    Raises:
        UsageError: a value is not a positive number of seconds.
    """

    connect: float = 10.0
    read: float = 300.0
    write: float = 60.0
    pool: float = 900.0
    total: float = 900.0

    def __post_init__(self) -> None:
        for seconds in (self.connect, self.read, self.write, self.pool, self.total):
            if not is_number(seconds) or not 0 < seconds <= MAX_TIMEOUT_S:
                raise UsageError(
                    f"a timeout is a positive number of seconds up to {MAX_TIMEOUT_S:.0f} (a week), not {seconds!r}"
                )

    @classmethod
    def of(cls, timeout: float | Timeouts | None) -> Timeouts:
        """A number limits the whole exchange; None means the defaults."""
        if timeout is None:
            return cls()
        if isinstance(timeout, Timeouts):
            return timeout
        if not is_number(timeout):
            raise UsageError(f"a timeout is a number of seconds or Timeouts, not {timeout!r}")
        return cls(min(10.0, timeout), timeout, min(60.0, timeout), timeout, timeout)
