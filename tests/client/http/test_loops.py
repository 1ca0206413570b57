"""The event loop of the sync client: used from other loops and threads, after a fork, on Ctrl-C, and never closed."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from bbmr_client import AsyncClient, Client
from bbmr_client.http.loop_thread import LoopThread
from bbmr_shared.container import Container
from bbmr_shared.errors import BbmrError
from tests.client.http.scripted import picture, scripted


def test_threads_share_one_and_nobody_waits_for_another(container: Container) -> None:
    all_there = threading.Barrier(4)

    def step(request: BaseHTTPRequestHandler) -> None:
        all_there.wait(10)  # no request is answered before all four have arrived
        picture()(request)

    with scripted(step) as (url, _), Client(url, 20) as client, ThreadPoolExecutor(4) as threads:
        pictures = list(threads.map(client.reconstruct, [container] * 4))
    assert [one.size for one in pictures] == [(300, 200)] * 4


def test_inside_a_running_loop(container: Container) -> None:
    async def run() -> tuple[int, int]:
        with Client(url) as client:
            return client.reconstruct(container).size

    with scripted(picture()) as (url, _):
        assert asyncio.run(run()) == (300, 200)


def test_connections_are_used_again(container: Container) -> None:
    with scripted(picture()) as (url, seen), Client(url) as client:
        for _ in range(5):
            client.reconstruct(container)
    assert seen.count == 5
    assert len(seen.connections) == 1


def test_one_async_client_in_one_loop_after_another(container: Container) -> None:
    with scripted(picture()) as (url, seen):
        client = AsyncClient(url)
        for _ in range(3):
            assert asyncio.run(client.reconstruct(container)).size == (300, 200)
    assert seen.count == 3


def test_loops_that_have_ended_are_let_go(container: Container) -> None:
    with scripted(picture()) as (url, _):
        client = AsyncClient(url)
        for _ in range(3):
            asyncio.run(client.reconstruct(container))
        assert len(client._pool._clients) == 1


def test_cancelling_ends_the_exchange_at_once(container: Container) -> None:
    gone = threading.Event()

    async def run() -> float:
        async with AsyncClient(url) as client:
            task = asyncio.create_task(client.reconstruct(container))
            while not seen.count:
                await asyncio.sleep(0.01)
            task.cancel()
            started = time.monotonic()
            with pytest.raises(asyncio.CancelledError):
                await task
            return time.monotonic() - started

    def step(request: BaseHTTPRequestHandler) -> None:
        gone.wait(10)

    with scripted(step) as (url, seen):
        assert asyncio.run(run()) < 1
        gone.set()


@pytest.mark.parametrize("used", [True, False])
def test_nothing_can_be_asked_once_it_is_closed(container: Container, used: bool) -> None:
    with scripted(picture()) as (url, _):
        with Client(url) as client:
            if used:
                client.reconstruct(container)
        with pytest.raises(RuntimeError, match="closed"):
            client.reconstruct(container)
        client.close()


def test_closing_ends_what_other_threads_wait_for(container: Container) -> None:
    gone = threading.Event()

    def step(request: BaseHTTPRequestHandler) -> None:
        gone.wait(10)

    with scripted(step) as (url, seen), ThreadPoolExecutor(1) as threads:
        client = Client(url)
        asked = threads.submit(client.reconstruct, container)
        while not seen.count:
            time.sleep(0.01)
        client.close()
        with pytest.raises((RuntimeError, BbmrError)):
            asked.result(5)
        gone.set()


def test_progress_cannot_ask_the_client_that_tells_it(container: Container) -> None:
    """The client would wait for itself."""

    def progress(direction: str, done: int, total: int | None) -> None:
        client.ready()

    with (
        scripted(picture()) as (url, _),
        Client(url) as client,
        pytest.raises(RuntimeError, match="event loop thread"),
    ):
        client.reconstruct(container, progress=progress)


def test_one_that_is_forgotten_leaves_no_thread(container: Container) -> None:
    before = set(threading.enumerate())
    with scripted(picture()) as (url, _):
        client = Client(url)
        client.reconstruct(container)
        (made,) = [one for one in threading.enumerate() if one.name == "bbmr-client" and one not in before]
        del client
        gc.collect()
        made.join(10)
        assert not made.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork(container: Container) -> None:
    code = """
import os, sys
from bbmr_client import Client
client = Client(sys.argv[1])
data = sys.stdin.buffer.read()
client.reconstruct(data)
child = os.fork()
size = client.reconstruct(data).size
if child:
    assert os.waitpid(child, 0)[1] == 0
print(size, flush=True)
os._exit(0 if size == (300, 200) else 1)
"""
    with scripted(picture()) as (url, seen):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, url],
            input=container.to_bytes(),
            capture_output=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr.decode()
    assert seen.count == 3


def test_a_process_ends_although_one_was_not_closed(container: Container) -> None:
    code = "import sys; from bbmr_client import Client; c = Client(sys.argv[1]); c.ready(); print('end')"
    with scripted(picture()) as (url, _):
        code = code.replace("c.ready()", "c.reconstruct(sys.stdin.buffer.read())")
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", code, url], input=container.to_bytes(), capture_output=True, timeout=60
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"end\n", b"")
    assert time.monotonic() - started < 15


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("when", ["before the answer", "in the answer"])
def test_a_signal_ends_the_command_at_once(
    packed: Path, tmp_path: Path, number: signal.Signals, status: int, when: str
) -> None:
    folder, gone = tmp_path / "out", threading.Event()
    folder.mkdir()

    def step(request: BaseHTTPRequestHandler) -> None:
        if when == "in the answer":
            request.send_response(200)
            request.send_header("Content-Type", "image/png")
            request.send_header("Content-Length", "100000")
            request.end_headers()
            request.wfile.write(bytes(5000))
        gone.wait(20)

    with scripted(step) as (url, seen):
        command = [sys.executable, "-m", "bbmr_client", "reconstruct", packed, "-o", folder / "out.png"]
        process = subprocess.Popen([*command, "--server", url], stderr=subprocess.PIPE)
        while not seen.count:
            time.sleep(0.02)
        time.sleep(0.1)
        started = time.monotonic()
        process.send_signal(number)
        _, error = process.communicate(timeout=20)
        took = time.monotonic() - started
        gone.set()
    assert (process.returncode, error) == (status, b"")
    assert took < 10, "the server would have kept it for 20 s"
    assert list(folder.iterdir()) == []


def test_a_finalizer_waits_for_nobody() -> None:
    """The garbage collector may call it in a thread that this loop waits for, as for the lock of an import."""
    at_work, go_on, cleaned = threading.Event(), threading.Event(), threading.Event()

    async def cleanup() -> None:
        cleaned.set()

    async def work() -> None:
        at_work.set()
        assert go_on.wait(10)  # the whole loop waits, as it does for a lock

    loop = LoopThread(cleanup)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(loop.run, work)
        assert at_work.wait(10)
        loop.abandon()
        assert not cleaned.is_set()
        go_on.set()
        asked.result(10)
    assert cleaned.wait(10)
