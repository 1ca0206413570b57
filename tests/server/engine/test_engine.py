"""The engine without HTTP: it finishes or refuses what it accepted, in bounded time and memory."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_server.engine import Engine
from bbmr_server.engine.interface import Observer
from bbmr_server.engine.request import PictureRequest
from bbmr_server.engine.worker.protocol import OutOfMemoryError, WorkerDiedError, WorkerHandle
from bbmr_server.errors import DeadlineError, InvalidRequestError, NotReadyError, QueueFullError
from bbmr_shared.compositing.composite import preview
from bbmr_shared.compositing.thumbnail import thumbnail
from bbmr_shared.container import Container
from bbmr_shared.errors import ModelError, UnknownModelError, WeightsError
from tests.server.conftest import running, wait_until
from tests.server.fakes import FakeNetwork, FakeWorker, fake_engine, fake_model, same

pytestmark = pytest.mark.anyio


async def test_a_picture_is_made_and_every_stage_timed(
    make_bench: Callable[..., Any], container: Container
) -> None:
    engine = make_bench().engine
    answer = await engine.reconstruct(PictureRequest(container))
    assert same(Image.open(io.BytesIO(answer.data)), preview(container))
    assert (answer.mime, answer.width, answer.height, answer.model) == ("image/png", 200, 150, "light")
    assert set(answer.seconds) == {"decode", "queue", "network", "encode"}
    assert all(seconds >= 0 for seconds in answer.seconds.values())
    assert len(engine.admission) == 0


async def test_samples_come_with_the_file_if_they_are_asked_for(
    make_bench: Callable[..., Any], container: Container
) -> None:
    engine = make_bench().engine
    answer = await engine.reconstruct(PictureRequest(container, pixels=True))
    assert answer.pixels is not None
    assert same(Image.fromarray(answer.pixels), Image.open(io.BytesIO(answer.data)))
    assert (await engine.reconstruct(PictureRequest(container))).pixels is None


async def test_a_region_is_cut_out(make_bench: Callable[..., Any], container: Container) -> None:
    answer = await make_bench().engine.reconstruct(PictureRequest(container, region=(120, 40, 50, 60)))
    assert same(Image.open(io.BytesIO(answer.data)), preview(container).crop((120, 40, 170, 100)))


@pytest.mark.parametrize(
    "region", [(0, 0, 201, 1), (0, 0, 0, 1), (-1, 0, 5, 5), (199, 149, 2, 1), (0, 150, 1, 1)]
)
async def test_a_region_outside_is_refused(
    make_bench: Callable[..., Any], container: Container, region: tuple[int, int, int, int]
) -> None:
    engine = make_bench().engine
    with pytest.raises(InvalidRequestError, match="region"):
        await engine.reconstruct(PictureRequest(container, region=region))
    assert len(engine.admission) == 0


async def test_a_thumbnail_needs_no_network(make_bench: Callable[..., Any], container: Container) -> None:
    bench = make_bench()
    calls = bench.network.calls
    bench.network.hold()  # not even a busy device holds it up
    answer = await bench.engine.reconstruct(PictureRequest(container, max_side=50))
    picture = Image.open(io.BytesIO(answer.data))
    assert picture.size == (50, 38)
    assert same(picture, thumbnail(container, 50))
    assert answer.model == "none"
    assert bench.network.calls == calls
    large = await bench.engine.reconstruct(PictureRequest(container, max_side=5000))
    assert (large.width, large.height) == (200, 150)  # never scaled up


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(
    make_bench: Callable[..., Any], container: Container, wait_for: Callable[..., None]
) -> None:
    bench = make_bench(queue_length=2)
    bench.network.hold()
    accepted = [asyncio.create_task(bench.engine.reconstruct(PictureRequest(container))) for _ in range(2)]
    await asyncio.to_thread(bench.network.entered.wait, 5)
    with pytest.raises(QueueFullError, match="2 places") as caught:
        await bench.engine.reconstruct(PictureRequest(container))  # while nothing can get on
    assert 1 <= caught.value.retry_after <= 60
    bench.network.gate.set()
    for answer in await asyncio.gather(*accepted):
        assert answer.width == 200
    await bench.engine.reconstruct(PictureRequest(container))  # and the places are free again


async def test_a_deadline_frees_the_places_of_running_and_waiting_work(
    make_bench: Callable[..., Any], container: Container, wait_for: Callable[..., None]
) -> None:
    bench = make_bench()
    bench.network.hold()
    running = asyncio.create_task(bench.engine.reconstruct(PictureRequest(container), 0.4))
    await asyncio.to_thread(bench.network.entered.wait, 5)
    calls = bench.network.calls
    waiting = asyncio.create_task(bench.engine.reconstruct(PictureRequest(container, max_side=None), 0.2))
    for task in (running, waiting):
        with pytest.raises(DeadlineError):
            await task
    await asyncio.to_thread(wait_for, lambda: bench.engine.inside == 0)  # though the device still hangs
    bench.network.gate.set()
    assert (await bench.engine.reconstruct(PictureRequest(container), 10)).width == 200
    assert bench.network.calls <= calls + 2  # two batches may be under way; no more was begun for nobody


async def test_cancelled_work_gives_its_place_back(
    make_bench: Callable[..., Any], container: Container, wait_for: Callable[..., None]
) -> None:
    bench = make_bench(max_pixels=200 * 160)  # memory for one: the second waits
    bench.network.hold()
    tasks = [asyncio.create_task(bench.engine.reconstruct(PictureRequest(container))) for _ in range(2)]
    await asyncio.to_thread(bench.network.entered.wait, 5)
    assert bench.engine.waiting == 1
    tasks[1].cancel()
    await asyncio.gather(tasks[1], return_exceptions=True)
    assert bench.engine.inside == 1
    tasks[0].cancel()
    await asyncio.to_thread(wait_for, lambda: bench.engine.inside == 0)


async def test_the_containers_own_weights_are_used_unless_others_are_asked_for(
    make_bench: Callable[..., Any], container: Container
) -> None:
    engine = make_bench(model="first,light").engine
    assert engine.model_for(PictureRequest(container)) == "light"
    assert engine.model_for(PictureRequest(container, model="first")) == "first"
    with pytest.raises(UnknownModelError, match="model=first or model=light"):
        await engine.reconstruct(PictureRequest(container, model="other"))


async def test_a_failing_picture_fails_alone(make_bench: Callable[..., Any], container: Container) -> None:
    bench = make_bench()
    bench.network.error = ZeroDivisionError("inside the network")
    with pytest.raises(ModelError, match="failed on this picture"):
        await bench.engine.reconstruct(PictureRequest(container))
    bench.network.error = None
    assert bench.engine.ready
    assert (await bench.engine.reconstruct(PictureRequest(container))).width == 200


async def test_a_worker_that_dies_is_started_again_and_nothing_is_lost(
    make_bench: Callable[..., Any], container: Container, wait_for: Callable[..., None]
) -> None:
    bench = make_bench()
    bench.network.hold()
    bench.network.once = [WorkerDiedError("killed by signal 9")]
    tasks = [asyncio.create_task(bench.engine.reconstruct(PictureRequest(container))) for _ in range(3)]
    await asyncio.to_thread(bench.network.entered.wait, 5)
    launches = len(bench.network.launches)
    bench.network.gate.set()
    for answer in await asyncio.wait_for(asyncio.gather(*tasks), 20):
        assert same(Image.open(io.BytesIO(answer.data)), preview(container))
    assert len(bench.network.launches) == launches + 1
    assert bench.engine.ready


async def test_a_picture_that_kills_workers_is_given_up_and_others_are_not(
    make_bench: Callable[..., Any], container: Container, photo: Image.Image
) -> None:
    bench = make_bench(batch=2)
    run = bench.network.run
    deadly = preview(container, (0, 0, 1, 1)).getpixel((0, 0))

    def dies_of_it(tiles: Any) -> Any:
        bench.network.wait()
        if any(tuple(tile.base[0, 0]) == deadly for tile in tiles):
            raise WorkerDiedError("killed by signal 11")
        return run(tiles)

    bench.network.run = dies_of_it
    other = encode(photo.transpose(Image.Transpose.FLIP_TOP_BOTTOM), rate=3.0)  # it needs the network, too
    assert preview(other, (0, 0, 1, 1)).getpixel((0, 0)) != deadly
    bench.network.hold()
    bad = asyncio.create_task(bench.engine.reconstruct(PictureRequest(container)))
    good = asyncio.create_task(bench.engine.reconstruct(PictureRequest(other)))
    await asyncio.to_thread(wait_until, lambda: good.done() or bench.engine.inside == 2)
    bench.network.gate.set()
    with pytest.raises(ModelError, match="workers died over this picture"):
        await bad
    assert (await good).model == "light"


async def test_a_device_whose_worker_does_not_stay_alive_is_given_up(
    container: Container, wait_for: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bbmr_server.engine.device.PAUSE_S", 0.001)
    engine = fake_engine(FakeNetwork(), models=[fake_model("light", data=b"deadly")])
    told = threading.Event()
    engine.start(told.set)
    assert await asyncio.to_thread(told.wait, 10)
    assert not engine.ready
    with pytest.raises(NotReadyError, match="does not stay alive: killed by signal 9"):
        await engine.reconstruct(PictureRequest(container))
    engine.stop()


async def test_a_dead_device_thread_is_seen_and_nobody_waits_for_it(
    make_bench: Callable[..., Any], container: Container
) -> None:
    bench = make_bench()
    bench.network.hold()
    bench.network.error = SystemExit("killed")
    tasks = [asyncio.create_task(bench.engine.reconstruct(PictureRequest(container))) for _ in range(3)]
    await asyncio.to_thread(bench.network.entered.wait, 5)
    bench.network.gate.set()
    for outcome in await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5):
        assert isinstance(outcome, NotReadyError)
    assert not bench.engine.ready
    assert isinstance(bench.engine.failure, SystemExit)
    with pytest.raises(NotReadyError, match="has failed"):
        await bench.engine.reconstruct(PictureRequest(container))


def test_weights_that_do_not_load_are_reported(wait_for: Callable[..., None]) -> None:
    engine = fake_engine(FakeNetwork(), models=[fake_model("light", data=b"broken")])
    told = threading.Event()
    engine.start(told.set)
    assert told.wait(5)
    assert not engine.ready
    with pytest.raises(NotReadyError, match="'light' are damaged"):
        engine.check_ready()
    engine.stop()


async def test_a_batch_that_does_not_fit_is_halved_and_goes_on(container: Container) -> None:
    network = FakeNetwork()
    halved: list[int] = []

    class Watching(Observer):
        def halved(self, device: str, tiles: int) -> None:
            halved.append(tiles)

    def short_of_memory(tiles: Any) -> Any:
        if len(tiles) > 1:
            raise OutOfMemoryError
        return run(tiles)

    run, network.run = network.run, short_of_memory  # type: ignore[method-assign]
    engine = fake_engine(network, batch=4, fill_s=0.3, queue_length=8)
    engine.observer = Watching()
    async with running(engine):
        answers = await asyncio.gather(*(engine.reconstruct(PictureRequest(container)) for _ in range(6)))
    assert {answer.width for answer in answers} == {200}
    assert halved[-1] == 1
    assert max(count for _, count in network.batches) > 1


async def test_tiles_of_several_requests_share_a_batch(container: Container) -> None:
    network = FakeNetwork()
    engine = fake_engine(network, batch=4, fill_s=0.5, queue_length=8)
    async with running(engine):
        await asyncio.gather(*(engine.reconstruct(PictureRequest(container)) for _ in range(4)))
    assert max(count for _, count in network.batches) >= 2
    assert sum(count for _, count in network.batches) == 4


async def test_not_ready_before_the_warm_up_is_over(
    make_bench: Callable[..., Any], container: Container, wait_for: Callable[..., None]
) -> None:
    bench = make_bench(start=False)
    bench.network.hold()
    bench.engine.start()
    assert await asyncio.to_thread(bench.network.entered.wait, 5)
    assert not bench.engine.ready
    with pytest.raises(NotReadyError, match="loading"):
        await bench.engine.reconstruct(PictureRequest(container))
    bench.network.gate.set()
    await asyncio.to_thread(wait_for, lambda: bench.engine.ready)


async def test_stop_finishes_what_was_accepted(make_bench: Callable[..., Any], container: Container) -> None:
    bench = make_bench()
    bench.network.hold()
    tasks = [asyncio.create_task(bench.engine.reconstruct(PictureRequest(container))) for _ in range(3)]
    await asyncio.to_thread(bench.network.entered.wait, 5)
    stopping = asyncio.create_task(asyncio.to_thread(bench.engine.stop, 10))
    await asyncio.sleep(0.05)
    with pytest.raises(NotReadyError, match="stopping"):
        await bench.engine.reconstruct(PictureRequest(container))
    bench.network.gate.set()
    assert [answer.width for answer in await asyncio.gather(*tasks)] == [200, 200, 200]
    await stopping


async def test_stop_is_bounded(make_bench: Callable[..., Any], container: Container) -> None:
    bench = make_bench()
    bench.network.hold()
    task = asyncio.create_task(bench.engine.reconstruct(PictureRequest(container)))
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
        *(engine.reconstruct(PictureRequest(container, region=region)) for region in regions)
    )
    whole = preview(container)
    for (x, y, width, height), answer in zip(regions, answers, strict=True):
        assert same(Image.open(io.BytesIO(answer.data)), whole.crop((x, y, x + width, y + height)))


async def test_work_that_comes_in_while_all_is_refused_does_not_hang(
    make_bench: Callable[..., Any], container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies after the engine was seen to be ready and before the job is admitted."""
    engine = make_bench().engine
    enter = engine.admission.enter

    def enter_late(job: Any, within_s: float) -> str:
        engine.refuse_all()
        return enter(job, within_s)

    monkeypatch.setattr(engine.admission, "enter", enter_late)
    with pytest.raises(NotReadyError):
        await asyncio.wait_for(engine.reconstruct(PictureRequest(container)), 5)
    assert len(engine.admission) == 0


async def test_swapped_weights_are_used_by_new_work_and_the_old_ones_finish_theirs(
    container: Container,
) -> None:
    network = FakeNetwork()
    new = fake_model("light", "2")
    engine = fake_engine(network, read=lambda name: new)
    async with running(engine):
        network.hold()
        before = asyncio.create_task(engine.reconstruct(PictureRequest(container)))
        await asyncio.to_thread(network.entered.wait, 5)
        swapping = asyncio.create_task(engine.swap("light"))
        await asyncio.sleep(0.05)
        network.gate.set()
        assert (await swapping)["sha256"] == new.description["sha256"]
        await before
        await engine.reconstruct(PictureRequest(container))
        await asyncio.to_thread(wait_until, lambda: network.loaded == {"light@2"})
    assert [key for key, _ in network.batches] == ["light@1", "light@2"]
    assert engine.catalogue["light"] == new.description


@pytest.mark.parametrize("data", [b"broken", b"deadly"])
async def test_weights_that_cannot_be_used_leave_the_old_ones_serving(
    container: Container, data: bytes
) -> None:
    network = FakeNetwork()
    engine = fake_engine(network, read=lambda name: fake_model(name, "2", data))
    async with running(engine):
        with pytest.raises(WeightsError, match="light"):
            await engine.swap("light")
        await asyncio.to_thread(wait_until, lambda: engine.ready)
        await engine.reconstruct(PictureRequest(container))
        assert network.batches[-1][0] == "light@1"
        assert "light@2" not in network.loaded


async def test_weights_that_were_not_served_can_be_added(container: Container) -> None:
    engine = fake_engine(FakeNetwork(), read=fake_model)
    async with running(engine):
        await engine.swap("other")
        assert engine.models == ("light", "other")
        assert (await engine.reconstruct(PictureRequest(container, model="other"))).model == "other"


def test_devices_that_die_at_once_are_all_seen() -> None:
    both = threading.Barrier(2)

    def broken(device: str) -> Any:
        both.wait(5)
        raise WeightsError(f"the weights are damaged on {device}")

    told: list[object] = []
    engine = Engine(broken, [fake_model("light")], devices=("one", "two"))
    engine.start(lambda: told.append(None))
    wait_until(lambda: engine.failure is not None)
    engine.stop()
    assert len(told) == 1
    assert isinstance(engine.failure, WeightsError)


def test_a_fake_worker_is_a_worker_handle() -> None:
    worker: WorkerHandle = FakeWorker(FakeNetwork())
    assert worker.depth == 2
