"""The store and the cache when something fails: full disks, damaged files, a directory that fails, killed servers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_server.store.backend import Backend
from bbmr_server.store.errors import StoreUnavailableError
from bbmr_server.store.factory import open_directory
from tests.server.conftest import written
from tests.server.routes.test_reconstruct import check_problem
from tests.server.store.helpers import HEADERS, files_in, keep

pytestmark = pytest.mark.anyio


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here (that takes root)")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill_disk(disk: Path, leave: int = 0) -> Path:
    """Writes until the disk is full, then frees `leave` bytes. Returns the file."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    os.truncate(ballast, max(0, ballast.stat().st_size - leave))
    return ballast


async def test_a_full_disk_refuses_and_leaves_nothing_half_written(
    make_bench: Callable[..., Any], connect: Any, body: bytes, small_disk: Path
) -> None:
    store = small_disk / "store"
    first = encode(Image.new("RGB", (64, 64), (9, 9, 9)), rate=2.0).to_bytes()
    async with connect(make_bench(store=str(store))) as client:
        assert (await keep(client, first)).status_code == 201
        ballast = fill_disk(small_disk, leave=8192)
        check_problem(await keep(client, body), 507, "insufficient-storage")
        assert [path.read_bytes() for path in files_in(store)] == [first]
        place = f"/containers/{hashlib.sha256(first).hexdigest()}"
        assert (await client.get(place)).content == first
        picture = await client.get(f"{place}/image")
        assert picture.status_code == 200
        ballast.unlink()
        assert (await keep(client, body)).status_code == 201


async def test_a_full_disk_of_the_cache_fails_no_request(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    digest: str,
    small_disk: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache = small_disk / "cache"
    bench = make_bench(store=str(tmp_path / "store"), picture_cache=cache)
    async with connect(bench) as client:
        await keep(client, body)
        ballast = fill_disk(small_disk)
        caplog.set_level(logging.WARNING, "bbmr_server")
        for side in (100, 110, 120, 120):
            answer = await client.get(f"/containers/{digest}/image?max_side={side}")
            assert answer.status_code == 200
            assert answer.headers["server-timing"] != "cache"
            await written(bench)
        assert files_in(cache) == []
        lines = [record.getMessage() for record in caplog.records]
        cause = f"cannot write in the directory {cache}: No space left on device (os error 28)"
        once = "it is skipped until it works again"
        # No line is about the store, and none has the words of the library.
        assert set(lines) == {f"picture cache: {cause}", f"picture cache: {once}"}
        assert sum(once in line for line in lines) == 1
        page = (await client.get("/metrics")).text
        assert 'bbmr_cache_requests_total{outcome="error"} 4.0' in page
        ballast.unlink()
        await client.get(f"/containers/{digest}/image?max_side=120")
        await written(bench)
        again = await client.get(f"/containers/{digest}/image?max_side=120")
        assert again.headers["server-timing"] == "cache"


@pytest.mark.parametrize("damage", ["changed", "cut", "emptied", "replaced"])
async def test_a_container_damaged_on_the_disk_gives_no_picture(
    make_bench: Callable[..., Any], connect: Any, body: bytes, digest: str, tmp_path: Path, damage: str
) -> None:
    store = tmp_path / "store"
    async with connect(make_bench(store=str(store))) as client:
        await keep(client, body)
        (path,) = files_in(store)
        middle = len(body) // 2
        other = encode(Image.new("RGB", (64, 64), (9, 9, 9)), rate=2.0).to_bytes()
        path.write_bytes(
            {
                "changed": body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :],
                "cut": body[:middle],
                "emptied": b"",
                "replaced": other,  # a valid container, but another one
            }[damage]
        )
        check_problem(await client.get(f"/containers/{digest}/image"), 500, "damaged-container")
        check_problem(await client.get(f"/containers/{digest}/image?max_side=9"), 500, "damaged-container")
        if damage != "emptied":
            check_problem(await client.get(f"/containers/{digest}"), 500, "damaged-container")
        mended = await client.put(f"/containers/{digest}", content=body, headers=HEADERS)
        assert mended.status_code == 201
        assert (await client.get(f"/containers/{digest}")).content == body
        assert (await client.get(f"/containers/{digest}/image")).status_code == 200
        assert [path.read_bytes() for path in files_in(store)] == [body]


@pytest.mark.parametrize("cache", [True, False])
async def test_a_late_write_does_not_stay_in_a_cache(tmp_path: Path, cache: bool) -> None:
    backend = open_directory(tmp_path, "BBMR_STORE", 0.1, cache=cache)
    gate, put = threading.Event(), backend._put
    backend._put = lambda name, data: (gate.wait(60), put(name, data))[1]  # type: ignore[method-assign,func-returns-value]
    with pytest.raises(StoreUnavailableError):
        await backend.put("aa/picture", b"late")
    gate.set()
    await asyncio.to_thread(backend._threads.shutdown)
    assert len(files_in(tmp_path)) == (0 if cache else 1)  # a store counts its files again


async def test_leftovers_are_deleted_at_once_in_a_cache_and_later_in_a_store(tmp_path: Path) -> None:
    for cache in (True, False):
        folder = tmp_path / str(cache)
        (folder / "aa").mkdir(parents=True)
        (folder / "aa" / "name#1").write_bytes(b"half")
        backend = open_directory(folder, "BBMR_STORE", 5, cache=cache)
        await backend.for_each(lambda _: None)
        assert bool(files_in(folder)) == (not cache)
        backend.close()


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_failing_store_answers_503(
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    digest: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    hangs: bool,
) -> None:
    def broken(*_: object) -> None:
        if hangs:
            time.sleep(0.5)
        raise OSError(5, "Input/output error")

    settings = {"store": str(tmp_path / "store"), "store_timeout_s": 0.1 if hangs else 10}
    async with connect(make_bench(**settings)) as client:
        await keep(client, body)
        for name in ("_put", "_get", "_range", "_size", "_delete"):
            monkeypatch.setattr(Backend, name, broken)
        for method, path in (
            ("PUT", f"/containers/{digest}"),
            ("POST", "/containers"),
            ("GET", f"/containers/{digest}"),
            ("GET", f"/containers/{digest}/image"),
            ("DELETE", f"/containers/{digest}"),
        ):
            answer = await client.request(method, path, content=body, headers=HEADERS)
            check_problem(answer, 503, "store-unavailable")
            assert int(answer.headers["retry-after"]) > 0
        assert (await client.get("/healthz")).status_code == 200
        reconstructed = await client.post("/reconstruct", content=body, headers=HEADERS)
        assert reconstructed.status_code == 200
        monkeypatch.undo()
        assert (await client.get(f"/containers/{digest}")).content == body
    assert any("store: cannot" in record.getMessage() for record in caplog.records)


async def test_half_written_files_of_killed_servers_are_deleted(
    make_bench: Callable[..., Any], connect: Any, body: bytes, digest: str, tmp_path: Path
) -> None:
    folder = tmp_path / "store" / digest[:2]
    folder.mkdir(parents=True)
    old, young = folder / f"{digest}.bbmr#1", folder / f"{digest}.bbmr#2"
    for path in (old, young):
        path.write_bytes(body[:100])
    os.utime(old, (time.time() - 7200,) * 2)
    foreign = tmp_path / "store" / "notes.txt"
    foreign.write_text("mine")
    async with connect(make_bench(store=str(tmp_path / "store"))) as client:
        assert (await client.get(f"/containers/{digest}")).status_code == 404
        assert (await keep(client, body)).status_code == 201
        assert (await client.get(f"/containers/{digest}")).content == body
    assert not old.exists()
    assert young.exists()
    assert foreign.read_text() == "mine"


async def test_a_server_killed_while_it_writes_leaves_no_broken_container(
    tmp_path: Path, body: bytes, digest: str, make_bench: Callable[..., Any], connect: Any
) -> None:
    script = (
        "import asyncio, os, sys, threading\n"
        "from pathlib import Path\n"
        "from bbmr_server.store.factory import open_directory\n"
        "backend = open_directory(Path(sys.argv[1]), 'BBMR_STORE', 10)\n"
        "threading.Timer(0.2, lambda: os.kill(os.getpid(), 9)).start()\n"
        "async def main():\n"
        "    while True:\n"
        "        await backend.put(sys.argv[2], bytes(8 << 20))\n"
        "asyncio.run(main())\n"
    )
    store = tmp_path / "store"
    name = f"{digest[:2]}/{digest}.bbmr"
    ended = subprocess.run([sys.executable, "-c", script, str(store), name], capture_output=True, timeout=60)
    assert ended.returncode == -9
    path = store / name
    assert not path.exists() or path.stat().st_size == 8 << 20


async def test_backend_errors_name_the_place_only_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from bbmr_server.store.factory import open_directory

    backend = open_directory(tmp_path / "store", "BBMR_STORE", 10)
    (tmp_path / "store" / "ab").write_text("a file where a directory should be")
    with pytest.raises(StoreUnavailableError) as refusal:
        await backend.put("ab/x.bbmr", b"x")
    assert str(tmp_path) not in str(refusal.value)
    assert str(tmp_path / "store") in caplog.text
    backend.close()
