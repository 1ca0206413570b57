"""Locks by name: whoever holds one keeps others from the same work. For one event loop.

In: a name. Out: a block that nobody else is in, or an error where that takes too long. A lock that nobody wants any
more is forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from bbmr_shared.errors import BbmrError

Guard = Callable[[Coroutine[Any, Any, None]], Awaitable[None]]
"""What a wait is put through: it awaits it, and may cancel it and raise instead, as where the client has left."""


async def patiently(wait: Coroutine[Any, Any, None]) -> None:
    """The guard of who waits whatever happens."""
    await wait


class Locks:
    """As many locks as there are names."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def alone(
        self, name: str, seconds: float, late: BbmrError, guard: Guard = patiently
    ) -> AsyncIterator[None]:
        """While the block runs, nobody else is in one of this name.

        Raises:
            `late`: others were in theirs for `seconds`; and what `guard` raises. The block is not run then.
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
            if held:  # also where the guard had it, and was cancelled before it could say so
                lock.release()
