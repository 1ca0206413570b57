"""The order of jobs in the engine: accepted ones in time, small ones soon, abandoned ones not at all."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_server.engine.estimate import Estimate
from bbmr_server.engine.request import Answer, PictureRequest
from bbmr_server.engine.throughput import Throughput
from bbmr_server.errors import BacklogError
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.errors import BbmrError
from tests.server.conftest import running, wait_until
from tests.server.fakes import TILES, FakeNetwork, fake_engine, fake_model, same

pytestmark = pytest.mark.anyio


async def test_a_large_picture_does_not_hold_up_a_small_one(photo: Image.Image) -> None:
    container = encode(photo.resize((1600, 1200)), rate=4.0, uniform=True)  # every part needs the network
    network = FakeNetwork()
    tiled = replace(TILES, tile=256, halo=16)
    engine = fake_engine(network, models=[fake_model("light", config=tiled)])
    async with running(engine):
        network.hold()
        large = asyncio.create_task(engine.reconstruct(PictureRequest(container)))
        await asyncio.to_thread(network.entered.wait, 5)
        small = asyncio.create_task(engine.reconstruct(PictureRequest(container, region=(10, 10, 9, 9))))
        await asyncio.to_thread(wait_until, lambda: engine.inside == 2)
        await asyncio.sleep(0.2)  # its tiles are queued
        network.gate.set()
        done, _ = await asyncio.wait({large, small}, return_when=asyncio.FIRST_COMPLETED)
        assert small in done
        assert same(Image.open(io.BytesIO((await large).data)), preview(container))


async def test_equal_pictures_are_done_one_after_the_other(photo: Image.Image) -> None:
    """If they took turns, tile by tile, all would end together, and none before a deadline."""
    container = encode(photo.resize((640, 480)), rate=3.0)
    network = FakeNetwork()
    network.delay_s = 0.005
    engine = fake_engine(network, models=[fake_model("light", config=replace(TILES, tile=64, halo=16))])
    async with running(engine):
        network.hold()
        order: list[int] = []
        tiles_then: list[int] = []

        async def one(number: int) -> None:
            await engine.reconstruct(PictureRequest(container))
            order.append(number)
            tiles_then.append(len(network.batches))

        tasks = []
        for number in range(3):
            tasks.append(asyncio.create_task(one(number)))
            await asyncio.sleep(0.05)
        # The first has batches under way, and all have tiles that wait.
        await asyncio.to_thread(wait_until, lambda: len(engine._pipeline.tiles._jobs) == 3)
        network.gate.set()
        await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    assert tiles_then[0] < tiles_then[2] * 0.75


async def test_what_cannot_be_done_in_time_is_refused_and_what_is_accepted_is_served(
    photo: Image.Image,
) -> None:
    """Sixteen pictures at once: there are places for all and time for a few."""
    container = encode(photo.resize((512, 384)), rate=3.0)
    network = FakeNetwork()
    network.delay_s = 0.05
    engine = fake_engine(network, models=[fake_model("light", config=replace(TILES, tile=256, halo=16))])
    async with running(engine):
        for _ in range(20):  # it learns how fast it is
            await engine.reconstruct(PictureRequest(container), 30)
        own = Estimate(
            PictureRequest(container), fake_model("light"), engine._pipeline.throughput, 1, 2
        ).seconds()
        assert own == pytest.approx(0.2, rel=0.5)
        outcomes = await asyncio.gather(
            *(engine.reconstruct(PictureRequest(container), 8 * own) for _ in range(16)),
            return_exceptions=True,
        )
    refused = [one for one in outcomes if isinstance(one, BacklogError)]
    assert len(refused) + sum(isinstance(one, Answer) for one in outcomes) == 16, outcomes
    assert 4 <= 16 - len(refused) <= 7
    assert all(1 <= one.retry_after <= 60 and "would not be done in time" in str(one) for one in refused)


async def test_what_is_accepted_fits_into_the_time_of_a_stop(photo: Image.Image) -> None:
    container = encode(photo.resize((512, 384)), rate=3.0)
    network = FakeNetwork()
    own = Estimate(PictureRequest(container), fake_model("light"), Throughput(), 1, 2).seconds()
    engine = fake_engine(network, backlog_s=5.1 * own)
    async with running(engine):
        network.hold()
        tasks = [asyncio.create_task(engine.reconstruct(PictureRequest(container))) for _ in range(8)]
        await asyncio.to_thread(wait_until, lambda: sum(task.done() for task in tasks) >= 4)
        network.gate.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, BacklogError) for one in outcomes] == [False] * 4 + [True] * 4


async def test_bad_pictures_and_cancelled_ones_do_not_make_the_engine_think_it_is_slow(
    make_bench: Callable[..., Any], container: Container
) -> None:
    engine = make_bench().engine
    before = engine._pipeline.throughput.seconds(("decode", "tiles"), 1e6)
    broken = replace(container, planes=tuple(replace(one, data=b"x" * 99) for one in container.planes))
    for _ in range(60):
        with pytest.raises(BbmrError):
            await engine.reconstruct(PictureRequest(broken))
        task = asyncio.create_task(engine.reconstruct(PictureRequest(container)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert engine._pipeline.throughput.seconds(("decode", "tiles"), 1e6) < 10 * before
    await asyncio.gather(*(engine.reconstruct(PictureRequest(container)) for _ in range(8)))


async def test_a_job_cancelled_while_it_waits_for_a_thread_gives_its_place_back_at_once(
    make_bench: Callable[..., Any], container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(
        "bbmr_server.engine.stages.encode_picture", lambda *_: b"x" if go_on.wait(10) else b"late"
    )
    engine = make_bench().engine
    encoding = [
        asyncio.create_task(engine.reconstruct(PictureRequest(container, max_side=9))) for _ in range(2)
    ]
    await asyncio.to_thread(wait_until, lambda: engine._pipeline._pool._queue == [] and engine.inside == 2)
    later = asyncio.create_task(engine.reconstruct(PictureRequest(container)))
    await asyncio.to_thread(wait_until, lambda: engine.inside == 3)
    later.cancel()
    await asyncio.gather(later, return_exceptions=True)
    assert engine.inside == 2  # though both threads are busy
    go_on.set()
    assert [answer.data for answer in await asyncio.gather(*encoding)] == [b"x", b"x"]


@pytest.mark.parametrize("step", ["preview", "encode_picture"])
async def test_an_abandoned_picture_goes_no_further(
    make_bench: Callable[..., Any], container: Container, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Decoding without a network and encoding are one step of the pool."""
    began, go_on = threading.Event(), threading.Event()
    encoded: list[Any] = []

    def held(*arguments: Any) -> Any:
        began.set()
        go_on.wait(10)
        return preview(*arguments[:2])

    monkeypatch.setattr("bbmr_server.engine.stages.preview", held)
    monkeypatch.setattr("bbmr_server.engine.stages.encode_picture", lambda *_: encoded.append(1) or b"x")
    engine = make_bench().engine
    task = asyncio.create_task(
        engine.reconstruct(PictureRequest(replace(container, strength_map=None, strength=0)))
    )
    await asyncio.to_thread(began.wait, 5)
    if step == "preview":
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    go_on.set()
    await asyncio.to_thread(wait_until, lambda: engine.inside == 0)
    assert bool(encoded) == (step == "encode_picture")


async def test_small_tiles_go_together_and_large_ones_alone(photo: Image.Image) -> None:
    small, large = encode(photo, rate=3.0), encode(photo.resize((640, 480)), rate=3.0)
    assert small.uses_network
    assert large.uses_network
    network = FakeNetwork()
    engine = fake_engine(network, batch=8, batch_pixels=7 * 208 * 160, queue_length=32)
    async with running(engine):
        for container, most in ((small, 4), (large, 1)):
            network.hold()
            tasks = [asyncio.create_task(engine.reconstruct(PictureRequest(container))) for _ in range(14)]
            await asyncio.to_thread(network.entered.wait, 5)
            # Two batches are under way; all others are queued.
            await asyncio.to_thread(wait_until, lambda: len(engine._pipeline.tiles._jobs) >= 14 - 2 * 4)
            network.batches.clear()
            network.gate.set()
            await asyncio.gather(*tasks)
            counts = {count for _, count in network.batches}
            assert max(counts) == most  # there was room for seven, but networks see few numbers
            assert counts <= {1, 2, 4}
