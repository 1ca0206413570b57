"""Several servers, tried in turn and again. In: what to do with one server. Out: its result from the first that could.

A server that cannot be reached, or has no time, makes the next one be tried at once; only when none of them could, is
there a wait. Waits grow, are random, and are never shorter than a server asked for (see `bbmr_client.http.retries`).
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
from bbmr_client.http.retries import PassingError, Retries
from bbmr_shared.errors import (
    BadAnswerError,
    ServerRefusedError,
    ServerTimeoutError,
    ServerUnreachableError,
    ServiceError,
)

T = TypeVar("T")


class Failover:
    """Some servers. The one that worked last is asked first the next time."""

    def __init__(self, servers: Sequence[Server], retries: Retries) -> None:
        self.servers, self._retries = list(servers), retries

    async def ask(
        self, attempt: Callable[[Server], Awaitable[T]], total: float, most: int | None = None
    ) -> T:
        """What `attempt` gives for the first server that can.

        attempt: raises `PassingError` where another try may help. total: seconds that all tries with their waits may
        take; no wait begins that would end later. most: further tries; None: as the policy says.

        Raises:
            ServiceError: nothing helped; it says what each server said.
        """
        policy = self._retries
        said: dict[Server, PassingError] = {}
        back_at: dict[Server, float] = {}
        resting: set[Server] = set()

        async def ask_each() -> T:
            for server in list(self.servers):
                if server in resting:
                    continue
                try:
                    result = await attempt(server)
                except PassingError as passing:
                    said[server] = passing
                    back_at[server] = time.monotonic() + (passing.retry_after or 0.0)
                else:
                    self.servers.remove(server)
                    self.servers.insert(0, server)
                    return result
            raise _NobodyError

        def asked_to_wait() -> list[float]:
            """Seconds until each server wants to be asked again that said so, and may be waited for."""
            now = time.monotonic()
            return [
                max(0.0, back_at[server] - now)
                for server, passing in said.items()
                if passing.retry_after is not None and passing.retry_after <= policy.longest_retry_after
            ]

        backoff = wait_random_exponential(policy.first_wait, policy.longest_wait)

        def wait(state: RetryCallState) -> float:
            # Random on top of what was asked for, or all clients that a server sent away would come back at once.
            seconds = min(asked_to_wait(), default=0.0) + backoff(state)
            awake = time.monotonic() + seconds
            resting.clear()
            resting.update(server for server in said if back_at[server] > awake)
            return seconds

        enough = stop_any(
            stop_after_attempt(1 + (policy.most if most is None else most)), stop_before_delay(total)
        )

        def stop(state: RetryCallState) -> bool:
            """Also where every server asked for more time than it can have."""
            wanted = all(passing.retry_after is not None for passing in said.values())
            return enough(state) or (wanted and not asked_to_wait())

        tries = AsyncRetrying(
            retry=retry_if_exception_type(_NobodyError),
            wait=wait,
            stop=stop,
            sleep=anyio.sleep if policy.sleep is None else policy.sleep,
            reraise=True,
        )
        try:
            return await tries(ask_each)
        except _NobodyError:
            raise _all_said(list(said.values()), tries.statistics["attempt_number"]) from None


class _NobodyError(Exception):
    """No server could do it in this round."""


def _all_said(said: Sequence[PassingError], tries: int) -> ServiceError:
    """One error for what every server said last, of the kind that tells most."""
    errors = [passing.error for passing in said]
    again = f" (tried {tries} times)" if tries > 1 else ""
    kinds = (ServerRefusedError, BadAnswerError, ServerTimeoutError, ServerUnreachableError)
    telling = next(error for kind in kinds for error in errors if isinstance(error, kind))
    text = str(telling) if len(errors) == 1 else "no server could do it: " + "; ".join(map(str, errors))
    if isinstance(telling, ServerRefusedError):
        return ServerRefusedError(text + again, problem=telling.problem, status_code=telling.status_code)
    return type(telling)(text + again)
