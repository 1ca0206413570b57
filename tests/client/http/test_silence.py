"""Servers that are absent, slow or silent, and connections that break: the error, and that it comes in time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler

import pytest

from bbmr_client import AsyncClient, Timeouts
from bbmr_shared.container import Container
from bbmr_shared.errors import (
    BadAnswerError,
    ServerTimeoutError,
    ServerUnreachableError,
)
from tests.client.http.call import Serve, call
from tests.client.http.scripted import png


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
        """Each pause is short, so only the limit on the whole exchange ends it."""

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
        """No read waits long, and the headers never end."""
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
        """Each write succeeds, and the whole upload would take minutes."""
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
    """Accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def trickling_server(pieces: list[bytes], takes: int = 1) -> Iterator[str]:
    """Reads `takes` times 32 KiB and sends `pieces`, 0.3 s apart, until the client has closed the connection."""
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
    """Sends `words` to its first client, whatever the request."""
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
