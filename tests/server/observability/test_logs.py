"""The access log: what a line has, what it never has, and that clients cannot forge lines."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bbmr_server.http.middleware import AccessLog
from bbmr_server.observability import logs
from bbmr_shared.container import MEDIA_TYPE

pytestmark = pytest.mark.anyio
HEADERS = {"Content-Type": MEDIA_TYPE}
DOCUMENT = Path(__file__).parents[3] / "docs" / "monitoring.md"


def lines(captured: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    records = [json.loads(text) for text in captured.readouterr().err.splitlines()]
    return [record for record in records if record["message"] == "request"]


async def test_a_line_has_every_field_of_its_request(
    make_bench: Callable[..., Any], connect: Any, body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("json")
    async with connect(make_bench()) as client:
        answer = await client.post(
            "/reconstruct?model=light", content=body, headers=HEADERS | {"User-Agent": "probe/1"}
        )
    (line,) = lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert line["ms"] >= line["network_ms"] >= 0
    assert answer.headers["server-timing"] == ", ".join(
        f"{stage};dur={line[f'{stage}_ms']}" for stage in ("decode", "queue", "network", "encode")
    )
    told = {name: line[name] for name in line if name not in ("time", "ms") and not name.endswith("_ms")}
    assert told == {
        "level": "info",
        "logger": "bbmr_server.access",
        "message": "request",
        "request_id": answer.headers["x-request-id"],
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/reconstruct",
        "route": "/reconstruct",
        "status": 200,
        "received": len(body),
        "sent": len(answer.content),
        "model": "light",
        "mime": "image/png",
        "width": 200,
        "height": 150,
        "agent": "probe/1",
    }


async def test_a_refusal_has_its_problem(
    make_bench: Callable[..., Any], connect: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("json")
    async with connect(make_bench()) as client:
        await client.post("/reconstruct", content=b"junk", headers=HEADERS)
        await client.get("/nothing/here")
    first, second = lines(capsys)
    assert (first["status"], first["problem"]) == (400, "unreadable-container")
    assert (second["status"], second["problem"], second["route"]) == (404, "not-found", "other")
    assert "model" not in first


def test_the_document_lists_every_field() -> None:
    table = DOCUMENT.read_text().partition("| field | meaning |")[2].partition("\n\n")[0]
    listed = set(re.findall(r"`([a-z_]+)`", " ".join(row.split("|")[1] for row in table.splitlines()[2:])))
    example = json.loads(re.search(r"```json\n(.*?)\n```", DOCUMENT.read_text(), re.S)[1])  # type: ignore[index]
    assert listed == set(example) | {"problem", "cache", "trace_id"}


EVIL = '\n2026-01-01T00:00:00Z INFO request status=200 \r\x1b[31m\x00\x85\u2028\u202e" \\ end'


@pytest.mark.parametrize("form", ["text", "json"])
async def test_nobody_can_forge_a_line(form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(form)
    fields = {"client": EVIL, "agent": EVIL, "status": 400, "note": "a=b", "empty": ""}
    logs.access.info("request", extra={"fields": fields})
    logs.events.info("about %s", EVIL)
    text = capsys.readouterr().err
    assert len(text.splitlines()) == 2
    assert text.endswith("\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", text)
    if form == "json":
        line = json.loads(text.splitlines()[0])
        assert line["agent"] == EVIL
    else:
        assert re.search(r' agent="\\n2026-01-01T00:00:00Z INFO request status=200 .*" status=400 ', text)
        assert ' note="a=b" empty=""' in text


async def test_headers_cannot_forge_a_line(
    make_bench: Callable[..., Any], connect: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("text")
    async with connect(make_bench(start=False)) as client:
        await client.get("/a%0Ab%20status=200%1b", headers={"User-Agent": 'x" status=200 \x1b[31m'})
    text = capsys.readouterr().err
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    assert " path=/a%0Ab%20status%3D200%1B " in text.replace("%1b", "%1B")
    assert re.findall(r"(?<= )status=\d+", re.sub(r'"(\\.|[^"\\])*"', '""', text)) == ["status=404"]


def test_a_traceback_as_text_is_indented(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    try:
        raise RuntimeError(EVIL)
    except RuntimeError:
        logs.events.exception("unexpected error")
    first, *rest = capsys.readouterr().err.split("\n")
    assert first.endswith("ERROR   unexpected error")
    assert rest[-1] == ""
    assert all(line.startswith("    ") and line.isprintable() for line in rest[:-1])


async def test_an_unexpected_error_is_one_line_of_json(
    make_bench: Callable[..., Any], connect: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("json")
    bench = make_bench(start=False)

    @bench.app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("two\nlines")

    async with connect(bench) as client:
        assert (await client.get("/broken", headers={"X-Request-ID": "r7"})).status_code == 500
    error, access = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert error["level"] == "error"
    assert "r7" in error["message"]
    assert error["exception"].endswith("RuntimeError: two\nlines")
    assert (access["status"], access["problem"], access["request_id"]) == (500, "internal", "r7")


async def test_probes_are_logged_only_when_they_fail(
    make_bench: Callable[..., Any], connect: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("json")
    async with connect(make_bench(start=False)) as client:
        for path in ("/healthz", "/metrics", "/readyz"):
            await client.get(path)
    (line,) = lines(capsys)
    assert (line["path"], line["status"], line["problem"]) == ("/readyz", 503, "not-ready")


async def test_a_request_without_a_client_address_or_route_is_logged(
    make_bench: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("json")
    service = make_bench(start=False).app.state.bbmr

    async def gone(scope: Any, receive: Any, send: Any) -> None:
        raise ConnectionError

    access_log = AccessLog(gone, service.metrics, (service.keys,), lambda scope: "other")  # type: ignore[arg-type]
    scope = {"type": "http", "method": "X" * 99, "path": "/" + "é" * 999, "headers": [], "client": None}
    with pytest.raises(ConnectionError):
        await access_log(scope, None, None)  # type: ignore[arg-type]
    (line,) = lines(capsys)
    assert (line["status"], line["method"], line["client"]) == (499, "other", "-")
    assert len(line["path"]) < 1300


def test_uvicorn_and_opentelemetry_log_in_the_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    logging.getLogger("uvicorn.error").warning("one")
    logging.getLogger("uvicorn.error").info("not this")
    logging.getLogger("opentelemetry.exporter").warning("two")
    said = [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert said == ["one", "two"]
