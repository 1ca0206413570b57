"""When a request is sent again: the retry policy, and the meaning of `Retry-After`.

A request for a picture changes nothing on the server, so it may always be sent again. Whether a failure is retryable is
decided where it occurs: in `exchange._receive` by the status of the response (`RETRYABLE_STATUS`), in
`transport._translated` by the error of the connection. Both raise `RetryableError`; `failover` sends the request again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from bbmr_shared.arguments import is_number, is_whole
from bbmr_shared.errors import ServiceError, UsageError
from bbmr_shared.limits import MAX_RETRIES

RETRYABLE_STATUS = frozenset({429, 502, 503})
"""The queue is full; a proxy reached no server behind it; the server is not ready. 504 is not among them: a picture
that took too long would take as long again."""


@dataclass(frozen=True)
class Retries:
    """How often, and after how long, a request is sent again if no server was reached or all were busy.

    most: retries after the first try; with several servers a try asks each of them.
    first_wait: the wait before the first retry is random between 0 and this many seconds. The upper bound doubles with
        each retry (exponential backoff with full jitter) until it reaches `longest_wait`.
    longest_retry_after: the longest `Retry-After` of a server, in seconds, that is waited for before the random wait.
        A longer one, or one beyond the total timeout, ends the tries at once.
    sleep: an awaitable replacement for sleeping, for tests.

    Raises:
        UsageError: a value is out of its range.
    """

    most: int = 3
    first_wait: float = 0.5
    longest_wait: float = 30.0
    longest_retry_after: float = 120.0
    sleep: Callable[[float], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        if not is_whole(self.most) or not 0 <= self.most <= MAX_RETRIES:
            raise UsageError(f"retries are a whole number from 0 to {MAX_RETRIES}, not {self.most!r}")
        for seconds in (self.first_wait, self.longest_wait, self.longest_retry_after):
            if not is_number(seconds) or not 0 <= seconds < 1e9:
                raise UsageError(f"a wait between tries is a number of seconds, 0 or more, not {seconds!r}")

    @classmethod
    def of(cls, retries: int | Retries | None) -> Retries:
        """The policy with this number of retries; None means the defaults."""
        if retries is None:
            return cls()
        return retries if isinstance(retries, Retries) else cls(retries)


class RetryableError(Exception):
    """A failure that may be over soon, or that another server may not have: unreachable, or busy.

    error: what the caller gets if no retry helps. retry_after: the seconds that the server asked for.
    """

    def __init__(self, error: ServiceError, retry_after: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.retry_after = error, retry_after


def parse_retry_after(value: str, now: datetime | None = None) -> float | None:
    """Seconds from `now` that a `Retry-After` header asks for: whole seconds or an HTTP date (RFC 9110, 10.2.3).

    Returns None if the header cannot be read, and 0 for a date in the past.
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
