"""The engine without HTTP: what it accepts it finishes or refuses, in bounded time and memory."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image, ImageChops

from bbmr_server.engine import Engine
from bbmr_server.engine.work import Work
from bbmr_server.errors import DeadlineError, InvalidRequestError, NotReadyError, QueueFullError
from bbmr_shared.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.errors import UnknownModelError, WeightsError
from bbmr_shared.thumbnail import thumbnail

pytestmark = pytest.mark.anyio


def same(a: Image.Image, b: Image.Image) -> bool:
    return a.size == b.size and ImageChops.difference(a.convert("RGB"), b.convert("RGB")).getbbox() is None


async def test_a_picture_is_made_and_every_stage_timed(
    make_bench: Callable[..., Any], container: Container
) -> None:
    engine = make_bench().engine
    answer = await engine.reconstruct(Work(container))
    assert same(Image.open(io.BytesIO(answer.data)), preview(container))
    assert (answer.mime, answer.width, answer.height, answer.model) == ("image/png", 200, 150, "light")
    assert set(answer.seconds) == {"decode", "queue", "network", "encode"}
    assert all(seconds >= 0 for seconds in answer.seconds.values())
    assert len(engine.places) == 0


async def test_a_region_is_cut_out(make_bench: Callable[..., Any], container: Container) -> None:
    answer = await make_bench().engine.reconstruct(Work(container, region=(120, 40, 50, 60)))
    assert same(Image.open(io.BytesIO(answer.data)), preview(container).crop((120, 40, 170, 100)))


@pytest.mark.parametrize(
    "region", [(0, 0, 201, 1), (0, 0, 0, 1), (-1, 0, 5, 5), (199, 149, 2, 1), (0, 150, 1, 1)]
)
async def test_a_region_outside_is_refused(
    make_bench: Callable[..., Any], container: Container, region: tuple[int, int, int, int]
) -> None:
    engine = make_bench().engine
    with pytest.raises(InvalidRequestError, match="region"):
        await engine.reconstruct(Work(container, region=region))
    assert len(engine.places) == 0


async def test_a_thumbnail_leaves_the_network_alone(
    make_bench: Callable[..., Any], container: Container
) -> None:
    bench = make_bench()
    calls = bench.network.calls
    bench.network.hold()  # not even a busy device holds it up
    answer = await bench.engine.reconstruct(Work(container, max_side=50))
    picture = Image.open(io.BytesIO(answer.data))
    assert picture.size == (50, 38)
    assert same(picture, thumbnail(container, 50))
    assert answer.model == "none"
    assert bench.network.calls == calls
    large = await bench.engine.reconstruct(Work(container, max_side=5000))
    assert (large.width, large.height) == (200, 150)  # never scaled up


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(
    make_bench: Callable[..., Any], container: Container, wait_for: Callable[..., None]
) -> None:
    bench = make_bench(queue_length=2)
    bench.network.hold()
    accepted = [asyncio.create_task(bench.engine.reconstruct(Work(container))) for _ in range(2)]
    await asyncio.to_thread(bench.network.entered.wait, 5)
    began = time.monotonic()
    with pytest.raises(QueueFullError, match="2 places") as caught:
        await bench.engine.reconstruct(Work(container))
    assert time.monotonic() - began < 0.5
    assert 1 <= caught.value.retry_after <= 60
    bench.network.gate.set()
    for answer in await asyncio.gather(*accepted):
        assert answer.width == 200
    await bench.engine.reconstruct(Work(container))  # and the places are free again


async def test_a_deadline_stops_running_work_and_drops_waiting_work(
    make_bench: Callable[..., Any], container: Container, wait_for: Callable[..., None]
) -> None:
    bench = make_bench()
    bench.network.hold()
    running = asyncio.create_task(bench.engine.reconstruct(Work(container), 0.4))
    await asyncio.to_thread(bench.network.entered.wait, 5)
    calls = bench.network.calls
    waiting = asyncio.create_task(bench.engine.reconstruct(Work(container), 0.2))
    for task in (running, waiting):
        with pytest.raises(DeadlineError):
            await task
    await asyncio.to_thread(wait_for, lambda: len(bench.engine.places) == 0)
    assert bench.network.given_up == 1
    assert bench.network.calls == calls  # the waiting one was never begun
    bench.network.gate.set()
    assert (await bench.engine.reconstruct(Work(container), 10)).width == 200


async def test_cancelled_work_gives_its_place_back(
    make_bench: Callable[..., Any], container: Container, wait_for: Callable[..., None]
) -> None:
    bench = make_bench(max_pixels=200 * 160)  # memory for one: the second waits
    bench.network.hold()
    tasks = [asyncio.create_task(bench.engine.reconstruct(Work(container))) for _ in range(2)]
    await asyncio.to_thread(bench.network.entered.wait, 5)
    assert bench.engine.places.waiting == 1
    tasks[1].cancel()
    await asyncio.gather(tasks[1], return_exceptions=True)
    assert len(bench.engine.places) == 1
    tasks[0].cancel()
    await asyncio.to_thread(wait_for, lambda: len(bench.engine.places) == 0)
    assert bench.network.given_up == 1


async def test_the_containers_own_weights_are_used_unless_others_are_asked_for(
    make_bench: Callable[..., Any], container: Container
) -> None:
    engine = make_bench(model="first,light").engine
    assert engine.model_for(Work(container)) == "light"
    assert engine.model_for(Work(container, model="first")) == "first"
    with pytest.raises(UnknownModelError, match="model=first or model=light"):
        await engine.reconstruct(Work(container, model="other"))


async def test_a_failing_picture_fails_alone(make_bench: Callable[..., Any], container: Container) -> None:
    bench = make_bench()
    bench.network.error = ZeroDivisionError("inside the network")
    with pytest.raises(ZeroDivisionError):
        await bench.engine.reconstruct(Work(container))
    bench.network.error = None
    assert bench.engine.ready
    assert (await bench.engine.reconstruct(Work(container))).width == 200


async def test_a_dead_worker_is_seen_and_nobody_waits_for_it(
    make_bench: Callable[..., Any], container: Container
) -> None:
    bench = make_bench()
    bench.network.hold()
    bench.network.error = SystemExit("killed")
    tasks = [asyncio.create_task(bench.engine.reconstruct(Work(container))) for _ in range(3)]
    await asyncio.to_thread(bench.network.entered.wait, 5)
    bench.network.gate.set()
    for outcome in await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5):
        assert isinstance(outcome, NotReadyError)
    assert not bench.engine.ready
    assert isinstance(bench.engine.failure, SystemExit)
    with pytest.raises(NotReadyError, match="has failed"):
        await bench.engine.reconstruct(Work(container))


def test_weights_that_do_not_load_are_reported(wait_for: Callable[..., None]) -> None:
    def broken(name: str, device: str) -> Any:
        raise WeightsError("the weights are damaged; install again")

    engine = Engine(broken)
    told = threading.Event()
    engine.start(told.set)
    assert told.wait(5)
    assert not engine.ready
    with pytest.raises(NotReadyError, match="the weights are damaged"):
        engine.check_ready()
    engine.stop()


async def test_not_ready_before_the_warm_up_is_over(
    make_bench: Callable[..., Any], container: Container, wait_for: Callable[..., None]
) -> None:
    bench = make_bench(start=False)
    bench.network.hold()
    bench.engine.start()
    assert await asyncio.to_thread(bench.network.entered.wait, 5)
    assert not bench.engine.ready
    with pytest.raises(NotReadyError, match="loading"):
        await bench.engine.reconstruct(Work(container))
    bench.network.gate.set()
    await asyncio.to_thread(wait_for, lambda: bench.engine.ready)


async def test_stop_finishes_what_was_accepted(make_bench: Callable[..., Any], container: Container) -> None:
    bench = make_bench()
    bench.network.hold()
    tasks = [asyncio.create_task(bench.engine.reconstruct(Work(container))) for _ in range(3)]
    await asyncio.to_thread(bench.network.entered.wait, 5)
    stopping = asyncio.create_task(asyncio.to_thread(bench.engine.stop, 10))
    await asyncio.sleep(0.05)
    with pytest.raises(NotReadyError, match="stopping"):
        await bench.engine.reconstruct(Work(container))
    bench.network.gate.set()
    assert [answer.width for answer in await asyncio.gather(*tasks)] == [200, 200, 200]
    await stopping


async def test_stop_is_bounded(make_bench: Callable[..., Any], container: Container) -> None:
    bench = make_bench()
    bench.network.hold()
    task = asyncio.create_task(bench.engine.reconstruct(Work(container)))
    await asyncio.to_thread(bench.network.entered.wait, 5)
    began = time.monotonic()
    await asyncio.to_thread(bench.engine.stop, 0.2)
    assert time.monotonic() - began < 5
    with pytest.raises(NotReadyError, match="stopping"):
        await task


async def test_many_at_once_each_get_their_own_picture(
    make_bench: Callable[..., Any], container: Container
) -> None:
    engine = make_bench(queue_length=64).engine
    regions = [(x, y, 20 + x, 30) for x in range(0, 64, 4) for y in (0, 60)]
    answers = await asyncio.gather(
        *(engine.reconstruct(Work(container, region=region)) for region in regions)
    )
    whole = preview(container)
    for (x, y, width, height), answer in zip(regions, answers, strict=True):
        assert same(Image.open(io.BytesIO(answer.data)), whole.crop((x, y, x + width, y + height)))


async def test_work_that_comes_in_while_all_is_refused_does_not_hang(
    make_bench: Callable[..., Any], container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies between the look whether the engine is ready and the job's entry."""
    engine = make_bench().engine
    enter = engine.places.enter

    def enter_late(job: Any) -> bool:
        engine.refuse_all()
        return bool(enter(job))

    monkeypatch.setattr(engine.places, "enter", enter_late)
    with pytest.raises(NotReadyError):
        await asyncio.wait_for(engine.reconstruct(Work(container)), 5)
    assert len(engine.places) == 0


def test_workers_that_die_at_once_are_all_seen(wait_for: Callable[..., None]) -> None:
    both = threading.Barrier(2)
    first_told = threading.Event()

    def broken(name: str, device: str) -> Any:
        both.wait(5)
        raise WeightsError(f"the weights are damaged on {device}")

    engine = Engine(broken, devices=("one", "two"))
    told: list[object] = []
    died, at_once = engine._died, threading.Barrier(2)

    def die_together(error: BaseException, job: Any) -> None:
        at_once.wait(5)
        died(error, job)
        at_once.wait(5)  # neither thread ends before the other has looked round
        first_told.set()

    engine._died = die_together  # type: ignore[method-assign]
    engine.start(lambda: told.append(None))
    assert first_told.wait(5)
    assert len(told) == 1
    assert isinstance(engine.failure, WeightsError)
    engine.stop()


async def test_a_refusal_while_stopping_does_not_take_the_end_from_the_workers(
    make_bench: Callable[..., Any], container: Container
) -> None:
    bench = make_bench()
    bench.network.hold()
    task = asyncio.create_task(bench.engine.reconstruct(Work(container)))
    await asyncio.to_thread(bench.network.entered.wait, 5)
    bench.engine._decoded.put(None)  # as `stop` does while the worker is still busy
    bench.engine.refuse_all()
    with pytest.raises(NotReadyError):
        await task
    await asyncio.to_thread(bench.engine._workers[0].join, 5)
    assert not bench.engine._workers[0].is_alive()
