"""The waiting room: places and memory are bounded, order is kept, and everything is given back."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bbmr_server.engine.places import Places


@dataclass(eq=False)
class Job:
    pixels: int
    cost: float = 0.0
    remaining: float = 0.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def job(cost: float) -> Job:
    return Job(1, cost, cost)


def done(places: Places[Job], one: Job) -> None:
    one.remaining = 0.0
    places.leave(one)


def test_there_are_only_so_many_places() -> None:
    places: Places[Job] = Places(2, 100)
    first, second, third = Job(1), Job(1), Job(1)
    assert places.enter(first)
    assert places.enter(second)
    assert not places.enter(third)
    assert places.start() == [first, second]
    assert not places.enter(third)  # running jobs hold their places
    places.leave(first)
    assert places.enter(third)
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


def test_it_learns_how_long_work_takes() -> None:
    clock = Clock()
    places: Places[Job] = Places(9, 100, clock)
    for _ in range(200):  # ten seconds for two of a million, side by side; then nothing for a minute
        pair = [job(1e6), job(1e6)]
        for one in pair:
            assert places.enter(one)
        places.start()
        clock.now += 9
        done(places, pair[0])
        clock.now += 1
        done(places, pair[1])
        clock.now += 60
    assert places.seconds_for(1e6) == pytest.approx(5, rel=0.1)
    assert places.seconds() == 0


def test_what_was_given_up_half_done_counts_half() -> None:
    clock = Clock()
    places: Places[Job] = Places(9, 100, clock)
    for _ in range(200):
        one = job(2e6)
        places.enter(one)
        places.start()
        clock.now += 1
        one.remaining = 1e6
        places.leave(one)
    assert places.seconds_for(1e6) == pytest.approx(1, rel=0.01)


def test_who_would_not_be_done_in_time_gets_no_place_unless_alone() -> None:
    places: Places[Job] = Places(9, 100)
    million = places.seconds_for(1e6)
    first = job(5e6)
    assert places.enter(first, within_s=million)  # how long it takes is found out by doing it
    assert not places.enter(job(1e6), within_s=7 * million)  # six, and a fifth in reserve
    assert places.enter(job(1e6), within_s=8 * million)
    first.remaining = 1e6
    assert places.seconds(1e6) == pytest.approx(3 * million)
    assert places.enter(job(1e6), within_s=4 * million)
    assert len(places) == 3


def test_it_is_waited_for_who_is_waited_for() -> None:
    places: Places[Job] = Places(9, 100)
    wanted, abandoned = job(1), job(1)
    for one in (wanted, abandoned):
        places.enter(one)
    places.start()
    assert not places.wait_until_empty(0.01, but=lambda one: one is abandoned)
    places.leave(wanted)
    assert places.wait_until_empty(0.01, but=lambda one: one is abandoned)
    assert not places.wait_until_empty(0.01)
