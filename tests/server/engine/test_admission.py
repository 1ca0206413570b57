"""The waiting room: places and memory are bounded, order is kept, and everything is given back."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from bbmr_server.engine.admission import Places


@dataclass(eq=False)
class Job:
    pixels: int
    left_s: float = 0.0


def job(left_s: float) -> Job:
    return Job(1, left_s)


def test_there_are_only_so_many_places() -> None:
    places: Places[Job] = Places(2, 100)
    first, second, third = Job(1), Job(1), Job(1)
    assert places.enter(first) == ""
    assert places.enter(second) == ""
    assert places.enter(third) == "places"
    assert places.start() == [first, second]
    assert places.enter(third) == "places"  # running jobs hold their places
    places.leave(first)
    assert places.enter(third) == ""
    assert len(places) == 2


def test_jobs_start_in_order_while_memory_lasts() -> None:
    places: Places[Job] = Places(9, 100)
    jobs = [Job(60), Job(40), Job(1), Job(1)]
    for job in jobs:
        places.enter(job)
    assert places.start() == jobs[:2]
    assert places.start() == []  # a small one does not overtake, so a large one never starves
    assert places.waiting == 2
    places.leave(jobs[0])
    assert places.start() == jobs[2:]


def test_one_larger_than_the_memory_runs_alone() -> None:
    places: Places[Job] = Places(9, 100)
    small, huge, later = Job(1), Job(1000), Job(1)
    for job in (small, huge, later):
        places.enter(job)
    assert places.start() == [small]
    places.leave(small)
    assert places.start() == [huge]
    places.leave(huge)
    assert places.start() == [later]


def test_who_waits_can_withdraw_and_who_runs_cannot() -> None:
    places: Places[Job] = Places(9, 10)
    running, waiting = Job(10), Job(10)
    places.enter(running)
    places.enter(waiting)
    places.start()
    assert not places.withdraw(running)
    assert places.withdraw(waiting)
    assert not places.withdraw(waiting)
    assert places.inside() == [running]


def test_leaving_twice_gives_back_once() -> None:
    places: Places[Job] = Places(9, 10)
    jobs = [Job(6), Job(6), Job(6)]
    for job in jobs:
        places.enter(job)
    places.start()
    places.leave(jobs[0])
    places.leave(jobs[0])
    assert places.start() == [jobs[1]]
    assert not places.wait_until_empty(0.01)
    places.leave(jobs[1])
    places.withdraw(jobs[2])
    assert places.wait_until_empty(0.01)


def test_who_would_not_be_done_in_time_gets_no_place_unless_alone() -> None:
    places: Places[Job] = Places(9, 100)
    assert places.enter(job(3), 10) == ""
    assert places.enter(job(3), 10) == ""
    assert places.enter(job(3), 10) == "time"  # nine of ten seconds, and a fifth is kept in reserve
    assert places.wait_s(job(3), 10) == pytest.approx(1)
    assert places.enter(job(2), 10) == ""
    assert places.left_s == 8
    places.inside()[0].left_s = 1
    assert places.enter(job(2), 10) == ""
    alone: Places[Job] = Places(9, 100)
    assert alone.enter(job(500), 10) == ""


def test_a_large_one_keeps_nobody_out_and_is_not_kept_out() -> None:
    places: Places[Job] = Places(9, 100)
    assert places.enter(job(2), 10) == ""
    large = job(7)
    assert places.enter(large, 10) == ""  # beside a quarter of the time
    assert places.enter(job(0.1), 10) == "time"
    large.left_s = 3
    assert places.enter(job(2), 10) == ""
    assert places.enter(job(5), 10) == "time"  # a second one
    assert places.wait_s(job(5), 10) == 3
    places.withdraw(large)
    assert places.enter(job(4), 10) == ""


def test_one_that_takes_longer_than_there_is_time_is_tried_beside_the_others_one_at_a_time() -> None:
    places: Places[Job] = Places(9, 100)
    assert places.enter(job(4), 10) == ""
    assert places.enter(job(60), 10) == ""
    assert places.enter(job(60), 10) == "time"
    assert places.wait_s(job(60), 10) == 60
    assert places.enter(job(1), 10) == "time"  # four are inside, and two may be beside it
    places.inside()[0].left_s = 0.5
    assert places.enter(job(1), 10) == ""


@pytest.mark.parametrize("sizes", [[7.9, 2], [4.1, 3.5, 0.3], [1] * 9, [2, 6, 2], [0.5, 7.9, 1.5, 1.5]])
def test_whatever_is_accepted_fits_into_the_time(sizes: list[float]) -> None:
    for order in itertools.permutations(sizes, len(sizes)) if len(sizes) < 6 else [tuple(sizes)]:
        places: Places[Job] = Places(99, 100)
        for _ in range(4):
            for size in order:
                places.enter(job(size), 10)
        assert 4 < places.left_s <= 10.0001, order


def test_it_is_waited_for_who_is_waited_for() -> None:
    places: Places[Job] = Places(9, 100)
    wanted, abandoned = job(1), job(1)
    for one in (wanted, abandoned):
        places.enter(one)
    places.start()
    assert not places.wait_until_empty(0.01, but=lambda one: one is abandoned)
    given_up: list[Job] = [abandoned]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(places.wait_until_empty, 10, given_up.__contains__)
        given_up.append(wanted)
        places.look_again()
        began = time.monotonic()
        assert waiting.result(10)
        assert time.monotonic() - began < 5
    assert not places.wait_until_empty(0.01)
