"""When a request is tried again. In: a number or a policy, and what a server said. Out: `Retries`; seconds to wait.

A request for a picture changes nothing on the server, so it may always be sent again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from bbmr_shared.errors import ServiceError, UsageError
from bbmr_shared.limits import MAX_RETRIES

BUSY_STATUS = frozenset({429, 502, 503})
"""Come back later: the queue is full; a proxy found no server behind it; not ready. 504 is none of them: a picture that
took too long would take as long again."""


@dataclass(frozen=True)
class Retries:
    """How often, and after how long, a request is tried again that found no server or a busy one.

    most: further tries after the first; with several servers a try asks each of them. first_wait: the wait before the
    second try is random between 0 and this many seconds; the span doubles from try to try (exponential backoff with
    full jitter) up to longest_wait. A server's `Retry-After` is waited for before that; one above
    longest_retry_after, or beyond the total timeout, ends the tries at once. sleep: what waits, for tests.
    """

    most: int = 3
    first_wait: float = 0.5
    longest_wait: float = 30.0
    longest_retry_after: float = 120.0
    sleep: Callable[[float], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.most, int) or not 0 <= self.most <= MAX_RETRIES:
            raise UsageError(f"retries are a whole number from 0 to {MAX_RETRIES}, not {self.most}")
        for seconds in (self.first_wait, self.longest_wait, self.longest_retry_after):
            if not 0 <= seconds < 1e9:
                raise UsageError(f"a wait between tries is a number of seconds from 0 on, not {seconds}")

    @classmethod
    def of(cls, retries: int | Retries | None) -> Retries:
        """A number of further tries; None means the defaults."""
        if retries is None:
            return cls()
        return retries if isinstance(retries, Retries) else cls(retries)


class PassingError(Exception):
    """A failure that may be over soon, or that another server may not have: nobody there, or no time.

    `error` is what to tell when nothing helped; `retry_after` the seconds that the server asked for.
    """

    def __init__(self, error: ServiceError, retry_after: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.retry_after = error, retry_after


def parse_retry_after(value: str, now: datetime | None = None) -> float | None:
    """Seconds from now that a `Retry-After` header asks for, as whole seconds or as a date of HTTP (RFC 9110, 10.2.3).

    None where it asks for nothing that can be understood; 0 for a date that is over.
    """
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # RFC 9110: a date without a zone is in UTC
            date = date.replace(tzinfo=UTC)
        return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
