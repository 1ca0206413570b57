"""Over a real socket: a request that is not HTTP is answered, logged and counted; then the connection ends."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request

from bbmr_server.http.protocol import MAX_HEAD_BYTES
from bbmr_shared.container import MEDIA_TYPE

from .test_protocol import PROBE, connection, read_answer, request, seconds_until_closed

SECRET = b"a-visitors-key-77d1"
GET = b"GET /healthz HTTP/1.1\r\n"
HOST = b"Host: x\r\n"
CHUNKED = (
    f"POST /reconstruct HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\n"
    "X-Request-ID: of-the-client\r\nTransfer-Encoding: chunked\r\n\r\n"
).encode()
UNREADABLE = {
    "a word": b"HELLO\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no version": b"GET /healthz\r\n\r\n",
    "24 digits": b"POST /reconstruct HTTP/1.1\r\nHost: x\r\nContent-Length: 123456789012345678901234\r\n\r\n",
    "a negative length": b"POST /reconstruct HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "two lengths": GET + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "no host": GET + b"\r\n",
    "two hosts": GET + HOST + HOST + b"\r\n",
    "a header without a colon": GET + HOST + b"Authorization Bearer " + SECRET + b"\r\n\r\n",
    "a coding nobody knows": GET + HOST + b"Transfer-Encoding: zip\r\n\r\n",
}


@pytest.fixture
def access(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """Returns a function that returns the fields of all access log lines so far."""
    caplog.set_level(logging.INFO)
    return lambda: [line.fields for line in caplog.records if line.name == "bbmr_server.access"]  # type: ignore[attr-defined]


def refusal(made: socket.socket, status: int, slug: str) -> dict[str, Any]:
    """Returns the problem document, after checking that the answer is complete."""
    got, head, body = read_answer(made)
    document: dict[str, Any] = json.loads(body)
    assert (got, document["status"], document["type"]) == (status, status, f"urn:bbmr:problem:{slug}")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert fields[b"content-type"] == b"application/problem+json"
    assert fields[b"connection"] == b"close"
    assert fields[b"x-request-id"].decode() == document["request_id"]
    return document


@pytest.mark.parametrize("sent", UNREADABLE.values(), ids=UNREADABLE)
def test_bytes_that_are_not_http_are_answered_logged_and_counted(
    make_bench: Callable[..., Any],
    listen: Any,
    access: Callable[[], list[dict[str, Any]]],
    wait_for: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
) -> None:
    bench = make_bench()
    with listen(bench.app) as port:
        with connection(port) as made:
            made.sendall(sent)
            document = refusal(made, 400, "malformed-request")
        wait_for(access)
        metrics = bench.app.state.bbmr.metrics.render().decode()
    assert document["detail"].isprintable()
    (line,) = access()
    assert line["status"] == 400
    assert (line["request_id"], line["problem"]) == (document["request_id"], "malformed-request")
    assert 'bbmr_requests_total{method="other",route="other",status="400"} 1.0' in metrics
    assert 'bbmr_problems_total{problem="malformed-request"} 1.0' in metrics
    assert SECRET.decode() not in document["detail"] + caplog.text + str(line)
    assert [record.name for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_the_connection_ends_after_a_malformed_request(make_bench: Callable[..., Any], listen: Any) -> None:
    with listen(make_bench().app) as port, connection(port) as made:
        made.sendall(UNREADABLE["a word"] + PROBE)
        refusal(made, 400, "malformed-request")
        assert seconds_until_closed(made, bytes(100)) < 4


def test_a_client_that_has_closed_its_side_is_answered(make_bench: Callable[..., Any], listen: Any) -> None:
    with listen(make_bench().app) as port, connection(port) as made:
        made.sendall(UNREADABLE["a word"])
        made.shutdown(socket.SHUT_WR)
        refusal(made, 400, "malformed-request")
        assert made.recv(1) == b""


@pytest.mark.parametrize("together", [True, False], ids=["in one go", "apart"])
def test_the_second_request_of_a_connection_may_be_malformed(
    make_bench: Callable[..., Any], listen: Any, together: bool
) -> None:
    with listen(make_bench().app) as port, connection(port) as made:
        made.sendall(PROBE + UNREADABLE["a word"] if together else PROBE)
        data = b""
        while b'"ok"' not in data:
            data += made.recv(1)
        assert data.startswith(b"HTTP/1.1 200 OK")
        while not data.endswith(b"}"):
            data += made.recv(1)
        if not together:
            made.sendall(UNREADABLE["a word"])
        refusal(made, 400, "malformed-request")


def test_a_head_may_have_64_kib(make_bench: Callable[..., Any], listen: Any) -> None:
    """However TCP cuts it into pieces."""
    assert MAX_HEAD_BYTES == 65536
    start, end = GET + HOST + b"X-Long: ", b"\r\n\r\n"
    room = MAX_HEAD_BYTES - len(start) - len(end)
    with listen(make_bench().app) as port:
        for length, pause in (
            (room, 0),
            (room, 1),
            (room + 1, 0),
            (room + 1, 1),
            (100_000, 0),
            (1_000_000, 0),
        ):
            head = start + b"a" * length + end
            with connection(port) as made:
                made.sendall(head[: -2 * pause or None])
                if pause:
                    with contextlib.suppress(TimeoutError):
                        made.settimeout(0.2)
                        made.recv(1, socket.MSG_PEEK)
                    made.settimeout(10)
                    made.sendall(head[-2:])
                if length <= room:
                    assert read_answer(made)[0] == 200
                else:
                    assert "65536 bytes" in refusal(made, 431, "head-too-large")["detail"]


def test_a_long_target_makes_the_head_too_large(
    make_bench: Callable[..., Any],
    listen: Any,
    access: Callable[[], list[dict[str, Any]]],
    wait_for: Callable[..., None],
) -> None:
    with listen(make_bench().app) as port, connection(port) as made:
        made.sendall(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\nUser-Agent: a test\r\n\r\n")
        refusal(made, 431, "head-too-large")
        wait_for(access)
    (line,) = access()
    assert (line["method"], line["path"], line["status"]) == ("GET", "/" + "a" * 199, 431)
    assert line["agent"] == "a test"


@pytest.mark.parametrize("bad", [b"zz\r\n", b"5\r\nhelloXX"], ids=["no length", "no end"])
@pytest.mark.parametrize("together", [True, False], ids=["in one go", "apart"])
def test_a_malformed_body_is_refused(
    make_bench: Callable[..., Any],
    listen: Any,
    access: Callable[[], list[dict[str, Any]]],
    wait_for: Callable[..., None],
    bad: bytes,
    together: bool,
) -> None:
    bench = make_bench()
    memory = bench.app.state.bbmr.bodies
    with listen(bench.app) as port, connection(port) as made:
        made.sendall(CHUNKED + b"3\r\nabc\r\n")
        if not together:
            wait_for(lambda: memory.used)
        made.sendall(bad)
        assert refusal(made, 400, "malformed-request")["request_id"] == "of-the-client"
        assert seconds_until_closed(made, bytes(100)) < 4
        wait_for(access)
        assert memory.used == 0
    (line,) = access()
    assert (line["path"], line["status"], line["problem"]) == ("/reconstruct", 400, "malformed-request")


def test_a_malformed_body_after_the_answer_ends_the_connection(
    make_bench: Callable[..., Any], listen: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with listen(make_bench().app) as port, connection(port) as made:
        made.sendall(CHUNKED.replace(b"POST /reconstruct", b"GET /healthz"))
        assert read_answer(made)[0] == 200
        made.sendall(b"zz\r\n")
        assert seconds_until_closed(made) < 4
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_good_request_is_not_affected(make_bench: Callable[..., Any], listen: Any, body: bytes) -> None:
    with listen(make_bench().app) as port, connection(port) as made:
        for _ in range(2):
            made.sendall(request(body))
            assert read_answer(made)[0] == 200


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"http://h.example/host?a=b", "/host a=b h.example"),
        (b"HTTPS://h.example:8443/host", "/host  h.example:8443"),
        (b"/host?to=http://h.example/", "/host to=http://h.example/ x"),
    ],
)
def test_a_target_in_absolute_form_is_accepted(
    make_bench: Callable[..., Any], listen: Any, target: bytes, expected: str
) -> None:
    """RFC 9112, section 3.2.2: a server must accept it, and its host replaces the Host header."""
    bench = make_bench()

    @bench.app.get("/host")
    async def host(request: Request) -> str:
        return f"{request.url.path} {request.url.query} {request.headers['host']}"

    with listen(bench.app) as port, connection(port) as made:
        made.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        status, _, answer = read_answer(made)
    assert (status, json.loads(answer)) == (200, expected)


def test_the_absolute_form_without_a_path_is_the_root(make_bench: Callable[..., Any], listen: Any) -> None:
    for target in (b"http://h.example", b"http://h.example/", b"http://h.example?a=b"):
        with listen(make_bench().app) as port, connection(port) as made:
            made.sendall(b"HEAD " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert made.recv(15) == b"HTTP/1.1 200 OK"
