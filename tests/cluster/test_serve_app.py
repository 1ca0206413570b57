"""The server on Ray Serve: it answers like a single server, also while parts of it are killed."""

from __future__ import annotations

import io
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

from bbmr_models.reconstruct import reconstruct_local
from bbmr_shared.container import MEDIA_TYPE, Container
from tests.cluster.conftest import DEADLINE_S, QUEUE, Cluster, wait_until

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[cluster]' in a checkout")

HEADERS = {"Content-Type": MEDIA_TYPE}


def post(url: str, body: bytes, seconds: float = 60, **query: object) -> httpx.Response:
    return httpx.post(f"{url}/reconstruct", params=query, content=body, headers=HEADERS, timeout=seconds)  # type: ignore[arg-type]


def worst(answer: httpx.Response, expected: np.ndarray) -> int:
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as picture:
        return int(np.abs(np.asarray(picture).astype(int) - expected).max())


@pytest.fixture(scope="module")
def expected(container: Container) -> np.ndarray:
    return np.asarray(reconstruct_local(container)).astype(int)


def test_the_picture_equals_a_local_reconstruction(
    cluster: Cluster, container: Container, expected: np.ndarray
) -> None:
    answer = post(cluster.url, container.to_bytes())
    assert worst(answer, expected) <= 1
    assert answer.headers["BBMR-Model"] == "light"
    assert len(answer.headers.get_list("X-Request-ID")) == 1
    assert "network" in answer.headers["Server-Timing"]
    part = post(cluster.url, container.to_bytes(), region="30,40,100,90")
    assert worst(part, expected[40:130, 30:130]) <= 1


def test_models_come_from_the_engines(cluster: Cluster) -> None:
    wait_until(lambda: httpx.get(f"{cluster.url}/models", timeout=20).json()["devices"] == ["cpu"])
    listed = httpx.get(f"{cluster.url}/models", timeout=20).json()
    assert [len(model["sha256"]) for model in listed["models"]] == [64]


@pytest.mark.parametrize(
    ("query", "body", "status", "kind"),
    [
        ({}, b"no container", 400, "unreadable-container"),
        ({"model": "nonsense"}, None, 422, "unknown-model"),
        ({"region": "9000,0,10,10"}, None, 422, "invalid-request"),
        ({"max_side": "0"}, None, 422, "invalid-request"),
    ],
)
def test_problems_of_the_request(
    cluster: Cluster, container: Container, query: dict[str, str], body: bytes | None, status: int, kind: str
) -> None:
    answer = post(cluster.url, container.to_bytes() if body is None else body, **query)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:bbmr:problem:{kind}")


def test_problems_of_an_engine(cluster: Cluster, container: Container) -> None:
    refused = post(cluster.sleepy, container.to_bytes(), max_side=11)
    assert refused.status_code == 422
    assert refused.json()["type"] == "urn:bbmr:problem:incompatible-model"
    assert refused.json()["detail"] == "this model does not read planes of the downscaler 'x'"
    broken = post(cluster.sleepy, container.to_bytes(), max_side=12)
    assert broken.status_code == 500
    assert broken.json()["type"] == "urn:bbmr:problem:internal"
    assert "secret" not in broken.text


def test_excess_requests_are_refused_and_accepted_ones_served(cluster: Cluster, container: Container) -> None:
    body = container.to_bytes()
    with ThreadPoolExecutor(4 * QUEUE) as pool:
        answers = list(pool.map(lambda _: post(cluster.sleepy, body, max_side=2000), range(4 * QUEUE)))
    by_status = {status: [a for a in answers if a.status_code == status] for status in (200, 429)}
    assert len(by_status[200]) + len(by_status[429]) == len(answers), {a.status_code for a in answers}
    assert len(by_status[200]) >= QUEUE
    assert by_status[429]
    for answer in by_status[429]:
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["type"] == "urn:bbmr:problem:queue-full"


def test_a_disconnect_cancels_the_work_in_the_replica(cluster: Cluster, container: Container) -> None:
    began, cancelled = cluster.traces("began"), cluster.traces("cancelled")
    address = httpx.URL(cluster.sleepy)
    body = container.to_bytes()
    head = f"POST {address.path}/reconstruct?max_side=60000 HTTP/1.1\r\nHost: {address.host}\r\n"
    head += f"Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((address.host, address.port)) as connection:
        connection.sendall(head.encode() + body)
        wait_until(lambda: cluster.traces("began") > began)
        left = time.monotonic()
    wait_until(lambda: cluster.traces("cancelled") > cancelled)
    assert time.monotonic() - left < DEADLINE_S / 2


def test_the_deadline_cancels_the_work_in_the_replica(cluster: Cluster, container: Container) -> None:
    cancelled = cluster.traces("cancelled")
    answer = post(cluster.sleepy, container.to_bytes(), max_side=60000)
    assert (answer.status_code, answer.json()["type"]) == (504, "urn:bbmr:problem:deadline")
    wait_until(lambda: cluster.traces("cancelled") > cancelled)


def test_killing_an_engine_loses_nothing(
    cluster: Cluster, container: Container, expected: np.ndarray
) -> None:
    body = container.to_bytes()
    engines = cluster.processes("ray::ServeReplica:bbmr:Engine")
    assert len(engines) == 2
    answered: list[httpx.Response] = []
    killed = threading.Event()

    def ask(_: int) -> None:
        while not killed.is_set():
            answered.append(post(cluster.url, body))
        for _ in range(3):
            answered.append(post(cluster.url, body))

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, number) for number in range(4)]
        wait_until(lambda: len(answered) >= 8)
        os.kill(engines[0], signal.SIGKILL)
        before = len(answered)
        wait_until(lambda: len(answered) >= before + 8)
        killed.set()
        for each in asking:
            each.result()
    assert max(worst(answer, expected) for answer in answered) <= 1
    # Serve starts a new replica.
    wait_until(lambda: len(set(cluster.processes("ray::ServeReplica:bbmr:Engine")) - set(engines)) == 1)


def test_the_last_engine_dies_with_requests_in_it(cluster: Cluster, container: Container) -> None:
    """No other engine can take them: they wait for the one that Serve starts instead."""
    wait_until(lambda: len(cluster.processes("ray::ServeReplica:sleepy:Engine")) == 1)
    (engine,) = cluster.processes("ray::ServeReplica:sleepy:Engine")
    began = cluster.traces("began")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post, cluster.sleepy, container.to_bytes(), max_side=500)
        wait_until(lambda: cluster.traces("began") > began)
        os.kill(engine, signal.SIGKILL)
        answer = asked.result()
    # On a busy machine the deadline may end it first. No other status is possible.
    assert answer.status_code in (200, 504), answer.text
    wait_until(lambda: httpx.get(f"{cluster.sleepy}/readyz", timeout=20).status_code == 200)
