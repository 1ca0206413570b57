"""Over a real socket: connections of slow or silent clients end in bounded time and memory.

What is no HTTP is in `test_malformed_http.py`.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from bbmr_server.http.protocol import SPARE
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import MEDIA_TYPE, Container, Plane
from bbmr_shared.grid import BlockGrid
from bbmr_shared.images.codecs import encode_plane

HEADERS = {"Content-Type": MEDIA_TYPE}
PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def noise() -> Container:
    """2048×1024 pixels that no format compresses: the answer is larger than all socket buffers."""
    grid = BlockGrid(2048, 1024)
    samples = np.random.default_rng(3).integers(0, 256, (1024, 2048, 3), dtype=np.uint8)
    codec, data = encode_plane(samples, "png", effort=0)
    return Container(grid.width, grid.height, np.ones(grid.shape, np.uint8), (Plane(1, codec, data),))


@contextlib.contextmanager
def connection(port: int, buffer: int | None = None) -> Iterator[socket.socket]:
    with socket.socket() as made:
        if buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        made.settimeout(10)
        made.connect(("127.0.0.1", port))
        yield made


def request(body: bytes) -> bytes:
    return (
        f"POST /reconstruct HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def read_answer(made: socket.socket) -> tuple[int, bytes, bytes]:
    """Returns status, head and body of one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = made.recv(65536)
        assert piece, "the connection was closed without an answer"
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        piece = made.recv(1 << 20)
        assert piece, "the answer was cut off"
        body += piece
    return int(head.split()[1]), head.lower(), body


def seconds_until_closed(made: socket.socket, drip: bytes = b"") -> float:
    """Returns for how long the server keeps the connection while a byte of `drip` is sent every 50 ms."""
    began = time.monotonic()
    made.settimeout(0.05)
    for at in range(200):
        with contextlib.suppress(TimeoutError):
            try:
                if at < len(drip):
                    made.sendall(drip[at : at + 1])
                if made.recv(100) == b"":
                    break
            except (ConnectionResetError, BrokenPipeError):
                break
    return time.monotonic() - began


@pytest.mark.parametrize(
    "sent", [b"", b"POST /recon", PROBE[:-2]], ids=["nothing", "a word", "all but the end"]
)
def test_a_connection_without_a_request_head_is_closed(
    make_bench: Callable[..., Any], listen: Any, sent: bytes
) -> None:
    with listen(make_bench(head_timeout_s=0.4).app) as port, connection(port) as made:
        made.sendall(sent)
        assert 0.3 < seconds_until_closed(made) < 3


def test_a_head_that_arrives_too_slowly_ends_the_connection(
    make_bench: Callable[..., Any], listen: Any
) -> None:
    with listen(make_bench(head_timeout_s=0.4).app) as port, connection(port) as made:
        assert 0.3 < seconds_until_closed(made, b"GET /" + b"a" * 150) < 3


def test_a_second_head_that_arrives_too_slowly_ends_the_connection(
    make_bench: Callable[..., Any], listen: Any
) -> None:
    """The first byte ends uvicorn's keep-alive timeout, which therefore does not bound this."""
    with listen(make_bench(head_timeout_s=0.4).app) as port, connection(port) as made:
        made.sendall(PROBE)
        assert read_answer(made)[0] == 200
        assert 0.3 < seconds_until_closed(made, b"GET /" + b"a" * 150) < 3


def test_a_body_that_goes_on_slowly_after_its_answer_ends_the_connection(
    make_bench: Callable[..., Any], listen: Any
) -> None:
    with listen(make_bench(head_timeout_s=0.4).app) as port, connection(port) as made:
        made.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert read_answer(made)[0] == 200
        assert 0.3 < seconds_until_closed(made, bytes(200)) < 3


def test_a_request_in_work_may_take_longer_than_a_head(
    make_bench: Callable[..., Any], listen: Any, body: bytes
) -> None:
    bench = make_bench(head_timeout_s=0.2, send_timeout_s=0.2)
    bench.network.hold()
    with listen(bench.app) as port, connection(port) as made:
        made.sendall(request(body))
        assert bench.network.entered.wait(5)
        time.sleep(0.8)
        bench.network.gate.set()
        assert read_answer(made)[0] == 200


def test_a_client_that_does_not_read_its_answer_is_cut_off(
    make_bench: Callable[..., Any], listen: Any, noise: Container, wait_for: Callable[..., None]
) -> None:
    """Until then the answer counts in the memory for bodies, and others are refused."""
    body = noise.to_bytes()
    bench = make_bench(send_timeout_s=1.5, max_body_bytes=len(body), body_memory_bytes=len(body) + 1000)
    memory = bench.app.state.bbmr.bodies
    with listen(bench.app) as port, connection(port, buffer=4096) as rude:
        rude.sendall(request(body))
        assert rude.recv(15) == b"HTTP/1.1 200 OK"
        assert memory.used > 6_000_000
        assert len(bench.engine.admission) == 0
        with connection(port) as polite:
            polite.sendall(request(body))
            status, _, refusal = read_answer(polite)
        assert (status, json.loads(refusal)["type"]) == (429, "urn:bbmr:problem:queue-full")
        wait_for(lambda: memory.used == 0, 5)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := rude.recv(1 << 20):
                received += len(piece)
        assert received < 6_000_000
        again = httpx.post(f"http://127.0.0.1:{port}/reconstruct", content=body, headers=HEADERS, timeout=20)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(again.content))), np.asarray(preview(noise)))
    assert memory.used == 0


def test_a_connection_over_the_limit_gets_503(
    make_bench: Callable[..., Any], listen: Any, body: bytes
) -> None:
    with listen(make_bench(max_connections=2).app) as port, contextlib.ExitStack() as stack:
        early = [stack.enter_context(connection(port)) for _ in range(2)]
        for made in early:
            made.sendall(PROBE)
            assert read_answer(made)[0] == 200
        with connection(port) as late:
            late.sendall(PROBE)
            assert read_answer(late)[0] == 200  # probes are answered
            late.sendall(request(body))
            status, head, refusal = read_answer(late)
            assert status == 503
            assert b"retry-after: " in head
            assert b"connection: close" in head
            assert "too many connections" in json.loads(refusal)["detail"]
            assert late.recv(1) == b""
        early[0].sendall(request(body))
        assert read_answer(early[0])[0] == 200
        early.pop().close()
        with connection(port) as later:
            later.sendall(request(body))
            assert read_answer(later)[0] == 200


def test_connections_far_over_the_limit_are_closed(make_bench: Callable[..., Any], listen: Any) -> None:
    with listen(make_bench(max_connections=1).app) as port, contextlib.ExitStack() as stack:
        for _ in range(1 + SPARE):
            made = stack.enter_context(connection(port))
        made.sendall(PROBE)
        assert read_answer(made)[0] == 200
        with connection(port) as last:
            assert seconds_until_closed(last) < 2


def test_nagles_algorithm_is_off(
    make_bench: Callable[..., Any], listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio turns it off only for listeners that it makes itself; ours is made before."""
    accepted: list[socket.socket] = []
    accept = socket.socket.accept

    def watched(listener: socket.socket) -> Any:
        made, address = accept(listener)
        accepted.append(made)
        return made, address

    monkeypatch.setattr(socket.socket, "accept", watched)
    with listen(make_bench().app) as port, connection(port) as made:
        made.sendall(PROBE)
        assert read_answer(made)[0] == 200
        ours = next(one for one in accepted if one.getpeername() == made.getsockname())
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
