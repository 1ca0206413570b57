"""What requests for stored containers wait for, and how long: others, the disk, a reader; and what they hold meanwhile.

Every wait ends with the deadline or the store's timeout, and as soon as the client has left.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect

from bbmr_server import app_state as shared
from bbmr_server.engine import Answer, Work
from bbmr_server.store import container_store
from bbmr_server.store.backend import Backend
from bbmr_server.store.errors import StoreUnavailableError
from bbmr_server.store.locks import KeyedLocks
from bbmr_shared.container import MEDIA_TYPE, Container
from bbmr_shared.container.header import Header
from tests.server.routes.test_reconstruct import check_problem

pytestmark = pytest.mark.anyio

HEADERS = {"Content-Type": MEDIA_TYPE}


class Gate:
    """Hangs whatever is called in a thread through it, until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def hang(*arguments: Any) -> Any:
            self.entered.set()
            self.opened.wait(60)
            return function(*arguments)

        return hang


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


def ask(port: int, method: str, path: str, body: bytes = b"") -> socket.socket:
    """A connection on which a request has been sent."""
    connection = socket.create_connection(("127.0.0.1", port), 10)
    connection.sendall(
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return connection


async def keep(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.post("/containers", content=body, headers=HEADERS)).status_code in (200, 201)


# Others who write the same container


async def test_many_who_send_the_same_to_a_disk_that_hangs_do_not_wait_for_one_another(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
) -> None:
    monkeypatch.setattr(Backend, "_put", gate.before(Backend._put))
    bench = make_bench(store=str(tmp_path / "store"), store_timeout_s=0.4)
    async with connect(bench) as client:
        began = time.monotonic()
        answers = await asyncio.gather(
            *(client.post("/containers", content=body, headers=HEADERS) for _ in range(16))
        )
        took = time.monotonic() - began
        for answer in answers:
            check_problem(answer, 503, "store-unavailable")
        assert took < 8 * 0.4  # one after the other it would be sixteen times
        gate.opened.set()
        await keep(client, body)
    assert bench.app.state.bbmr.bodies.used == 0


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_who_leaves_while_others_write_is_not_waited_for(
    make_bench: Callable[..., Any],
    listen: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    wait_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
    method: str,
) -> None:
    monkeypatch.setattr(Backend, "_put", gate.before(Backend._put))
    bench = make_bench(store=str(tmp_path / "store"))
    memory, place = bench.app.state.bbmr.bodies, f"/containers/{digest}"
    with listen(bench.app) as port:
        with ask(port, "PUT", place, body) as first:
            assert gate.entered.wait(10)
            assert memory.used == len(body)
            content = body if method == "PUT" else b""
            with ask(port, method, place, content):
                if method == "PUT":
                    wait_for(lambda: memory.used == 2 * len(body))
                time.sleep(0.1)
            gone = f'method="{method}",route="/containers/{{digest}}",status="499"'
            wait_for(lambda: gone in httpx.get(f"http://127.0.0.1:{port}/metrics").text)
            assert memory.used == len(body)
            gate.opened.set()
            assert b" 201 " in first.recv(100)
        assert httpx.get(f"http://127.0.0.1:{port}{place}").content == body


async def test_a_lock_is_free_again_however_the_wait_for_it_ends() -> None:
    locks, late = KeyedLocks(), StoreUnavailableError("late")

    async def fails_with_it(wait: Coroutine[Any, Any, None]) -> None:
        await wait
        raise ClientDisconnect

    with pytest.raises(ClientDisconnect):
        async with locks.hold("a", 1.0, late, fails_with_it):
            raise AssertionError("it was not to be run")
    async with locks.hold("a", 0.01, late):
        with pytest.raises(StoreUnavailableError):
            async with locks.hold("a", 0.01, late):
                raise AssertionError("two are in it")
        async with locks.hold("b", 0.01, late):
            pass
    with pytest.raises(TimeoutError):  # of the block itself, and no matter of the lock
        async with locks.hold("a", 0.01, late):
            raise TimeoutError
    async with locks.hold("a", 0.01, late):
        pass


# The deadline


@pytest.mark.parametrize("step", ["_range", "_size", "_get"])
@pytest.mark.parametrize("cached", [True, False])
async def test_the_deadline_of_a_picture_holds_for_the_store_as_well(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
    step: str,
    cached: bool,
) -> None:
    cache = {"picture_cache": tmp_path / "cache"} if cached else {}
    bench = make_bench(store=str(tmp_path / "store"), deadline_s=0.3, **cache)
    async with connect(bench) as client:
        await keep(client, body)
        with monkeypatch.context() as patch:
            patch.setattr(Backend, step, gate.before(getattr(Backend, step)))
            began = time.monotonic()
            check_problem(await client.get(f"/containers/{digest}/image"), 504, "deadline")
            assert 0.25 < time.monotonic() - began < 3
        assert bench.app.state.bbmr.bodies.used == 0
        gate.opened.set()
        statuses = [(await client.get(f"/containers/{digest}/image")).status_code for _ in range(20)]
        assert set(statuses) <= {200, 504}  # 0.3 s may be little on a busy machine
        assert 200 in statuses


async def test_the_deadline_holds_for_who_waits_for_a_reader(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
) -> None:
    bench = make_bench(deadline_s=0.3)
    with monkeypatch.context() as patch:
        patch.setattr(Container, "from_bytes", gate.before(Container.from_bytes))
        async with connect(bench) as client:
            answers = await asyncio.gather(
                *(
                    client.post("/reconstruct", content=body, headers=HEADERS)
                    for _ in range(shared.READERS + 1)
                )
            )
    for answer in answers:
        check_problem(answer, 504, "deadline")
    assert bench.app.state.bbmr.bodies.used == 0


@pytest.mark.parametrize("route", ["/reconstruct", "/containers/{}/image"])
async def test_the_engine_has_what_reading_leaves_of_the_deadline(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    route: str,
) -> None:
    bench = make_bench(store=str(tmp_path / "store"), deadline_s=20)
    reconstruct, read, deadlines = bench.engine.reconstruct, Container.from_bytes, []

    async def noted(work: Work, deadline_s: float) -> Answer:
        deadlines.append(deadline_s)
        return await reconstruct(work, deadline_s)

    async with connect(bench) as client:
        await keep(client, body)
        monkeypatch.setattr(Container, "from_bytes", lambda *given: (time.sleep(0.2), read(*given))[1])
        monkeypatch.setattr(bench.engine, "reconstruct", noted)
        if route == "/reconstruct":
            answer = await client.post(route, content=body, headers=HEADERS)
        else:
            answer = await client.get(route.format(digest))
    assert answer.status_code == 200
    assert 15 < deadlines[0] <= 19.8


# Clients that leave


@pytest.mark.parametrize("step", ["_range", "_get", "reader"])
def test_who_leaves_while_a_container_is_fetched_is_not_waited_for(
    make_bench: Callable[..., Any],
    listen: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    wait_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
    step: str,
) -> None:
    bench = make_bench(store=str(tmp_path / "store"))
    with listen(bench.app) as port:
        address = f"http://127.0.0.1:{port}"
        assert httpx.post(f"{address}/containers", content=body, headers=HEADERS).status_code == 201
        place = (Container, "from_bytes") if step == "reader" else (Backend, step)
        monkeypatch.setattr(*place, gate.before(getattr(*place)))
        with ask(port, "GET", f"/containers/{digest}/image"):
            assert gate.entered.wait(10)
        gone = 'method="GET",route="/containers/{digest}/image",status="499"'
        wait_for(lambda: gone in httpx.get(f"{address}/metrics").text)
        assert not gate.opened.is_set()
        assert bench.app.state.bbmr.bodies.used == 0


def test_who_leaves_while_another_makes_the_same_picture_is_not_waited_for(
    make_bench: Callable[..., Any],
    listen: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    wait_for: Callable[..., None],
) -> None:
    bench = make_bench(store=str(tmp_path / "store"), picture_cache=tmp_path / "cache")
    place = f"/containers/{digest}/image"
    with listen(bench.app) as port:
        address = f"http://127.0.0.1:{port}"
        assert httpx.post(f"{address}/containers", content=body, headers=HEADERS).status_code == 201
        bench.network.hold()
        with ask(port, "GET", place) as first:
            assert bench.network.entered.wait(10)
            with ask(port, "GET", place):
                time.sleep(0.2)
            gone = 'method="GET",route="/containers/{digest}/image",status="499"'
            wait_for(lambda: gone in httpx.get(f"{address}/metrics").text)
            assert bench.engine.inside == 1
            bench.network.gate.set()
            assert b" 200 " in first.recv(100)


# Readers, and what lies in memory


async def test_headers_are_read_off_the_loop(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, threads = shared.read_header, []

    def noted(*given: Any) -> Header:
        threads.append(threading.current_thread().name)
        return read(*given)

    monkeypatch.setattr(shared, "read_header", noted)
    async with connect(make_bench(store=str(tmp_path / "store"))) as client:
        await keep(client, body)
        assert (await client.head(f"/containers/{digest}/image")).status_code == 200
    assert [name.startswith("bbmr-read") for name in threads] == [True]


@pytest.mark.parametrize("route", ["/reconstruct", "/containers", "/containers/{}/image"])
async def test_a_container_counts_twice_only_while_it_is_read(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    route: str,
) -> None:
    bench = make_bench(store=str(tmp_path / "store"), max_body_bytes=len(body), body_memory_bytes=len(body))
    memory, read, reconstruct = bench.app.state.bbmr.bodies, Container.from_bytes, bench.engine.reconstruct
    reading, later = [], []

    def noted(*given: Any) -> Container:
        reading.append(memory.used)
        return read(*given)

    def noting(work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def note(*given: Any) -> Any:
            later.append(memory.used)
            return await work(*given)

        return note

    async with connect(bench) as client:
        if "image" in route:
            await keep(client, body)
        monkeypatch.setattr(Container, "from_bytes", noted)
        monkeypatch.setattr(bench.engine, "reconstruct", noting(reconstruct))
        monkeypatch.setattr(container_store.ContainerStore, "put", noting(container_store.ContainerStore.put))
        if "image" in route:
            answer = await client.get(route.format(digest))
        else:
            answer = await client.post(route, content=body, headers=HEADERS)
    assert answer.status_code in (200, 201)
    assert reading == [2 * len(body)]
    assert later == [len(body)]
    assert memory.used == 0


async def test_a_container_is_let_go_before_its_file_is_kept(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    tmp_path: Path,
    wait_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, put, made = Container.from_bytes, container_store.ContainerStore.put, []

    def noted(*given: Any) -> Container:
        container = read(*given)
        made.append(weakref.ref(container))
        return container

    async def later(*given: Any) -> bool:
        await asyncio.to_thread(wait_for, lambda: made[0]() is None)  # the reader's thread lets it go last
        return await put(*given)

    monkeypatch.setattr(Container, "from_bytes", noted)
    monkeypatch.setattr(container_store.ContainerStore, "put", later)
    async with connect(make_bench(store=str(tmp_path / "store"))) as client:
        await keep(client, body)
    assert len(made) == 1


@pytest.mark.parametrize("route", ["/reconstruct", "/containers/{}/image"])
async def test_a_file_is_let_go_once_it_is_read(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    route: str,
) -> None:
    from bbmr_server.routes import reconstruct

    let_go = threading.Event()

    class File(bytes):
        def __del__(self) -> None:
            let_go.set()

    read_body, get = reconstruct.read_body, Backend._get

    async def received(*given: Any, **options: Any) -> bytes:
        return File(await read_body(*given, **options))

    def fetched(self: Backend, name: str) -> memoryview:
        found = get(self, name)
        assert found is not None
        return memoryview(File(found))

    bench = make_bench(store=str(tmp_path / "store"))
    async with connect(bench) as client:
        await keep(client, body)
        monkeypatch.setattr(reconstruct, "read_body", received)
        monkeypatch.setattr(Backend, "_get", fetched)
        bench.network.hold()
        if route == "/reconstruct":
            asking = asyncio.ensure_future(client.post(route, content=body, headers=HEADERS))
        else:
            asking = asyncio.ensure_future(client.get(route.format(digest)))
        assert await asyncio.to_thread(bench.network.entered.wait, 10)
        assert await asyncio.to_thread(let_go.wait, 5)
        bench.network.gate.set()
        assert (await asking).status_code == 200
