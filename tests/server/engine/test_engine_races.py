"""Races in the engine: orders of events that come about only under load, forced here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

import pytest

from bbmr_models.cards import read
from bbmr_server.engine import Engine
from bbmr_server.engine.device import MOST_STARTS, Device
from bbmr_server.engine.model_store import ModelStore
from bbmr_server.engine.request import PictureRequest
from bbmr_server.engine.worker.process import ProcessLauncher
from bbmr_server.engine.worker.protocol import BatchError, OutOfMemoryError, WorkerDiedError, WorkerHandle
from bbmr_server.engine.worker.shared_memory import SharedTiles
from bbmr_server.errors import NotReadyError
from bbmr_shared.container import Container
from bbmr_shared.errors import WeightsError
from tests.server.conftest import wait_until
from tests.server.fakes import FakeNetwork, FakeWorker, fake_engine, fake_model

pytestmark = pytest.mark.anyio


async def started(engine: Engine) -> Engine:
    engine.start()
    await asyncio.to_thread(wait_until, lambda: engine.ready)
    return engine


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_job_that_is_cancelled_just_before_its_tiles_are_queued_does_no_harm(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await started(fake_engine(FakeNetwork(), batch=2, fill_s=0.05))
    queue = engine._pipeline.tiles
    add = queue.add

    def add_late(job: Any) -> None:
        job.abandoned.set()
        engine._pipeline.abandon(job)  # as the event loop does, in its own thread
        job.abandoned.clear()
        add(job)

    try:
        monkeypatch.setattr(queue, "add", add_late)
        task = asyncio.create_task(engine.reconstruct(PictureRequest(container)))
        await asyncio.wait({task}, timeout=5)
        monkeypatch.setattr(queue, "add", add)
        assert (await asyncio.wait_for(engine.reconstruct(PictureRequest(container)), 5)).width == 200
        assert engine.failure is None
        await cancel(task)
    finally:
        await asyncio.to_thread(engine.stop, 5)


@pytest.mark.parametrize("error", [OutOfMemoryError(), BatchError("inside the network")])
async def test_a_batch_that_fails_after_one_of_its_jobs_was_cancelled_does_no_harm(
    container: Container, error: Exception
) -> None:
    network = FakeNetwork()
    engine = await started(fake_engine(network, batch=2, fill_s=0.3))
    try:
        network.hold()
        network.once = [error]
        gone = asyncio.create_task(engine.reconstruct(PictureRequest(container)))
        stays = asyncio.create_task(engine.reconstruct(PictureRequest(container)))
        await asyncio.to_thread(network.entered.wait, 5)
        await cancel(gone)
        await asyncio.to_thread(wait_until, lambda: engine.inside == 1)
        network.gate.set()
        assert (await asyncio.wait_for(stays, 5)).width == 200
        assert network.batches[0][1] == 2
        assert engine.failure is None
    finally:
        network.gate.set()
        await asyncio.to_thread(engine.stop, 5)


async def test_weights_are_swapped_though_a_device_was_given_up(container: Container) -> None:
    network = FakeNetwork()

    def launch(device: str) -> WorkerHandle:
        if device == "broken":
            raise WeightsError("this device cannot be used")
        return FakeWorker(network, device)

    new = fake_model("light", "2")
    weights = [fake_model("light")]
    engine = await started(Engine(launch, weights, read=lambda name: new, devices=("broken", "good")))
    try:
        await asyncio.to_thread(wait_until, lambda: not engine._devices[0]._thread.is_alive())
        assert engine.ready
        assert (await asyncio.wait_for(engine.swap("light"), 5))["sha256"] == "2" * 64
        assert (await engine.reconstruct(PictureRequest(container))).width == 200
        late = engine._devices[0].load(new)  # it ended after it was looked at
        with pytest.raises(WeightsError, match="before it had the weights"):
            late.result(1)
    finally:
        await asyncio.to_thread(engine.stop, 5)


async def test_a_restarted_worker_that_cannot_load_yet_is_tried_again(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For instance on a GPU whose memory the dead process still holds."""
    monkeypatch.setattr("bbmr_server.engine.device.PAUSE_S", 0.001)
    network = FakeNetwork()
    lives: list[FakeWorker] = []

    def launch(device: str) -> WorkerHandle:
        lives.append(FakeWorker(network, device))
        if len(lives) in (2, 3):
            monkeypatch.setattr(lives[-1], "load", refuse)
        return lives[-1]

    def refuse(key: str, name: str, data: bytes) -> None:
        raise WeightsError("the weights do not run here: out of memory")

    engine = await started(Engine(launch, [fake_model("light")]))
    try:
        network.once = [WorkerDiedError("killed by signal 9")]
        assert (await asyncio.wait_for(engine.reconstruct(PictureRequest(container)), 10)).width == 200
        assert len(lives) == 4
    finally:
        await asyncio.to_thread(engine.stop, 5)


async def test_weights_that_kill_one_of_two_workers_are_not_tried_on_it_again(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bbmr_server.engine.device.PAUSE_S", 0.05)
    slow, quick = FakeNetwork(), FakeNetwork()
    engine = Engine(
        lambda device: FakeWorker(slow if device == "slow" else quick, device),
        [fake_model("light")],
        read=lambda name: fake_model(name, "2", b"deadly"),
        devices=("slow", "quick"),
    )
    engine.start()
    try:
        await asyncio.to_thread(wait_until, lambda: all(device.ready for device in engine._devices))
        slow.hold()
        swapping = asyncio.create_task(engine.swap("light"))
        with pytest.raises(WeightsError, match="died"):
            await asyncio.wait_for(asyncio.shield(swapping), 5)
        await asyncio.to_thread(wait_until, lambda: engine._devices[1].ready)
        assert len(quick.launches) == 2
        assert engine.ready
    finally:
        slow.gate.set()
        await asyncio.to_thread(engine.stop, 5)


async def test_weights_that_come_back_while_they_are_dropped_stay_loaded(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {"old": fake_model("light", "1"), "new": fake_model("light", "2")}
    following = ["new", "old"]
    engine = fake_engine(FakeNetwork(), read=lambda name: versions[following.pop(0)])
    drop = FakeWorker.drop
    back: list[threading.Thread] = []

    def drop_slowly(worker: FakeWorker, key: str) -> None:
        if key == "light@1" and not back:
            back.append(threading.Thread(target=lambda: asyncio.run(engine.swap("light"))))
            back[0].start()
            back[0].join(0.5)  # the swap waits for the device, which is here
        drop(worker, key)

    await started(engine)
    monkeypatch.setattr(FakeWorker, "drop", drop_slowly)
    try:
        await engine.swap("light")
        await asyncio.to_thread(wait_until, lambda: back)
        await asyncio.to_thread(back[0].join, 5)
        assert engine.catalogue["light"]["sha256"] == "1" * 64
        assert (await asyncio.wait_for(engine.reconstruct(PictureRequest(container)), 5)).width == 200
    finally:
        await asyncio.to_thread(engine.stop, 5)


def test_without_file_descriptors_a_worker_is_tried_again_and_nothing_is_left() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []

    def take_all() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))

    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        take_all()
        full = len(taken)
        for free in range(4):  # for nothing; the memory; the sockets too; but not for a process
            for _ in range(free):
                os.close(taken.pop())
            with pytest.raises(WorkerDiedError, match="could not be started"):
                ProcessLauncher()("cpu")
            take_all()
            assert len(taken) == full
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_sending_to_a_worker_that_hangs_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bbmr_server.engine.worker.process.LOADING_S", 1)
    data, _ = read("omnisr")
    assert len(data) > 1_000_000  # more than a socket holds
    runner = ProcessLauncher()("cpu")
    try:
        os.kill(runner.pid, signal.SIGSTOP)  # type: ignore[attr-defined]
        with pytest.raises(WorkerDiedError, match="took no command"):
            await asyncio.wait_for(asyncio.to_thread(runner.load, "omnisr@1", "omnisr", data), 30)
    finally:
        await asyncio.to_thread(runner.close)


def test_a_worker_that_hangs_ends_with_its_server() -> None:
    hangs = (
        "import sys, time, bbmr_server.engine.worker.main as worker\n"
        "def load_network(*_, **__): print('hangs', flush=True); time.sleep(600)\n"
        "worker.load_network = load_network\n"
        "sys.exit(worker.main())"
    )
    ours, theirs = socket.socketpair()
    memory = SharedTiles(2, 4096)
    with theirs, contextlib.closing(memory):
        fd = theirs.fileno()
        numbers = {
            "socket": fd,
            "memory": memory.fd,
            "slots": 2,
            "slot-bytes": memory.slot_bytes,
            "threads": 1,
        }
        flags = [part for name, value in numbers.items() for part in (f"--{name}", str(value))]
        process = subprocess.Popen(
            [sys.executable, "-c", hangs, "--device", "cpu", "--runtime", "torch", *flags],
            pass_fds=(fd, memory.fd),
            stdout=subprocess.PIPE,
        )
    try:
        with Connection(ours.detach()) as line:
            line.send(("load", "light@1", "light", b""))
            assert process.stdout is not None
            assert process.stdout.readline() == b"hangs\n"
            assert process.poll() is None
        # The other side is gone now, as after `kill -9` of the server.
        assert process.wait(30) == 1
    finally:
        process.kill()
        process.communicate()


async def test_a_panic_in_a_thread_of_the_pool_gives_the_place_back(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Panic(BaseException):
        pass

    def panics(*_: Any) -> bytes:
        raise Panic

    engine = await started(fake_engine(FakeNetwork()))
    try:
        with monkeypatch.context() as patch:
            patch.setattr("bbmr_server.engine.stages.encode_picture", panics)
            with pytest.raises(RuntimeError, match="Panic"):
                await asyncio.wait_for(engine.reconstruct(PictureRequest(container)), 10)
        assert engine.inside == 0
        assert (await engine.reconstruct(PictureRequest(container))).width == 200
    finally:
        await asyncio.to_thread(engine.stop, 5)


async def test_stop_gives_up_steps_that_were_never_begun(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bbmr_server.engine.engine.STEP_S", 0.05)
    gate, entered = threading.Event(), threading.Event()

    def waits(*_: Any) -> bytes:
        entered.set()
        gate.wait(30)
        return b"late"

    monkeypatch.setattr("bbmr_server.engine.stages.encode_picture", waits)
    engine = await started(fake_engine(FakeNetwork(), stage_threads=1))
    tasks = [asyncio.create_task(engine.reconstruct(PictureRequest(container))) for _ in range(4)]
    try:
        assert await asyncio.to_thread(entered.wait, 10)
        await asyncio.to_thread(engine.stop, 0.1)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [NotReadyError] * 4
        assert engine.inside == 1  # the step at work, which nothing can stop
    finally:
        gate.set()
    await asyncio.to_thread(wait_until, lambda: engine.inside == 0)
    assert not any(engine.model_store._holders.values())


@pytest.mark.parametrize(("steady_s", "stays"), [(0.0, True), (60.0, False)])
async def test_only_deaths_close_together_give_a_device_up(
    container: Container, monkeypatch: pytest.MonkeyPatch, steady_s: float, stays: bool
) -> None:
    monkeypatch.setattr("bbmr_server.engine.device.STEADY_S", steady_s)
    monkeypatch.setattr("bbmr_server.engine.device.PAUSE_S", 0.001)
    network = FakeNetwork()
    killed: list[bool] = []

    class DiesIdle(FakeWorker):
        def check(self) -> None:
            if len(killed) < 2 * MOST_STARTS:
                killed.append(True)
                raise WorkerDiedError("killed by signal 9")

    engine = Engine(lambda device: DiesIdle(network, device), [fake_model("light")])
    engine.start()
    try:
        await asyncio.to_thread(
            wait_until, lambda: engine.failure is not None or len(killed) == 2 * MOST_STARTS
        )
        assert (engine.failure is None) == stays
        if stays:
            await asyncio.to_thread(wait_until, lambda: engine.ready)
            assert (await engine.reconstruct(PictureRequest(container))).width == 200
    finally:
        await asyncio.to_thread(engine.stop, 5)


async def test_a_stalled_worker_is_not_ready_until_it_goes_on(container: Container) -> None:
    network = FakeNetwork()
    engine = await started(fake_engine(network, stall_s=0.1))
    try:
        network.hold()
        task = asyncio.create_task(engine.reconstruct(PictureRequest(container)))
        await asyncio.to_thread(network.entered.wait, 5)
        await asyncio.to_thread(wait_until, lambda: not engine.ready)
        with pytest.raises(NotReadyError, match="does not get on"):
            engine.check_ready()
        network.gate.set()
        assert (await task).width == 200
        await asyncio.to_thread(wait_until, lambda: engine.ready)
    finally:
        await asyncio.to_thread(engine.stop, 5)


async def test_devices_are_stopped_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await started(fake_engine(FakeNetwork(), devices=["cpu"] * 4))
    together = threading.Barrier(4)
    stop = Device.stop

    def meets_the_others(device: Device) -> None:
        together.wait(10)  # one after another, the first would wait in vain
        stop(device)

    monkeypatch.setattr(Device, "stop", meets_the_others)
    await asyncio.to_thread(engine.stop, 0.1)
    assert not together.broken


def test_weights_that_are_refused_leave_nothing_behind() -> None:
    store = ModelStore()
    store.serve(fake_model("light"))
    for version in "234":
        other = fake_model("light", version)
        store.stage(other)
        store.release(other)
    assert store._holders == {}
    assert [one.key for one in store.loaded()] == ["light@1"]
