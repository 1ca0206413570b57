"""Traces: a span for each request and each stage, without data of the user; off by default."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from bbmr_server.observability import logs, tracing
from bbmr_server.settings import Settings
from bbmr_shared.container import MEDIA_TYPE
from bbmr_shared.errors import UsageError

pytest.importorskip("opentelemetry.sdk.trace", reason="the extra `otel` is not installed")
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

pytestmark = pytest.mark.anyio
HEADERS = {"Content-Type": MEDIA_TYPE}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Collects the spans of every app that is created after this."""
    exporter = InMemorySpanExporter()

    def make_provider(settings: Settings) -> TracerProvider:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        return provider

    monkeypatch.setattr(tracing, "make_provider", make_provider)
    return exporter


def root_of(spans: InMemorySpanExporter) -> ReadableSpan:
    (found,) = [span for span in spans.get_finished_spans() if span.kind is SpanKind.SERVER]
    return found


async def test_a_picture_is_a_span_with_its_stages_below(
    make_bench: Callable[..., Any], connect: Any, body: bytes, spans: InMemorySpanExporter
) -> None:
    async with connect(make_bench()) as client:
        answer = await client.post("/reconstruct", content=body, headers=HEADERS | {"X-Request-ID": "r1"})
    root = root_of(spans)
    assert root.name == "POST /reconstruct"
    assert dict(root.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/reconstruct",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "bbmr.request_id": "r1",
        "bbmr.model": "light",
        "bbmr.mime": "image/png",
        "bbmr.width": 200,
        "bbmr.height": 150,
    }
    below = [span for span in spans.get_finished_spans() if span is not root]
    assert [span.name for span in below] == ["queue", "decode", "network", "encode"]
    told = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    for span in below:
        assert span.parent is not None
        assert span.parent.span_id == root.context.span_id
        assert (span.end_time - span.start_time) / 1e6 == pytest.approx(float(told[span.name]), abs=0.06)
    for before, after in pairwise(below):
        assert before.end_time == after.start_time
    assert root.start_time - 1e6 <= below[0].start_time
    assert below[-1].end_time <= root.end_time


async def test_a_clients_trace_is_continued(
    make_bench: Callable[..., Any],
    connect: Any,
    spans: InMemorySpanExporter,
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("json")
    async with connect(make_bench(start=False)) as client:
        await client.get("/models", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    root = root_of(spans)
    assert f"{root.context.trace_id:032x}" == TRACE
    assert root.parent is not None
    assert f"{root.parent.span_id:016x}" == PARENT
    (line,) = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert line["trace_id"] == TRACE


@pytest.mark.parametrize("header", ["", "00-zz-zz-01", f"00-{'0' * 32}-{PARENT}-01", "x" * 9000])
async def test_a_bad_traceparent_starts_a_new_trace(
    make_bench: Callable[..., Any], connect: Any, spans: InMemorySpanExporter, header: str
) -> None:
    async with connect(make_bench(start=False)) as client:
        assert (await client.get("/models", headers={"traceparent": header})).status_code == 200
    assert root_of(spans).parent is None


async def test_a_client_can_turn_sampling_off(
    make_bench: Callable[..., Any], connect: Any, spans: InMemorySpanExporter
) -> None:
    async with connect(make_bench(start=False)) as client:
        assert (
            await client.get("/models", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
        ).status_code == 200
    assert spans.get_finished_spans() == ()


async def test_only_faults_of_the_server_are_errors(
    make_bench: Callable[..., Any], connect: Any, body: bytes, spans: InMemorySpanExporter
) -> None:
    bench = make_bench()
    async with connect(bench) as client:
        await client.post("/reconstruct", content=b"junk", headers=HEADERS)
        refused = root_of(spans)
        spans.clear()
        bench.network.error = RuntimeError("a secret detail")
        await client.post("/reconstruct", content=body, headers=HEADERS)
        failed = root_of(spans)
    assert (refused.attributes or {})["error.type"] == "unreadable-container"
    assert refused.status.status_code is StatusCode.UNSET  # the client's fault is no error of the server
    assert (failed.attributes or {})["http.response.status_code"] == 500
    assert failed.status.status_code is StatusCode.ERROR
    assert "secret" not in failed.to_json()


async def test_nothing_of_a_query_or_a_key_is_in_a_span(
    make_bench: Callable[..., Any], connect: Any, body: bytes, spans: InMemorySpanExporter
) -> None:
    key = "9f3b5c0d71e84a26b7d2c41e"
    async with connect(make_bench(api_keys=key)) as client:
        headers = HEADERS | {"Authorization": f"Bearer {key}", "User-Agent": "agent-7", "Cookie": "crumb=9"}
        await client.post("/reconstruct?region=1,2,3,4&token=hush", content=body, headers=headers)
        await client.request("BREW", "/pots/4711?token=hush")
    text = "".join(span.to_json() for span in spans.get_finished_spans())
    assert "/reconstruct" in text
    for piece in (key, "hush", "1,2,3,4", "agent-7", "crumb", "4711", "BREW"):
        assert piece not in text


async def test_probes_have_no_spans(
    make_bench: Callable[..., Any], connect: Any, spans: InMemorySpanExporter
) -> None:
    async with connect(make_bench()) as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            await client.get(path)
    assert spans.get_finished_spans() == ()


@pytest.mark.parametrize(
    ("endpoint", "environ", "on"),
    [
        ("", {}, False),
        ("http://localhost:4318", {}, True),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ("", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ("", {"OTEL_SERVICE_NAME": "mine"}, False),
        ("http://localhost:4318", {"OTEL_SDK_DISABLED": "true"}, False),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_when_traces_are_on(endpoint: str, environ: dict[str, str], on: bool) -> None:
    provider = tracing.make_provider(Settings(otel_endpoint=endpoint), environ)
    assert (provider is not None) == on
    if provider is not None:
        tracing.finish(provider)


def test_an_unsupported_protocol_is_named() -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(UsageError, match=r"OTEL_EXPORTER_OTLP_PROTOCOL.*'grpc'.*http/protobuf"):
        tracing.make_provider(Settings(), environ)


def test_without_the_packages_the_error_says_what_to_install() -> None:
    code = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from bbmr_server.observability import tracing
from bbmr_server.settings import Settings
from bbmr_shared.errors import UsageError
assert tracing.make_provider(Settings(), {}) is None
try:
    tracing.make_provider(Settings(otel_endpoint="http://localhost:4318"), {})
except UsageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.endswith("is not installed: pip install '.[otel]' in a checkout\n")
    assert len(done.stdout.splitlines()) == 1


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """Yields the address of a collector, and the requests that it received: (path, body)."""
    got: list[tuple[str, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_collector_gets_the_remaining_spans_when_the_server_stops(
    make_bench: Callable[..., Any], listen: Any, collector: tuple[str, list[tuple[str, bytes]]]
) -> None:
    address, got = collector
    bench = make_bench(start=False, otel_endpoint=address)
    with listen(bench.app) as port:
        httpx.get(f"http://127.0.0.1:{port}/models", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert {path for path, _ in got} == {"/v1/traces"}
    sent = b"".join(data for _, data in got)
    assert bytes.fromhex(TRACE) in sent
    assert b"GET /models" in sent
    assert b"bbmr-server" in sent


def test_a_collector_that_does_not_answer_delays_nothing(
    make_bench: Callable[..., Any], listen: Any, wait_for: Callable[..., None]
) -> None:
    before = set(threading.enumerate())

    bench = make_bench(start=False, otel_endpoint="http://127.0.0.1:9")
    with listen(bench.app) as port:  # leaving it fails where the stop takes more than 15 s
        assert httpx.get(f"http://127.0.0.1:{port}/models").status_code == 200
    wait_for(lambda: not {t for t in set(threading.enumerate()) - before if "Otel" in t.name}, 20)
