"""The HTTP client: what it sends, what it accepts, and what it makes of every other answer. Sync and async alike."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from bbmr_client import AsyncClient, Client, ModelInfo, Timeouts
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.errors import (
    BadAnswerError,
    ServerRefusedError,
    ServerTimeoutError,
    ServerUnreachableError,
    UsageError,
)
from tests.client.http.scripted import png

Serve = Callable[[Callable[[BaseHTTPRequestHandler, bytes], None]], str]


def call(
    kind: str,
    url: str,
    method: str,
    *arguments: Any,
    timeout: Any = 10,
    retries: Any = 0,
    **options: Any,
) -> Any:
    """One method call of the sync or the async client."""
    if kind == "sync":
        with Client(url, timeout, retries=retries) as client:
            return getattr(client, method)(*arguments, **options)

    async def run() -> Any:
        async with AsyncClient(url, timeout, retries=retries) as client:
            return await getattr(client, method)(*arguments, **options)

    return asyncio.run(run())


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestSent:
    def test_the_picture_comes_back(self, kind: str, composite_server: str, container: Container) -> None:
        picture = call(kind, composite_server, "reconstruct", container)
        assert np.array_equal(np.asarray(picture), np.asarray(preview(container)))

    def test_bytes_are_sent_as_they_are(self, kind: str, composite_server: str, container: Container) -> None:
        picture = call(kind, composite_server, "reconstruct", container.to_bytes())
        assert picture.size == (container.width, container.height)

    @pytest.mark.parametrize("packed", [bytearray, memoryview])
    def test_whatever_holds_bytes(
        self, kind: str, composite_server: str, container: Container, packed: Callable[[bytes], Any]
    ) -> None:
        picture = call(kind, composite_server, "reconstruct", packed(container.to_bytes()))
        assert picture.size == (container.width, container.height)

    def test_a_region(self, kind: str, composite_server: str, container: Container) -> None:
        picture = call(kind, composite_server, "reconstruct", container, region=(30, 40, 50, 60))
        whole = np.asarray(preview(container))
        assert np.array_equal(np.asarray(picture), whole[40:100, 30:80])

    @pytest.mark.parametrize("format", ["png", "webp", "avif", "jpeg"])
    def test_every_format(self, kind: str, format: str, composite_server: str, container: Container) -> None:
        answer = call(kind, composite_server, "reconstruct_bytes", container, format)
        assert answer.mime == f"image/{format}"
        with Image.open(io.BytesIO(answer.data)) as picture:
            assert picture.format == format.upper()

    def test_the_request_is_what_the_interface_says(self, container: Container) -> None:
        seen: list[httpx.Request] = []

        def respond(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return httpx.Response(200, content=png(5, 6), headers={"Content-Type": "image/png"})

        with Client(
            "https://host:1/base/", api_key="secret", transport=httpx.MockTransport(respond)
        ) as client:
            client.reconstruct(container, region=(1, 2, 5, 6), model="light")
        (request,) = seen
        assert request.method == "POST"
        assert request.url.copy_with(query=None) == "https://host:1/base/reconstruct"
        assert dict(request.url.params) == {"region": "1,2,5,6", "model": "light"}
        assert request.headers["Content-Type"] == "application/vnd.bbmr"
        assert request.headers["Accept"] == "image/png"
        assert request.headers["Authorization"] == "Bearer secret"
        assert request.read() == container.to_bytes()

    def test_a_transport_that_cannot_be_awaited(self) -> None:
        with pytest.raises(UsageError, match="AsyncBaseTransport"):
            Client("http://host", transport=httpx.HTTPTransport())  # type: ignore[arg-type]

    def test_models_and_readiness(self, kind: str, serve: Serve, reply: Callable[..., None]) -> None:
        light = {"name": "light", "architecture": "JointSR/light", "parameters": 1, "bytes": 2, "sha256": "a"}
        document = {"default": "light", "models": [light, {"name": "omnisr", "card": {"of": "tomorrow"}}]}

        def handler(request: BaseHTTPRequestHandler, body: bytes) -> None:
            if request.path == "/models":
                reply(request, 200, "application/json", json.dumps(document).encode())
            else:
                reply(request, 503, "application/problem+json", b'{"title": "not ready"}')

        url = serve(handler)
        first, second = call(kind, url, "models")
        assert first == ModelInfo("light", True, "JointSR/light", 1, 2, "a", light)
        assert second == ModelInfo("omnisr", details={"name": "omnisr", "card": {"of": "tomorrow"}})
        assert call(kind, url, "ready") is False

    @pytest.mark.parametrize(
        "document",
        [
            [],
            {},
            {"models": {}},
            {"models": [1]},
            {"models": [{}]},
            {"models": [{"name": "a", "bytes": "b"}]},
        ],
    )
    def test_models_of_another_structure(
        self, serve: Serve, reply: Callable[..., None], document: object
    ) -> None:
        url = serve(
            lambda request, body: reply(request, 200, "application/json", json.dumps(document).encode())
        )
        with pytest.raises(BadAnswerError, match=url):
            call("sync", url, "models")

    @pytest.mark.parametrize(
        "region", [(1, 2, 3), (0, 0, 1.5, 2), (0, 0, 0, 5), (-1, 0, 5, 5), "0,0,5,5", 5, (0, 0, None, 1)]
    )
    def test_a_region_that_is_none(self, kind: str, container: Container, region: Any) -> None:
        with pytest.raises(UsageError, match="region"):
            call(kind, "http://127.0.0.1:9", "reconstruct", container, region=region)

    def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
        self, kind: str, composite_server: str, container: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        assert call(kind, composite_server, "reconstruct", container).size == (300, 200)

    @pytest.mark.parametrize(
        ("variable", "value"),
        [("ALL_PROXY", "socks5://host"), ("HTTP_PROXY", "foo://bar"), ("SSL_CERT_FILE", "/nonexistent")],
    )
    def test_a_server_on_this_machine_needs_nothing_of_the_environment(
        self,
        kind: str,
        composite_server: str,
        container: Container,
        monkeypatch: pytest.MonkeyPatch,
        variable: str,
        value: str,
    ) -> None:
        monkeypatch.setenv(variable, value)
        assert call(kind, composite_server, "reconstruct", container).size == (300, 200)
        with pytest.raises(UsageError, match=variable):
            call(kind, "https://bbmr.invalid", "models")

    @pytest.mark.parametrize(
        "address",
        [
            "",
            "localhost",
            "http:8000",
            "host:port",
            "ftp://host",
            "http://",
            "http://h/?a=b",
            "http://[",
            "//h",
        ],
    )
    def test_an_address_that_is_none(self, address: str) -> None:
        with pytest.raises(UsageError, match="http://host:port"):
            Client(address)

    @pytest.mark.parametrize(
        ("address", "url"),
        [
            ("127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("localhost:8000/base/", "http://localhost:8000/base"),
            ("[::1]:8000", "http://[::1]:8000"),
        ],
    )
    def test_host_and_port_alone_mean_http(self, address: str, url: str) -> None:
        assert repr(Client(address)) == f"Client({url})"

    @pytest.mark.parametrize("address", ["user:secret@host:8000", "ftp://user:secret@host", "//u:secret@h"])
    def test_nor_where_it_is_no_address(self, address: str) -> None:
        with pytest.raises(UsageError, match="is not the address of a server") as caught:
            Client(address)
        assert "secret" not in str(caught.value)

    def test_a_password_in_the_address_is_not_shown(self, container: Container) -> None:
        with (
            Client("http://me:hidden@127.0.0.1:9", 5, retries=0) as client,
            pytest.raises(ServerUnreachableError) as caught,
        ):
            client.reconstruct(container)
        assert "hidden" not in str(caught.value)

    @pytest.mark.parametrize("key", ["a b", "ä", "a\nb"])
    def test_a_key_that_no_header_can_carry(self, key: str) -> None:
        with pytest.raises(UsageError):
            Client("http://host", api_key=key)

    @pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e300])
    def test_a_timeout_that_is_none(self, timeout: float) -> None:
        with pytest.raises(UsageError, match="positive"):
            Client("http://host", timeout)

    def test_every_step_needs_a_real_timeout(self) -> None:
        with pytest.raises(UsageError, match="positive"):
            Timeouts(total=float("inf"))


class TestAnswers:
    """Each case: (status, media type, body, further headers), the error, and words of its message."""

    CASES = {  # noqa: RUF012
        "HTML": ((200, "text/html", b"<html>welcome"), "answered text/html instead of image/png"),
        "HTML of a proxy": ((502, "text/html", b"<html>bad"), "answered 502 Bad Gateway with text/html"),
        "no content type": ((200, "", b"x"), "answered no content type"),
        "another picture format": ((200, "image/jpeg", b"x"), "instead of image/png"),
        "nothing": ((200, "image/png", b""), "0 bytes"),
        "no PNG": ((200, "image/png", b"words"), "not a readable picture"),
        "another size": ((200, "image/png", png(10, 10)), "10×10, not 300×200"),
        "a cut picture": ((200, "image/png", png(300, 200)[:-60]), "cut short"),
        "a redirect": ((302, "text/html", b""), "302 Found"),
        "JSON that is no problem": ((500, "application/json", b"{}"), "500 Internal Server Error"),
        "a broken problem": ((500, "application/problem+json", b"{"), "broken problem document"),
        "an endless problem": ((500, "application/problem+json", b"[" * 70_000), "answer"),
        "a nested problem": ((500, "application/problem+json", b"[" * 60_000), "broken problem document"),
        "an unknown status": ((299, "image/png", png(300, 200)), "299"),
    }

    @pytest.mark.parametrize("case", CASES)
    def test_bad(
        self, kind: str, case: str, serve: Serve, reply: Callable[..., None], container: Container
    ) -> None:
        parts, words = self.CASES[case]
        url = serve(lambda request, body: reply(request, *parts))
        with pytest.raises(BadAnswerError) as caught:
            call(kind, url, "reconstruct", container)
        assert words in str(caught.value)
        assert url in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_redirect_is_told_and_not_followed(
        self, kind: str, serve: Serve, reply: Callable[..., None], container: Container
    ) -> None:
        location = "https://me:hidden@other.example:1/base?key=hidden"
        url = serve(lambda request, body: reply(request, 301, "text/html", b"", Location=location))
        with pytest.raises(BadAnswerError) as caught:
            call(kind, url, "reconstruct", container)
        assert "301 Moved Permanently and redirects to https://other.example:1/base:" in str(caught.value)
        assert "hidden" not in str(caught.value)

    def test_an_encoding_nobody_asked_for(
        self, kind: str, serve: Serve, reply: Callable[..., None], container: Container
    ) -> None:
        url = serve(
            lambda request, body: reply(request, 200, "image/png", b"x" * 20, Content_Encoding="gzip")
        )
        with pytest.raises(BadAnswerError, match="encoding"):
            call(kind, url, "reconstruct", container)

    def test_too_large_by_its_header(
        self, kind: str, serve: Serve, reply: Callable[..., None], container: Container
    ) -> None:
        url = serve(
            lambda request, body: reply(request, 200, "image/png", b"x", Content_Length="99999999999")
        )
        with pytest.raises(BadAnswerError, match="announced 99999999999 bytes"):
            call(kind, url, "reconstruct", container)

    def test_too_large_without_saying_so(self, kind: str, serve: Serve, container: Container) -> None:
        sent = []

        def handler(request: BaseHTTPRequestHandler, body: bytes) -> None:
            request.send_response(200)
            request.send_header("Content-Type", "image/png")
            request.end_headers()
            while True:  # until the client hangs up
                sent.append(request.wfile.write(bytes(1 << 20)))

        with pytest.raises(BadAnswerError, match="more than the"):
            call(kind, serve(handler), "reconstruct", container)
        assert sum(sent) < 64 << 20

    def test_a_problem_is_told_in_its_own_words(
        self, kind: str, serve: Serve, reply: Callable[..., None], container: Container
    ) -> None:
        problem = {
            "type": "urn:bbmr:problem:unknown-model",
            "title": "No such weights",
            "detail": "try \x1b[31mlight\n",
        }
        url = serve(
            lambda request, body: reply(
                request, 422, "application/problem+json", json.dumps(problem).encode(), Retry_After="7"
            )
        )
        with pytest.raises(ServerRefusedError) as caught:
            call(kind, url, "reconstruct", container, model="none")
        assert str(caught.value) == (f"{url} refused (422): No such weights: try [31mlight; try again in 7 s")
        assert caught.value.problem == problem
        assert caught.value.status_code == 422

    def test_a_long_problem_is_cut(
        self, serve: Serve, reply: Callable[..., None], container: Container
    ) -> None:
        body = json.dumps({"title": "t" * 5000}).encode()
        url = serve(lambda request, _: reply(request, 400, "application/problem+json", body))
        with pytest.raises(ServerRefusedError) as caught:
            call("sync", url, "reconstruct", container)
        assert len(str(caught.value)) < 700


class TestConnections:
    def test_nobody_there(self, kind: str, container: Container) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
            with pytest.raises(ServerUnreachableError, match=f"no server at {url}.*bbmr-server"):
                call(kind, url, "reconstruct", container)

    def test_no_answer_in_time(self, kind: str, container: Container) -> None:
        with silent_server() as url:
            started = time.monotonic()
            with pytest.raises(ServerTimeoutError, match=r"did not answer within 0\.3 s.*--timeout"):
                call(kind, url, "reconstruct", container, timeout=0.3)
            assert time.monotonic() - started < 5

    def test_silence(self, kind: str, container: Container) -> None:
        with silent_server() as url, pytest.raises(ServerTimeoutError, match=r"did not answer within 0\.1 s"):
            call(kind, url, "reconstruct", container, timeout=Timeouts(read=0.1))

    def test_an_upload_that_nobody_takes(self, kind: str) -> None:
        with silent_server() as url, pytest.raises(ServerTimeoutError, match="did not take the container"):
            call(kind, url, "reconstruct", bytes(32 << 20), timeout=Timeouts(write=0.2))

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets connections to a full backlog wait")
    def test_a_connection_that_is_not_accepted(self, kind: str, container: Container) -> None:
        with socket.socket() as listener, contextlib.ExitStack() as opened:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(4):
                waiting = opened.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with pytest.raises(ServerTimeoutError, match=r"did not accept a connection within 0\.2 s"):
                call(kind, url, "reconstruct", container, timeout=Timeouts(connect=0.2))

    def test_more_requests_than_connections(self, container: Container) -> None:
        async def run(url: str) -> BaseException:
            async with AsyncClient(url, Timeouts(pool=0.1, read=3), retries=0) as client:
                tasks = [asyncio.create_task(client.reconstruct(container)) for _ in range(101)]
                done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in others:
                    task.cancel()
                await asyncio.gather(*others, return_exceptions=True)
                return done.pop().exception() or AssertionError("it was answered")

        with silent_server() as url:
            error = asyncio.run(run(url))
        assert isinstance(error, ServerTimeoutError)
        assert "more requests at once than connections" in str(error)

    def test_an_answer_that_trickles(self, kind: str, serve: Serve, container: Container) -> None:
        """Each silence is short, so only the limit on the whole exchange ends it."""

        def handler(request: BaseHTTPRequestHandler, body: bytes) -> None:
            request.send_response(200)
            request.send_header("Content-Type", "image/png")
            request.end_headers()
            for _ in range(200):
                request.wfile.write(b".")
                time.sleep(0.05)

        timeouts = Timeouts(read=5, total=0.4)
        started = time.monotonic()
        with pytest.raises(ServerTimeoutError, match=r"did not finish its answer within 0\.4 s"):
            call(kind, serve(handler), "reconstruct", container, timeout=timeouts)
        assert time.monotonic() - started < 5

    @pytest.mark.parametrize(
        ("start", "piece"),
        [(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"), (b"", b"HTTP/1.1 102 Processing\r\n\r\n")],
    )
    def test_a_head_that_trickles(self, kind: str, container: Container, start: bytes, piece: bytes) -> None:
        """No read waits long, and no head ever ends."""
        started = time.monotonic()
        with (
            trickling_server([start + piece, *[piece] * 40]) as url,
            pytest.raises(ServerTimeoutError, match=r"did not answer within 1\.5 s.*--timeout"),
        ):
            call(kind, url, "reconstruct", container, timeout=1.5)
        assert time.monotonic() - started < 4

    def test_a_body_without_a_length_is_not_taken_for_whole_at_the_deadline(
        self, kind: str, container: Container
    ) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + png(300, 200)
        with trickling_server([head, *[b"."] * 40]) as url, pytest.raises(ServerTimeoutError):
            call(kind, url, "reconstruct", container, timeout=0.8)

    def test_an_upload_that_is_taken_slowly(self, kind: str) -> None:
        """Each write moves on, and the whole would take minutes."""
        started = time.monotonic()
        with (
            trickling_server([], takes=40) as url,
            pytest.raises(ServerTimeoutError, match=r"within 1\.5 s"),
        ):
            call(kind, url, "reconstruct", bytes(64 << 20), timeout=1.5)
        assert time.monotonic() - started < 4

    def test_an_answer_that_breaks_off(self, kind: str, serve: Serve, container: Container) -> None:
        def handler(request: BaseHTTPRequestHandler, body: bytes) -> None:
            request.send_response(200)
            request.send_header("Content-Type", "image/png")
            request.send_header("Content-Length", "1000")
            request.end_headers()
            request.wfile.write(b"half")
            request.close_connection = True

        with pytest.raises((BadAnswerError, ServerUnreachableError)):
            call(kind, serve(handler), "reconstruct", container)

    def test_something_that_is_no_http(self, kind: str, container: Container) -> None:
        with raw_server(b"220 mail ready\r\n") as url, pytest.raises(BadAnswerError, match="HTTP"):
            call(kind, url, "reconstruct", container)


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def trickling_server(pieces: list[bytes], takes: int = 1) -> Iterator[str]:
    """Reads `takes` times 32 KiB and says `pieces`, with 0.3 s after each, until the client has gone."""
    gone = threading.Event()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def talk() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                for _ in range(takes):
                    connection.recv(32 << 10)
                    if takes > 1 and gone.wait(0.3):
                        return
                for piece in pieces:
                    connection.sendall(piece)
                    if gone.wait(0.3):
                        return

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        gone.set()
        thread.join(5)


@contextmanager
def raw_server(words: bytes) -> Iterator[str]:
    """Says the same to the first that comes, whatever it wants."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(words)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(5)
                with suppress(
                    OSError
                ):  # closed with bytes unread, the connection would be reset over the answer
                    while connection.recv(1 << 16):
                        pass

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5)
