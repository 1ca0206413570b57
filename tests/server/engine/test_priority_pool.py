"""The pool of threads: the smallest rank goes first, no step is lost, and nothing is left behind."""

from __future__ import annotations

import threading
import weakref

import pytest

from bbmr_server.engine import priority_pool
from bbmr_server.engine.priority_pool import PriorityPool
from tests.server.conftest import wait_until


class Held:
    """A step that sets `began` and waits for `go_on`."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.began.set()
        assert self.go_on.wait(10)


def names(prefix: str) -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith(prefix)]


def test_the_smallest_rank_goes_first_and_equal_ones_in_order() -> None:
    pool, held, order = PriorityPool(1, "order"), Held(), []
    pool.submit((0,), held)
    assert held.began.wait(5)
    ranks = [(1, 5.0), (0, 9.0), (1, 2.0), (0, 9.0), (1, 2.0)]
    futures = [pool.submit(rank, order.append, number) for number, rank in enumerate(ranks)]
    held.go_on.set()
    for future in futures:
        future.result(5)
    assert order == [1, 3, 2, 4, 0]
    pool.close()


def test_the_number_of_threads_is_bounded() -> None:
    pool, held = PriorityPool(2, "twice"), [Held() for _ in range(3)]
    futures = [pool.submit((0,), one) for one in held]
    assert held[0].began.wait(5)
    assert held[1].began.wait(5)
    assert not held[2].began.wait(0.05)
    for one in held:
        one.go_on.set()
    for future in futures:
        future.result(5)
    pool.close()
    wait_until(lambda: names("twice") == [])


def test_a_step_that_fails_hurts_no_other() -> None:
    pool = PriorityPool(1, "fails")
    with pytest.raises(SystemExit):
        pool.submit((0,), exit).result(5)
    assert pool.submit((0,), int).result(5) is None
    pool.close()


def test_closing_cancels_what_waits_and_lets_what_is_at_work_end() -> None:
    pool, held = PriorityPool(1, "closing"), Held()
    at_work = pool.submit((0,), held)
    assert held.began.wait(5)
    waiting = pool.submit((0,), int)
    pool.close()
    assert waiting.cancelled()
    with pytest.raises(RuntimeError):
        pool.submit((0,), int)
    held.go_on.set()
    assert at_work.result(5) is None
    wait_until(lambda: names("closing") == [])


def test_threads_without_work_end_and_others_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority_pool, "IDLE_S", 0.05)
    pool = PriorityPool(2, "idle")
    for _ in range(3):
        pool.submit((0,), int).result(5)
        wait_until(lambda: names("idle") == [])


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_step_that_is_over_holds_nothing(cancelled: bool) -> None:
    class Large:
        def work(self) -> None:
            pass

    pool, large, held = PriorityPool(1, "holds"), Large(), Held()
    seen = weakref.ref(large)
    pool.submit((0,), held)
    assert held.began.wait(5)
    future = pool.submit((0,), large.work)
    del large
    if cancelled:
        assert future.cancel()
    else:
        held.go_on.set()
    wait_until(lambda: seen() is None)
    held.go_on.set()
    pool.close()


def test_a_thread_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, held = PriorityPool(2, "short"), Held()

    def fails(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as broken:
        broken.setattr(threading.Thread, "start", fails)
        with pytest.raises(RuntimeError):
            pool.submit((0,), int)
    pool.submit((0,), held)
    assert held.began.wait(5)
    with monkeypatch.context() as broken:
        broken.setattr(threading.Thread, "start", fails)
        later = pool.submit((0,), int)  # the one that is at work does it
    other = Held()
    pool.submit((0,), other)
    wait_until(later.done)
    assert other.began.wait(5)
    for one in (held, other):
        one.go_on.set()
    pool.close()
