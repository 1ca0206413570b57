"""Locks by name, for one event loop. A lock that nobody holds or waits for is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from bbmr_shared.errors import BbmrError

WaitGuard = Callable[[Coroutine[Any, Any, None]], Awaitable[None]]
"""Awaits a wait, and may cancel it and raise instead: for example when the client has disconnected."""


async def unguarded(wait: Coroutine[Any, Any, None]) -> None:
    """The guard that never ends a wait early."""
    await wait


class KeyedLocks:
    """One lock for each name."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(
        self, name: str, seconds: float, late: BbmrError, guard: WaitGuard = unguarded
    ) -> AsyncIterator[None]:
        """Holds the lock `name` while the block runs.

        Raises:
            `late` if the lock was not free within `seconds`; whatever `guard` raises. The block does not run then.
        """
        lock = self._locks.setdefault(name, asyncio.Lock())
        held = False

        async def acquire() -> None:
            nonlocal held
            try:
                async with asyncio.timeout(seconds):
                    await lock.acquire()
                    held = True
            except TimeoutError:
                raise late from None

        try:
            await guard(acquire())
            yield
        finally:
            if held:  # `guard` may have raised after the lock was acquired
                lock.release()
