"""The encode queue: cancelled, refused and failed work frees its slot and its photo."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable

import pytest

from bbmr_server.encode_queue import EncodeQueue, WorkCancelledError
from bbmr_server.errors import NotReadyError, QueueFullError

pytestmark = pytest.mark.anyio


async def test_running_work_sees_that_it_is_cancelled() -> None:
    queue, entered, ended = EncodeQueue(2), threading.Event(), threading.Event()

    def work(cancelled: Callable[[], bool]) -> None:
        entered.set()
        while not cancelled():
            pass
        ended.set()
        raise WorkCancelledError

    with queue.slot() as slot:
        task = asyncio.ensure_future(slot.run(work))
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await asyncio.to_thread(ended.wait, 10)
    queue.close()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux only")
async def test_the_thread_has_a_lower_priority() -> None:
    queue = EncodeQueue(1)
    with queue.slot() as slot:
        nice = await slot.run(lambda cancelled: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    assert nice > os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    queue.close()


async def test_unfinished_work_can_be_refused() -> None:
    queue, entered, gate = EncodeQueue(2), threading.Event(), threading.Event()

    def work(cancelled: Callable[[], bool]) -> bool:
        entered.set()
        gate.wait(20)
        return cancelled()

    with queue.slot() as first, queue.slot() as second:
        waits = [asyncio.ensure_future(slot.run(work)) for slot in (first, second)]
        await asyncio.to_thread(entered.wait, 10)
        queue.refuse_all()
        for wait in waits:
            with pytest.raises(NotReadyError):
                await wait
        with pytest.raises(NotReadyError):
            await first.run(work)
    gate.set()
    assert len(queue) == 0
    queue.close()


async def test_a_photo_cancelled_before_its_turn_is_released_at_once() -> None:
    """Its bytes no longer count: clients that disconnect must not fill the memory behind slow work."""
    queue, entered, gate = EncodeQueue(2), threading.Event(), threading.Event()

    class Photo:
        pass

    def slow(cancelled: Callable[[], bool]) -> None:
        entered.set()
        gate.wait(20)

    def work_on(photo: Photo) -> Callable[[Callable[[], bool]], None]:
        return lambda cancelled: print(photo)

    photo = Photo()
    alive = weakref.ref(photo)
    with queue.slot() as first, queue.slot() as second:
        running = asyncio.ensure_future(first.run(slow))
        await asyncio.to_thread(entered.wait, 10)
        waiting = asyncio.ensure_future(second.run(work_on(photo)))
        del photo
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        del waiting
        gc.collect()
        assert alive() is None
        gate.set()
        await running
    queue.close()


async def test_a_slot_is_free_again_whatever_happens() -> None:
    queue = EncodeQueue(1)
    with pytest.raises(ZeroDivisionError), queue.slot() as slot:
        await slot.run(lambda cancelled: 1 // 0)
    with queue.slot(), pytest.raises(QueueFullError), queue.slot():
        pass
    assert len(queue) == 0
    queue.close()
    with queue.slot() as slot, pytest.raises(NotReadyError):
        await slot.run(lambda cancelled: None)
    assert len(queue) == 0
