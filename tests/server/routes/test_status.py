"""Health, models, metrics and pages; and what every answer has: request id, CORS headers, a line in the log."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bbmr_server.observability import logs
from bbmr_shared.container import MEDIA_TYPE

pytestmark = pytest.mark.anyio
HEADERS = {"Content-Type": MEDIA_TYPE}


async def test_a_live_server_may_not_be_ready(make_bench: Callable[..., Any], connect: Any) -> None:
    bench = make_bench(start=False)
    async with connect(bench) as client:
        assert (await client.get("/healthz")).json()["status"] == "ok"
        refused = await client.get("/readyz")
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:bbmr:problem:not-ready"
    ready = make_bench()
    async with connect(ready) as client:
        assert (await client.get("/readyz")).json() == {"status": "ready", "models": ["light"], "queue": 0}
        for path in ("/readyz", "/metrics", "/models"):
            assert (await client.head(path)).status_code == 200, path
        ready.engine.stop(1)
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200


async def test_a_dead_engine_is_not_ready(
    make_bench: Callable[..., Any], connect: Any, body: bytes, wait_for: Callable[..., None]
) -> None:
    bench = make_bench()
    bench.network.error = SystemExit("killed")
    async with connect(bench) as client:
        assert (await client.post("/reconstruct", content=body, headers=HEADERS)).status_code == 503
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200


async def test_models(make_bench: Callable[..., Any], connect: Any) -> None:
    async with connect(make_bench(model="light,other")) as client:
        answer = (await client.get("/models")).json()
    assert answer["default"] == "light"
    assert [model["name"] for model in answer["models"]] == ["light", "other"]


async def test_metrics_count_what_happened(make_bench: Callable[..., Any], connect: Any, body: bytes) -> None:
    async with connect(make_bench(queue_length=7)) as client:
        await client.post("/reconstruct", content=body, headers=HEADERS)
        await client.post("/reconstruct?max_side=8", content=body, headers=HEADERS)
        await client.post("/reconstruct", content=b"junk", headers=HEADERS)
        for path in ("/a", "/b/c", "/d"):
            await client.get(path)
        response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    assert samples["bbmr_requests_total", "/reconstruct", "200", "POST"] == 2
    assert samples["bbmr_requests_total", "/reconstruct", "400", "POST"] == 1
    assert samples["bbmr_requests_total", "404", "GET", "other"] == 3  # unknown paths share one label
    assert samples["bbmr_stage_seconds_count", "network"] == 1
    assert samples["bbmr_stage_seconds_count", "decode"] == 2
    assert samples["bbmr_pixels_total",] == 200 * 150 + 8 * 6
    assert samples["bbmr_queue_places",] == 7
    assert samples["bbmr_queue_length",] == 0
    assert samples["bbmr_ready",] == 1
    assert samples["bbmr_received_bytes_total",] == 2 * len(body) + 4


async def test_two_apps_have_their_own_metrics(make_bench: Callable[..., Any], connect: Any) -> None:
    first, second = make_bench(start=False), make_bench(start=False)
    async with connect(first) as client:
        await client.get("/healthz")
    async with connect(second) as client:
        assert 'route="/healthz"' not in (await client.get("/metrics")).text


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("POST", "/", 405, "method-not-allowed"),
        ("GET", "/reconstruct", 405, "method-not-allowed"),
        ("DELETE", "/models", 405, "method-not-allowed"),
        ("PUT", "/nothing/../else", 404, "not-found"),
        ("POST", "/reconstruct/", 404, "not-found"),
        ("POST", "/reconstruct%2f", 404, "not-found"),
        ("GET", "/models/", 404, "not-found"),
    ],
)
async def test_unknown_addresses_and_methods(
    make_bench: Callable[..., Any], connect: Any, method: str, path: str, status: int, slug: str
) -> None:
    async with connect(make_bench(start=False)) as client:
        response = await client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == f"urn:bbmr:problem:{slug}"
    assert ("allow" in response.headers) == (status == 405)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen += [(tag, value or "") for name, value in attrs if name in ("src", "href")]
        assert tag != "script"


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_plain_pages_load_nothing_from_elsewhere(
    make_bench: Callable[..., Any], connect: Any, path: str
) -> None:
    async with connect(make_bench(start=False, page=False)) as client:
        response = await client.get(path)
        assert response.status_code == 200
        assert "default-src 'none'" in response.headers["content-security-policy"]
        links = _Links()
        links.feed(response.text)
        for _, target in links.seen:
            assert not re.match(r"[a-z]+:|//", target)
            assert (await client.get(f"/{target}")).status_code in (200, 503)


async def test_openapi_describes_the_interface(make_bench: Callable[..., Any], connect: Any) -> None:
    async with connect(make_bench(start=False)) as client:
        document = (await client.get("/openapi.json")).json()
        page = (await client.get("/docs")).text
    post = document["paths"]["/reconstruct"]["post"]
    assert set(post["requestBody"]["content"]) == {MEDIA_TYPE, "application/octet-stream"}
    assert set(post["responses"]["200"]["content"]) == {"image/png", "image/webp", "image/avif", "image/jpeg"}
    refusals = {"400", "401", "403", "406", "408", "413", "415", "422", "429", "500", "503", "504"}
    assert refusals < set(post["responses"])
    for status in refusals:
        assert set(post["responses"][status]["content"]) == {"application/problem+json"}
    assert {parameter["name"] for parameter in post["parameters"]} == {
        "region",
        "max_side",
        "model",
        "format",
    }
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path in document["paths"]:
        assert path in page


async def test_request_ids(make_bench: Callable[..., Any], connect: Any) -> None:
    async with connect(make_bench(start=False)) as client:
        own = await client.get("/healthz", headers={"X-Request-ID": "abc.DEF_1-2"})
        assert own.headers["x-request-id"] == "abc.DEF_1-2"
        for bad in ("with space", "x" * 65, 'quo"te', "a;b"):
            given = (await client.get("/nope", headers={"X-Request-ID": bad})).headers["x-request-id"]
            assert re.fullmatch(r"[0-9a-f]{32}", given)


async def test_cors_is_off_unless_an_origin_is_named(
    make_bench: Callable[..., Any], connect: Any, body: bytes
) -> None:
    origin = "https://photos.example"
    preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    async with connect(make_bench()) as client:
        answer = await client.get("/healthz", headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers
        assert (await client.options("/reconstruct", headers=preflight)).status_code == 405
    bench = make_bench(cors_origins=origin)
    async with connect(bench) as client:
        assert (await client.options("/reconstruct", headers=preflight)).status_code == 200
        answer = await client.post("/reconstruct", content=body, headers=HEADERS | {"Origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        assert "Server-Timing" in answer.headers["access-control-expose-headers"]
        bench.network.error = RuntimeError("unforeseen")
        failed = await client.post("/reconstruct", content=body, headers=HEADERS | {"Origin": origin})
        assert failed.status_code == 500
        assert failed.headers["access-control-allow-origin"] == origin  # so that a page can read the reason
        other = await client.get("/healthz", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_the_access_log_has_the_request_and_nothing_of_its_body(
    make_bench: Callable[..., Any], connect: Any, body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("json")
    async with connect(make_bench()) as client:
        await client.post("/reconstruct?model=light", content=body, headers=HEADERS | {"X-Request-ID": "r1"})
        await client.get("/evil%0a%22path")
        await client.get("/healthz")  # a probe that succeeds is not logged
        await client.post("/reconstruct", content=b"SECRET-BODY", headers=HEADERS)
    text = capsys.readouterr().err
    lines = [json.loads(line) for line in text.splitlines()]
    first, second, _ = [line for line in lines if line["logger"] == "bbmr_server.access"]
    assert {key: first[key] for key in ("request_id", "method", "path", "status", "received")} == {
        "request_id": "r1",
        "method": "POST",
        "path": "/reconstruct",
        "status": 200,
        "received": len(body),
    }
    assert first["ms"] > 0
    assert first["sent"] > 1000
    assert second["path"] == "/evil%0A%22path"
    assert "SECRET" not in text


def test_text_lines_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    logging.getLogger("bbmr_server.access").info("request", extra={"fields": {"status": 200, "path": "/x"}})
    line = capsys.readouterr().err
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO    request status=200 path=/x\n", line)
