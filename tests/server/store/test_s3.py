"""The store in a bucket of moto's S3 server, over HTTP: the same behaviour as in a directory."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from bbmr_server.store.backend import Entry
from bbmr_server.store.errors import StoreUnavailableError
from bbmr_server.store.factory import open_bucket
from bbmr_shared.container import Container
from bbmr_shared.errors import UsageError
from tests.server.routes.test_reconstruct import check_problem
from tests.server.store.helpers import HEADERS

pytestmark = pytest.mark.anyio

SECRET = "a-secret-that-nobody-prints"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    for name in ("moto", "flask", "flask_cors", "boto3"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name}, of moto's S3 server, is not installed")
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stderr is not None
            address = next(
                (
                    found[0]
                    for line in server.stderr
                    if (found := re.search(r"http://127\.0\.0\.1:\d+", line))
                ),
                None,
            )
            assert address is not None, "moto's server has not started"
            drain = threading.Thread(target=server.stderr.read, daemon=True)
            drain.start()
            yield address
        finally:
            server.kill()
            server.wait()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`account(endpoint)`: sets the AWS_… variables."""

    def use(endpoint: str) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_REGION", "us-east-1")

    return use


@pytest.fixture
def bucket(endpoint: str, account: Callable[[str], None], request: pytest.FixtureRequest) -> str:
    """A new bucket."""
    import boto3

    name = "containers-" + hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=name)
    account(endpoint)
    return name


async def test_a_container_in_a_bucket(
    make_bench: Callable[..., Any], connect: Any, bucket: str, container: Container, body: bytes, place: str
) -> None:
    async with connect(make_bench(store=f"s3://{bucket}/some/prefix")) as client:
        assert (await client.get(place)).status_code == 404
        assert (await client.put(place, content=body, headers=HEADERS)).status_code == 201
        assert (await client.post("/containers", content=body, headers=HEADERS)).status_code == 200
        got = await client.get(place)
        assert (got.status_code, got.content) == (200, body)
        assert (await client.head(place)).headers["content-length"] == str(len(body))
        part = await client.get(place, headers={"Range": "bytes=8-15"})
        assert (part.status_code, part.content) == (206, body[8:16])
        outside = await client.get(place, headers={"Range": "bytes=9999999-"})
        check_problem(outside, 416, "range-not-satisfiable")
        picture = await client.get(f"{place}/image")
        posted = await client.post("/reconstruct", content=body, headers=HEADERS)
        assert picture.content == posted.content
        tag = picture.headers["etag"]
        assert (await client.get(f"{place}/image", headers={"If-None-Match": tag})).status_code == 304
    async with connect(make_bench(store=f"s3://{bucket}/some/prefix")) as client:  # another server
        assert (await client.get(place)).content == body
        assert (await client.delete(place)).status_code == 204
        check_problem(await client.get(place), 404, "not-found")
        check_problem(await client.delete(place), 404, "not-found")


async def test_the_prefix_keeps_stores_apart(
    make_bench: Callable[..., Any], connect: Any, bucket: str, body: bytes, place: str
) -> None:
    async with (
        connect(make_bench(store=f"s3://{bucket}/one")) as one,
        connect(make_bench(store=f"s3://{bucket}/two/")) as two,
    ):
        await one.put(place, content=body, headers=HEADERS)
        assert (await two.get(place)).status_code == 404


async def test_the_limit_counts_the_containers_in_the_bucket(
    make_bench: Callable[..., Any], connect: Any, bucket: str, body: bytes, place: str
) -> None:
    async with connect(make_bench(store=f"s3://{bucket}")) as client:
        await client.put(place, content=body, headers=HEADERS)
    backend = open_bucket(bucket, "", "BBMR_STORE", 10)
    for number in range(3):
        await backend.put(f"foreign/{number}", b"x")
    entries: list[Entry] = []
    await backend.for_each(entries.append)
    assert sorted(entry.size for entry in entries) == [1, 1, 1, len(body)]
    backend.close()
    room = -(-len(body) // 4096) * 4096
    from PIL import Image

    from bbmr_client.encoding.encoder import encode

    other = encode(Image.new("RGB", (64, 64)), rate=2.0).to_bytes()
    async with connect(make_bench(store=f"s3://{bucket}", store_max_bytes=room)) as client:
        check_problem(
            await client.post("/containers", content=other, headers=HEADERS), 507, "insufficient-storage"
        )
        assert (await client.put(place, content=body, headers=HEADERS)).status_code == 200


async def test_a_container_overwritten_by_others_is_refused(
    make_bench: Callable[..., Any], connect: Any, bucket: str, body: bytes, place: str
) -> None:
    digest = place.rpartition("/")[2]
    backend = open_bucket(bucket, "", "BBMR_STORE", 10)
    await backend.put(f"{digest[:2]}/{digest}.bbmr", body[:-1] + bytes([body[-1] ^ 1]))
    backend.close()
    async with connect(make_bench(store=f"s3://{bucket}")) as client:
        check_problem(await client.get(place), 500, "damaged-container")
        check_problem(await client.get(f"{place}/image"), 500, "damaged-container")


async def test_an_object_larger_than_one_part(bucket: str) -> None:
    data = bytes(range(256)) * (6 << 12)
    backend = open_bucket(bucket, "", "BBMR_STORE", 30)
    await backend.put("large", data)
    assert await backend.get("large") == data
    assert await backend.sha256("large") == hashlib.sha256(data).hexdigest()
    assert await backend.range("large", len(data) - 5, 100) == data[-5:]
    await backend.delete("large")
    await backend.delete("large")
    assert await backend.size("large") is None
    backend.close()


async def test_more_objects_than_one_page_are_listed(bucket: str) -> None:
    backend = open_bucket(bucket, "", "BBMR_STORE", 30)
    for number in range(1005):
        await backend.put(f"aa/{number}", b"x")
    entries: list[Entry] = []
    await backend.for_each(entries.append)
    assert len(entries) == 1005
    backend.close()


def test_a_process_that_used_a_bucket_exits_cleanly(bucket: str) -> None:
    """obstore's asyncio functions end a process with SIGABRT if they were used just before the exit."""
    script = (
        "import asyncio, sys\n"
        "from bbmr_server.store.factory import open_bucket\n"
        "backend = open_bucket(sys.argv[1], '', 'BBMR_STORE', 10)\n"
        "async def main():\n"
        "    for number in range(5):\n"
        "        await backend.put(f'x/{number}', bytes(100_000))\n"
        "        await backend.get(f'x/{number}')\n"
        "        await backend.size('missing')\n"
        "asyncio.run(main())\n"
        "backend.close()\n"
    )
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", script, bucket], capture_output=True, timeout=60)
        assert (ended.returncode, ended.stderr) == (0, b"")


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("fault", ["no bucket", "nobody there", "no answer"])
async def test_a_service_that_fails(
    make_bench: Callable[..., Any],
    connect: Any,
    endpoint: str,
    account: Callable[[str], None],
    body: bytes,
    place: str,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    with contextlib.ExitStack() as stack:
        if fault == "no answer":
            account(stack.enter_context(silent_server()))
        else:
            account(endpoint if fault == "no bucket" else closed_port())
        bench = make_bench(store="s3://there-is-none", store_timeout_s=1.0)
        async with connect(bench) as client:
            began = time.monotonic()
            for method, path in (("PUT", place), ("GET", place), ("GET", f"{place}/image")):
                answer: httpx.Response = await client.request(method, path, content=body, headers=HEADERS)
                if (fault, method) == ("no bucket", "GET"):
                    check_problem(answer, 404, "not-found")
                else:
                    check_problem(answer, 503, "store-unavailable")
                    assert "retry-after" in answer.headers
                assert SECRET not in answer.text
                assert "AKIAEXAMPLE" not in answer.text
            assert time.monotonic() - began < 30
            assert (await client.post("/reconstruct", content=body, headers=HEADERS)).status_code == 200
    assert "store: cannot" in caplog.text
    assert SECRET not in caplog.text


async def test_plain_http_is_used_only_where_the_endpoint_says_so(
    account: Callable[[str], None], endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account("https" + endpoint.removeprefix("http"))
    backend = open_bucket("containers", "", "BBMR_STORE", 2)
    with pytest.raises(StoreUnavailableError):  # TLS with a server that speaks plain HTTP
        await backend.put("x", b"x")
    backend.close()


def test_an_invalid_variable_is_reported(
    account: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    account("http://127.0.0.1:1")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "perhaps")
    with pytest.raises(UsageError, match="BBMR_STORE") as refusal:
        open_bucket("containers", "", "BBMR_STORE", 2)
    assert SECRET not in str(refusal.value)
