"""The desk: work that is given up, refused or fails gives its place and its photo back."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable

import pytest

from bbmr_server.errors import NotReadyError, QueueFullError
from bbmr_server.page.encode_queue import Desk, GivenUpError

pytestmark = pytest.mark.anyio


async def test_work_that_was_given_up_learns_of_it() -> None:
    desk, entered, ended = Desk(2), threading.Event(), threading.Event()

    def work(given_up: Callable[[], bool]) -> None:
        entered.set()
        while not given_up():
            pass
        ended.set()
        raise GivenUpError

    with desk.place() as place:
        task = asyncio.ensure_future(place.run(work))
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await asyncio.to_thread(ended.wait, 10)
    desk.close()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux only")
async def test_the_event_loop_goes_first() -> None:
    desk = Desk(1)
    with desk.place() as place:
        nice = await place.run(lambda given_up: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    assert nice > os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    desk.close()


async def test_what_is_inside_can_be_refused() -> None:
    desk, entered, gate = Desk(2), threading.Event(), threading.Event()

    def work(given_up: Callable[[], bool]) -> bool:
        entered.set()
        gate.wait(20)
        return given_up()

    with desk.place() as first, desk.place() as second:
        waits = [asyncio.ensure_future(place.run(work)) for place in (first, second)]
        await asyncio.to_thread(entered.wait, 10)
        desk.refuse_all()
        for wait in waits:
            with pytest.raises(NotReadyError):
                await wait
        with pytest.raises(NotReadyError):
            await first.run(work)
    gate.set()
    assert len(desk) == 0
    desk.close()


async def test_a_photo_given_up_before_its_turn_is_let_go_at_once() -> None:
    """Its bytes do not count any more then: whoever sends and leaves must not fill the memory behind slow work."""
    desk, entered, gate = Desk(2), threading.Event(), threading.Event()

    class Photo:
        pass

    def slow(given_up: Callable[[], bool]) -> None:
        entered.set()
        gate.wait(20)

    def work_on(photo: Photo) -> Callable[[Callable[[], bool]], None]:
        return lambda given_up: print(photo)

    photo = Photo()
    alive = weakref.ref(photo)
    with desk.place() as first, desk.place() as second:
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
    desk.close()


async def test_a_place_comes_back_whatever_happens() -> None:
    desk = Desk(1)
    with pytest.raises(ZeroDivisionError), desk.place() as place:
        await place.run(lambda given_up: 1 // 0)
    with desk.place(), pytest.raises(QueueFullError), desk.place():
        pass
    assert len(desk) == 0
    desk.close()
    with desk.place() as place, pytest.raises(NotReadyError):
        await place.run(lambda given_up: None)
    assert len(desk) == 0
