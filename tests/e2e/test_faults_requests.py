"""Harmful requests to a real server: huge, slow, with false sizes, and from clients that disconnect."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import time
import zlib
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from bbmr_shared.container import MEDIA_TYPE, Container, Plane
from bbmr_shared.grid import BlockGrid
from bbmr_shared.images.codecs import encode_plane
from benchmarks.service import processes
from benchmarks.service.server_process import ServerProcess, run_server
from tests.e2e import raw

BODY_LIMIT = 8 << 20
SLOW_S = 2.0
"""Seconds a head or a body may take."""
PATIENCE_S = 40.0

pytestmark = pytest.mark.skipif(not processes.can_watch(), reason="processes are read in /proc")


@pytest.fixture(scope="module")
def bounded() -> Iterator[ServerProcess]:
    settings = {
        "BBMR_THREADS": "1",
        "BBMR_MAX_BODY_BYTES": str(BODY_LIMIT),
        "BBMR_BODY_MEMORY_BYTES": str(BODY_LIMIT),
        "BBMR_HEAD_TIMEOUT_S": str(SLOW_S),
        "BBMR_UPLOAD_TIMEOUT_S": str(SLOW_S),
    }
    with run_server(settings) as server:
        yield server


@pytest.fixture(scope="module")
def noise() -> bytes:
    """1280×1280 pixels of noise (5 MB in any format): two responses exceed the memory for bodies."""
    grid = BlockGrid(1280, 1280)
    samples = np.random.default_rng(3).integers(0, 256, (1280, 1280, 3), dtype=np.uint8)
    codec, data = encode_plane(samples, "png", effort=0)
    rates = np.ones(grid.shape, np.uint8)
    return Container(1280, 1280, rates, (Plane(1, codec, data),), strength=0).to_bytes()


def post(server: ServerProcess, body: bytes) -> httpx.Response:
    return httpx.post(
        server.url + "/reconstruct",
        content=body,
        headers={"Content-Type": MEDIA_TYPE},
        timeout=60,
        trust_env=False,
    )


def claiming(side: int) -> bytes:
    """Returns a container of some hundred bytes that claims a picture of `side`×`side` pixels."""
    grid = BlockGrid(side, side)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", *grid.plane_size(16), 8, 2, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + ihdr + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return Container(side, side, np.full(grid.shape, 16, np.uint8), (Plane(16, "png", png),)).to_bytes()


@contextlib.contextmanager
def memory_stays_within(server: ServerProcess, megabytes: float) -> Iterator[None]:
    """Checks that the peak memory of server and workers grows by less than `megabytes` during the block."""
    family = [server.pid, *processes.children(server.pid)]
    for pid in family:
        processes.forget_peak(pid)
    before = sum(processes.peak(pid) for pid in family)
    yield
    assert sum(processes.peak(pid) for pid in family) - before < megabytes


def test_a_declared_length_of_10_gb_is_refused_before_the_body(bounded: ServerProcess) -> None:
    with memory_stays_within(bounded, 20), raw.connect(bounded) as made:
        made.sendall(raw.head(10 << 30, "Expect: 100-continue\r\n"))
        status, fields = raw.read_head(made)
        assert status == 413
        assert fields["content-type"] == "application/problem+json"


def test_a_streamed_body_of_10_gb_is_cut_off_at_the_limit(bounded: ServerProcess) -> None:
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    sent = 0
    with memory_stays_within(bounded, 4 * BODY_LIMIT / 1e6), raw.connect(bounded) as made:
        made.sendall(raw.head(None))
        with contextlib.suppress(OSError):  # a reset or a broken pipe
            while sent < 10 << 30:
                made.sendall(chunk)
                sent += len(chunk)
        assert BODY_LIMIT <= sent < 1 << 30
    assert bounded.ready()


@pytest.mark.parametrize("side", [100_000, 65_000], ids=["a side is too long", "there are too many pixels"])
def test_a_gigapixel_picture_is_refused_by_its_header(bounded: ServerProcess, side: int) -> None:
    body = claiming(side)
    with memory_stays_within(bounded, 20):
        began = time.monotonic()
        answer = post(bounded, body)
        assert time.monotonic() - began < 10
    assert answer.status_code == 413, answer.text
    assert answer.json()["type"] == "urn:bbmr:problem:too-large"


def test_disconnected_clients_free_all_memory(bounded: ServerProcess, noise: bytes) -> None:
    """The memory for bodies has room for one such request, so one leak would make the last request fail."""
    for sent in (noise[: len(noise) // 2], noise[:-1], noise):
        for _ in range(3):
            with raw.connect(bounded, buffer=4096) as made:
                made.sendall(raw.head(len(noise)) + sent)
                if sent is noise:
                    assert made.recv(15) == b"HTTP/1.1 200 OK"  # then it disconnects
            bounded.wait_until(lambda: bounded.metrics()["bbmr_queue_length"] == 0)
    bounded.wait_until(lambda: post(bounded, noise).status_code == 200)
    assert bounded.metrics()["bbmr_queue_waiting"] == 0


def test_slow_clients_delay_nobody_and_are_closed(bounded: ServerProcess, noise: bytes) -> None:
    """Half of them never finish a head, half never finish a body."""
    beginnings = [b"GET /healthz HTTP/1.1\r\nHost: ", raw.head(100_000)] * 50
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        open_ones: set[socket.socket] = set()
        for beginning in beginnings:
            made = stack.enter_context(raw.connect(bounded))
            made.sendall(beginning)
            made.setblocking(False)
            selector.register(made, selectors.EVENT_READ)
            open_ones.add(made)
        began, served_meanwhile = time.monotonic(), 0
        while open_ones and time.monotonic() - began < PATIENCE_S:
            for made in open_ones:
                with contextlib.suppress(OSError):
                    made.send(b"a")
            if time.monotonic() - began < SLOW_S / 2:
                assert bounded.get("/healthz").status_code == 200
                assert post(bounded, noise).status_code == 200
                served_meanwhile += 1
            for key, _ in selector.select(0.2):
                made = key.fileobj  # type: ignore[assignment]
                try:
                    closed = made.recv(65536) == b""
                except OSError:
                    closed = True
                if closed:
                    selector.unregister(made)
                    open_ones.discard(made)
        assert served_meanwhile > 0
        assert not open_ones, f"{len(open_ones)} slow connections are open after {PATIENCE_S} s"
    assert bounded.ready()
