"""Admission: places, time and memory are bounded, jobs start in order, and everything is given back."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from bbmr_server.engine.admission import Admission


@dataclass(eq=False)
class FakeJob:
    pixels: int
    left_s: float = 0.0


def job(left_s: float) -> FakeJob:
    return FakeJob(1, left_s)


def test_the_number_of_places_is_bounded() -> None:
    admission: Admission[FakeJob] = Admission(2, 100)
    first, second, third = FakeJob(1), FakeJob(1), FakeJob(1)
    assert admission.enter(first) == ""
    assert admission.enter(second) == ""
    assert admission.enter(third) == "places"
    assert admission.start() == [first, second]
    assert admission.enter(third) == "places"  # running jobs hold their admission
    admission.leave(first)
    assert admission.enter(third) == ""
    assert len(admission) == 2


def test_jobs_start_in_order_while_memory_lasts() -> None:
    admission: Admission[FakeJob] = Admission(9, 100)
    jobs = [FakeJob(60), FakeJob(40), FakeJob(1), FakeJob(1)]
    for job in jobs:
        admission.enter(job)
    assert admission.start() == jobs[:2]
    assert admission.start() == []  # a small one does not overtake, so a large one never starves
    assert admission.waiting == 2
    admission.leave(jobs[0])
    assert admission.start() == jobs[2:]


def test_one_larger_than_the_memory_runs_alone() -> None:
    admission: Admission[FakeJob] = Admission(9, 100)
    small, huge, later = FakeJob(1), FakeJob(1000), FakeJob(1)
    for job in (small, huge, later):
        admission.enter(job)
    assert admission.start() == [small]
    admission.leave(small)
    assert admission.start() == [huge]
    admission.leave(huge)
    assert admission.start() == [later]


def test_only_a_waiting_job_can_withdraw() -> None:
    admission: Admission[FakeJob] = Admission(9, 10)
    running, waiting = FakeJob(10), FakeJob(10)
    admission.enter(running)
    admission.enter(waiting)
    admission.start()
    assert not admission.withdraw(running)
    assert admission.withdraw(waiting)
    assert not admission.withdraw(waiting)
    assert admission.inside() == [running]


def test_leaving_twice_gives_back_once() -> None:
    admission: Admission[FakeJob] = Admission(9, 10)
    jobs = [FakeJob(6), FakeJob(6), FakeJob(6)]
    for job in jobs:
        admission.enter(job)
    admission.start()
    admission.leave(jobs[0])
    admission.leave(jobs[0])
    assert admission.start() == [jobs[1]]
    assert not admission.wait_until_empty(0.01)
    admission.leave(jobs[1])
    admission.withdraw(jobs[2])
    assert admission.wait_until_empty(0.01)


def test_a_job_that_would_not_be_done_in_time_is_refused_unless_alone() -> None:
    admission: Admission[FakeJob] = Admission(9, 100)
    assert admission.enter(job(3), 10) == ""
    assert admission.enter(job(3), 10) == ""
    assert admission.enter(job(3), 10) == "time"  # nine of ten seconds, and a fifth is kept in reserve
    assert admission.wait_s(job(3), 10) == pytest.approx(1)
    assert admission.enter(job(2), 10) == ""
    assert admission.left_s == 8
    admission.inside()[0].left_s = 1
    assert admission.enter(job(2), 10) == ""
    alone: Admission[FakeJob] = Admission(9, 100)
    assert alone.enter(job(500), 10) == ""


def test_a_large_job_and_small_ones_are_accepted_beside_each_other() -> None:
    admission: Admission[FakeJob] = Admission(9, 100)
    assert admission.enter(job(2), 10) == ""
    large = job(7)
    assert admission.enter(large, 10) == ""  # beside a quarter of the time
    assert admission.enter(job(0.1), 10) == "time"
    large.left_s = 3
    assert admission.enter(job(2), 10) == ""
    assert admission.enter(job(5), 10) == "time"  # a second one
    assert admission.wait_s(job(5), 10) == 3
    admission.withdraw(large)
    assert admission.enter(job(4), 10) == ""


def test_a_job_longer_than_the_time_limit_is_accepted_beside_others_one_at_a_time() -> None:
    admission: Admission[FakeJob] = Admission(9, 100)
    assert admission.enter(job(4), 10) == ""
    assert admission.enter(job(60), 10) == ""
    assert admission.enter(job(60), 10) == "time"
    assert admission.wait_s(job(60), 10) == 60
    assert admission.enter(job(1), 10) == "time"  # four are inside, and two may be beside it
    admission.inside()[0].left_s = 0.5
    assert admission.enter(job(1), 10) == ""


@pytest.mark.parametrize("sizes", [[7.9, 2], [4.1, 3.5, 0.3], [1] * 9, [2, 6, 2], [0.5, 7.9, 1.5, 1.5]])
def test_whatever_is_accepted_fits_into_the_time(sizes: list[float]) -> None:
    for order in itertools.permutations(sizes, len(sizes)) if len(sizes) < 6 else [tuple(sizes)]:
        admission: Admission[FakeJob] = Admission(99, 100)
        for _ in range(4):
            for size in order:
                admission.enter(job(size), 10)
        assert 4 < admission.left_s <= 10.0001, order


def test_waiting_until_empty_leaves_out_abandoned_jobs() -> None:
    admission: Admission[FakeJob] = Admission(9, 100)
    wanted, abandoned = job(1), job(1)
    for one in (wanted, abandoned):
        admission.enter(one)
    admission.start()
    assert not admission.wait_until_empty(0.01, but=lambda one: one is abandoned)
    given_up: list[FakeJob] = [abandoned]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(admission.wait_until_empty, 10, given_up.__contains__)
        given_up.append(wanted)
        admission.look_again()
        began = time.monotonic()
        assert waiting.result(10)
        assert time.monotonic() - began < 5
    assert not admission.wait_until_empty(0.01)
