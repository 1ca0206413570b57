"""Over a real socket: bodies that arrive in pieces, slow clients, clients that leave, and the event loop meanwhile."""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from bbmr_server.http.body import BodyMemory, read_body
from bbmr_shared.container import MEDIA_TYPE

HEADERS = {"Content-Type": MEDIA_TYPE}


def head(length: int | None, extra: str = "") -> bytes:
    """Returns the head of a POST /reconstruct; without a length the body is chunked."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        f"POST /reconstruct HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\n{framing}\r\n{extra}\r\n"
    ).encode()


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Returns status, headers and body of one complete answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        assert piece, "the connection was closed without an answer"
        data += piece
    first, _, rest = data.partition(b"\r\n\r\n")
    lines = first.decode().split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
    while len(rest) < int(headers["content-length"]):
        piece = connection.recv(65536)
        assert piece, "the answer was cut off"
        rest += piece
    return int(lines[0].split()[1]), headers, rest


def check(answer: tuple[int, dict[str, str], bytes], status: int, slug: str) -> None:
    assert answer[0] == status
    assert answer[1]["content-type"] == "application/problem+json"
    assert answer[1]["connection"] == "close"
    assert json.loads(answer[2])["type"] == f"urn:bbmr:problem:{slug}"


def test_a_declared_length_of_ten_gigabytes_is_refused_before_the_body(
    make_bench: Callable[..., Any], listen: Any
) -> None:
    with listen(make_bench().app) as port, socket.create_connection(("127.0.0.1", port), 10) as connection:
        began = time.monotonic()
        connection.sendall(head(10 << 30, "Expect: 100-continue\r\n"))
        check(read_answer(connection), 413, "too-large")
        assert time.monotonic() - began < 1.5
        assert connection.recv(1) == b""


def test_a_client_that_is_still_sending_can_read_why_it_was_refused(
    make_bench: Callable[..., Any], listen: Any
) -> None:
    """The body is larger than all socket buffers; if the connection closed at once, sending it would fail."""
    size = 32 << 20
    with listen(make_bench(max_body_bytes=1000).app) as port:
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(head(size) + bytes(size))
            check(read_answer(connection), 413, "too-large")
            assert connection.recv(1) == b""
        response = httpx.post(
            f"http://127.0.0.1:{port}/reconstruct", content=bytes(size), headers=HEADERS, timeout=20
        )
        assert response.json()["type"] == "urn:bbmr:problem:too-large"


def test_an_endless_body_is_cut_off(make_bench: Callable[..., Any], listen: Any) -> None:
    bench = make_bench(max_body_bytes=100_000)
    with listen(bench.app) as port, socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(head(None))
        chunk = b"4000\r\n" + bytes(0x4000) + b"\r\n"
        sent = 0
        with contextlib.suppress(OSError):  # a reset or a broken pipe, depending on the system
            while sent < 2 << 30:
                connection.sendall(chunk)
                sent += len(chunk)
        assert sent < 1 << 30
        assert bench.app.state.bbmr.bodies.used == 0


def test_a_body_that_arrives_too_slowly_gets_408(
    make_bench: Callable[..., Any], listen: Any, body: bytes
) -> None:
    bench = make_bench(upload_timeout_s=0.4)
    with listen(bench.app) as port, socket.create_connection(("127.0.0.1", port), 10) as connection:
        began = time.monotonic()
        connection.sendall(head(len(body)) + body[:100])
        stop = threading.Event()

        def drip() -> None:
            for byte in body[100:200]:
                if stop.wait(0.05):
                    return
                connection.sendall(bytes([byte]))

        dripping = threading.Thread(target=drip)
        dripping.start()
        check(read_answer(connection), 408, "upload-timeout")
        assert 0.3 < time.monotonic() - began < 3
        stop.set()
        dripping.join()


class Upload:
    """A body of `size` bytes in pieces of 64 KiB, and the time at which the last piece was read."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.ended = 0.0

    async def stream(self) -> AsyncIterator[bytes]:
        for at in range(0, self.size, 1 << 16):
            yield bytes([at >> 16 & 255]) * (1 << 16)
        self.ended = time.perf_counter()

    async def read(self, declared: bool) -> bytes:
        memory = BodyMemory(self.size)
        with memory.share() as share:
            length = str(self.size) if declared else None
            body = await read_body(self.stream(), length, limit=self.size, timeout=60, share=share)
            assert memory.used == self.size
        return body


@pytest.mark.anyio
@pytest.mark.parametrize("declared", [True, False])
async def test_memory_holds_one_copy_of_a_body_while_it_arrives(declared: bool) -> None:
    size = 16 << 20
    tracemalloc.start()
    try:
        body = await Upload(size).read(declared)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(body) is bytes
    assert body == b"".join(bytes([piece]) * (1 << 16) for piece in range(size >> 16))
    assert peak < 1.3 * size


@pytest.mark.anyio
async def test_the_end_of_a_large_body_does_not_block_the_event_loop() -> None:
    """The work after the last byte takes a fraction of the time of a copy."""
    size, ending, copying = 64 << 20, [], []
    for _ in range(3):
        upload = Upload(size)
        body = await upload.read(declared=True)
        ending.append(time.perf_counter() - upload.ended)
        began = time.perf_counter()
        assert len(bytearray(body)) == size
        copying.append(time.perf_counter() - began)
    assert min(ending) < min(copying) / 3


def test_a_client_that_leaves_stops_the_work(
    make_bench: Callable[..., Any], listen: Any, body: bytes, wait_for: Callable[..., None]
) -> None:
    bench = make_bench()
    bench.network.hold()
    with listen(bench.app) as port:
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(head(len(body)) + body)
            assert bench.network.entered.wait(5)
            assert bench.engine.inside == 1
        wait_for(lambda: bench.engine.inside == 0)  # although the worker still hangs
        page = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert 'bbmr_requests_total{method="POST",route="/reconstruct",status="499"} 1.0' in page


def test_a_client_that_leaves_during_its_upload_frees_its_memory(
    make_bench: Callable[..., Any], listen: Any, body: bytes, wait_for: Callable[..., None]
) -> None:
    bench = make_bench()
    memory = bench.app.state.bbmr.bodies
    with listen(bench.app) as port:
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(head(len(body)) + body[:-10])
            wait_for(lambda: memory.used > 0)
        wait_for(lambda: memory.used == 0)
        ok = httpx.post(f"http://127.0.0.1:{port}/reconstruct", content=body, headers=HEADERS, timeout=20)
        assert ok.status_code == 200
    assert bench.engine.admission.inside() == []


def test_health_answers_fast_while_the_engine_is_busy(
    make_bench: Callable[..., Any], listen: Any, body: bytes
) -> None:
    bench = make_bench()
    bench.network.hold()
    with listen(bench.app) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        posts = [
            threading.Thread(
                target=httpx.post,
                args=(f"http://127.0.0.1:{port}/reconstruct",),
                kwargs={"content": body, "headers": HEADERS, "timeout": 20},
            )
            for _ in range(4)
        ]
        for post in posts:
            post.start()
        assert bench.network.entered.wait(5)
        seconds = []
        for _ in range(20):
            began = time.perf_counter()
            assert client.get("/healthz").status_code == 200
            seconds.append(time.perf_counter() - began)
        bench.network.gate.set()
        for post in posts:
            post.join()
        assert statistics.median(seconds) < 0.1


def test_the_connection_is_kept_for_the_next_request(
    make_bench: Callable[..., Any], listen: Any, body: bytes
) -> None:
    with listen(make_bench().app) as port, socket.create_connection(("127.0.0.1", port), 20) as connection:
        for _ in range(2):
            connection.sendall(head(len(body)) + body)
            assert read_answer(connection)[0] == 200
        connection.sendall(head(4) + b"junk")  # the body is read to its end, so the connection can stay
        assert read_answer(connection)[0] == 400
        connection.sendall(head(len(body)) + body)
        assert read_answer(connection)[0] == 200
