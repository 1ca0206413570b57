"""The waiting room: places and memory are bounded, order is kept, and everything is given back."""

from __future__ import annotations

from dataclasses import dataclass

from bbmr_server.engine.places import Places


@dataclass(eq=False)
class Job:
    pixels: int


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
