"""A real server under load loses no accepted request when its worker is killed or when it must stop."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import repeat

import pytest

from benchmarks.service import processes
from benchmarks.service.overload import PHOTO, judge, piece
from benchmarks.service.server_process import ServerProcess, run_server
from tests.load.generator import LoadRequest, Outcome, closed_loop

CLIENTS = 6
DRAIN_S = 20.0
pytestmark = pytest.mark.skipif(not processes.can_watch(), reason="processes are read in /proc")


@pytest.fixture(scope="module")
def load_request() -> LoadRequest:
    return LoadRequest(piece(PHOTO, side=320))


class Load:
    """`CLIENTS` clients in their own thread. Each sends `load_request` again and again until `stop`."""

    def __init__(self, server: ServerProcess, load_request: LoadRequest) -> None:
        self.outcomes: list[Outcome] = []
        self._ending = threading.Event()
        self._url, self._request = server.url, load_request
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> list[Outcome]:
        self._ending.set()
        self._thread.join()
        return self.outcomes

    def _run(self) -> None:
        asyncio.run(closed_loop(self._url, self._requests(), CLIENTS, judge, self._keep, patient=True))

    def _requests(self) -> Iterator[LoadRequest]:
        for load_request in repeat(self._request):
            if self._ending.is_set():
                return
            yield load_request

    def _keep(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if outcome.status == 0:
            self._ending.set()  # the server is gone


def workers(server: ServerProcess) -> list[int]:
    """Returns the processes that run the network."""
    return [pid for pid in processes.children(server.pid) if "engine.worker" in processes.command(pid)]


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.01)


def fill(server: ServerProcess, worker: int) -> float:
    """Suspends the worker and waits until every client has a request inside. Returns the time of that."""
    os.kill(worker, signal.SIGSTOP)
    wait_until(lambda: server.metrics()["bbmr_queue_length"] == CLIENTS)
    return time.monotonic()


def test_a_killed_worker_loses_no_request_and_restarts(load_request: LoadRequest) -> None:
    with run_server({"BBMR_THREADS": "1"}) as server:
        (victim,) = workers(server)
        load = Load(server, load_request)
        wait_until(lambda: len(load.outcomes) >= CLIENTS)
        full = fill(server, victim)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not server.ready())
        wait_until(server.ready, 120)
        after = len(load.outcomes)
        wait_until(lambda: len(load.outcomes) >= after + CLIENTS)
        outcomes = load.stop()
        metrics = server.metrics()
        assert [pid for pid in workers(server) if pid != victim]
    assert sum(one.at < full < one.at + one.seconds for one in outcomes) == CLIENTS
    assert {one.status for one in outcomes if one.at < full} == {200}
    assert {one.status for one in outcomes} <= {200, 503}
    assert all(int(one.headers["Retry-After"]) >= 1 for one in outcomes if one.status == 503)
    assert not [one.wrong for one in outcomes if one.wrong]
    assert metrics['bbmr_worker_restarts_total{device="cpu"}'] == 1


def test_a_stopping_server_answers_accepted_requests(load_request: LoadRequest) -> None:
    with run_server({"BBMR_THREADS": "1", "BBMR_DRAIN_S": str(DRAIN_S)}) as server:
        (worker,) = workers(server)
        load = Load(server, load_request)
        wait_until(lambda: len(load.outcomes) >= CLIENTS)
        full = fill(server, worker)
        server.process.terminate()
        os.kill(worker, signal.SIGCONT)
        status = server.process.wait(DRAIN_S)
        outcomes = load.stop()
    assert status == 0
    assert sum(one.at < full < one.at + one.seconds for one in outcomes) == CLIENTS
    assert {one.status for one in outcomes if one.at < full} == {200}
    # Later requests were refused or got no connection.
    assert {one.status for one in outcomes} <= {0, 200, 503}
    wait_until(lambda: processes.resident(worker) is None)
