"""Tries several servers in turn, round after round, until one of them succeeds.

If a server cannot be reached or is busy, the next one is tried at once. If none succeeds, the client waits. Waits grow,
are random, and are never shorter than a server asked for (see `bbmr_client.http.retries`).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_any,
    stop_before_delay,
    wait_random_exponential,
)

from bbmr_client.http.request import Server
from bbmr_client.http.retries import Retries, RetryableError
from bbmr_shared.errors import (
    BadAnswerError,
    ServerRefusedError,
    ServerTimeoutError,
    ServerUnreachableError,
    ServiceError,
)

T = TypeVar("T")


class Failover:
    """Some servers. The one that succeeded last is tried first the next time."""

    def __init__(self, servers: Sequence[Server], retries: Retries) -> None:
        self.servers, self._retries = list(servers), retries

    async def run(
        self, attempt: Callable[[Server], Awaitable[T]], total: float, most: int | None = None
    ) -> T:
        """Returns what `attempt` returns for the first server that succeeds.

        attempt: raises `RetryableError` if another try may help.
        total: seconds for all tries and waits; no wait begins that would end later.
        most: retries; None means as many as the policy says.

        Raises:
            ServiceError: no server succeeded; the message has what each of them answered.
        """
        rounds = _Rounds(self.servers, self._retries)
        retries = self._retries.most if most is None else most
        enough = stop_any(stop_after_attempt(1 + retries), stop_before_delay(total))

        def stop(state: RetryCallState) -> bool:
            return enough(state) or rounds.is_hopeless()

        tries = AsyncRetrying(
            retry=retry_if_exception_type(_AllServersFailedError),
            wait=rounds.wait,
            stop=stop,
            sleep=anyio.sleep if self._retries.sleep is None else self._retries.sleep,
            reraise=True,
        )
        try:
            return await tries(rounds.try_each, attempt)
        except _AllServersFailedError:
            raise _combined(list(rounds.errors.values()), tries.statistics["attempt_number"]) from None


class _AllServersFailedError(Exception):
    """No server succeeded in this round."""


class _Rounds:
    """The state of one request over its rounds; each round tries every server that is not resting."""

    def __init__(self, servers: list[Server], policy: Retries) -> None:
        self._servers, self._policy = servers, policy
        self._backoff = wait_random_exponential(policy.first_wait, policy.longest_wait)
        self.errors: dict[Server, RetryableError] = {}
        self._ready_at: dict[Server, float] = {}
        self._resting: set[Server] = set()

    async def try_each(self, attempt: Callable[[Server], Awaitable[T]]) -> T:
        for server in list(self._servers):
            if server in self._resting:
                continue
            try:
                result = await attempt(server)
            except RetryableError as error:
                self.errors[server] = error
                self._ready_at[server] = time.monotonic() + (error.retry_after or 0.0)
            else:
                self._servers.remove(server)
                self._servers.insert(0, server)
                return result
        raise _AllServersFailedError

    def wait(self, state: RetryCallState) -> float:
        """Seconds until the next round. Servers that asked for more than that rest during it."""
        # The random part comes on top of what servers asked for, or all their clients would come back at once.
        seconds = min(self._requested_waits(), default=0.0) + self._backoff(state)
        next_round = time.monotonic() + seconds
        self._resting = {server for server in self.errors if self._ready_at[server] > next_round}
        return seconds

    def is_hopeless(self) -> bool:
        """Whether every server asked for a wait that is longer than the policy allows."""
        asked = all(error.retry_after is not None for error in self.errors.values())
        return asked and not self._requested_waits()

    def _requested_waits(self) -> list[float]:
        """Seconds that are left of each `Retry-After` that the policy allows."""
        now = time.monotonic()
        return [
            max(0.0, self._ready_at[server] - now)
            for server, error in self.errors.items()
            if error.retry_after is not None and error.retry_after <= self._policy.longest_retry_after
        ]


def _combined(failures: Sequence[RetryableError], tries: int) -> ServiceError:
    """One error for the last failure of every server; its type is that of the most informative one."""
    errors = [failure.error for failure in failures]
    again = f" (tried {tries} times)" if tries > 1 else ""
    kinds = (ServerRefusedError, BadAnswerError, ServerTimeoutError, ServerUnreachableError)
    main = next(error for kind in kinds for error in errors if isinstance(error, kind))
    text = str(main) if len(errors) == 1 else "no server could do it: " + "; ".join(map(str, errors))
    if isinstance(main, ServerRefusedError):
        return ServerRefusedError(text + again, problem=main.problem, status_code=main.status_code)
    return type(main)(text + again)
