"""The measuring code of the service benchmarks, and the promises that the committed results keep."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.render import report, service_pages
from benchmarks.render.pages import SUBJECTS
from benchmarks.service.overload import judge
from benchmarks.service.processes import MemorySampler, can_watch, children, forget_peak, peak, proportional
from tests.load.command import summary
from tests.load.generator import LoadRequest, Outcome, closed_loop, open_loop


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers 200, or 429 for the body `full`, or nothing for the body `gone`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"gone":
            self.close_connection = True
            return
        self.send_response(429 if body == b"full" else 200)
        self.send_header("Content-Type", "application/problem+json" if body == b"full" else "image/png")
        self.send_header("Content-Length", "2")
        if body == b"full":
            self.send_header("Retry-After", self.headers.get("Accept", ""))
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_every_request_has_an_outcome_in_either_loop(url: str) -> None:
    requests = [
        LoadRequest(b"good"),
        LoadRequest(b"full", accept="2"),
        LoadRequest(b"full", accept="soon"),
        LoadRequest(b"gone"),
    ] * 5
    for load in (closed_loop(url, requests, 3, judge), open_loop(url, requests, 500, judge)):
        counts = summary(asyncio.run(load))
        assert counts["statuses"] == {"0": 5, "200": 5, "429": 10}
        assert counts["wrong"] == 10, "no answer, and a Retry-After that is no number"


def test_times_are_those_of_answers_alone() -> None:
    request = LoadRequest(b"")
    outcomes = [Outcome(request, at=10 + n, seconds=0.1 * n, status=200) for n in range(1, 5)]
    counts = summary([*outcomes, Outcome(request, at=11, seconds=99, status=0, wrong="gone")])
    assert counts["p50_ms"] == pytest.approx(250)
    assert counts["seconds"] == 99


@pytest.mark.skipif(not can_watch(), reason="processes are read in /proc")
def test_memory_that_was_held_for_a_moment_is_seen() -> None:
    forget_peak(os.getpid())
    before = peak(os.getpid())
    with MemorySampler(os.getpid(), every_s=0.01, shares=True) as sampler:
        held = b"\1" * 100_000_000
        del held
    assert peak(os.getpid()) - before > 90
    assert 0 < sampler.samples[-1].proportional <= sampler.samples[-1].resident * 1.1
    assert proportional(2**30) == 0 == peak(2**30)
    assert children(2**30) == []


RESULTS: dict[str, Any] = {
    "device": "cpu",
    "machine": {"cpu": "a CPU", "cores": 2},
    "throughput": [
        {
            "kind": kind,
            "megapixels": megapixels,
            "alone_per_second": 2.0,
            "rows": [
                {
                    "batch": batch,
                    "clients": 2,
                    "pictures_per_second": 3.0 + batch,
                    "ratio": 1.5,
                    "device_share": 0.8,
                    "p50_ms": 1.0,
                    "p99_ms": 2.0,
                }
                for batch in (0, 4)
            ],
        }
        for kind, megapixels in (("256²", 0.066), ("2K", 2.8))
    ],
    "one": {
        "idle_mb": 500.0,
        "idle_proportional_mb": 400.0,
        "runs": 3,
        "rows": [
            {
                "kind": kind,
                "p50_ms": 1000.0,
                "stages_ms": {"decode": 1.0, "network": 2.0},
                "above_idle_mb": 900.0,
                "proportional_mb": 700.0,
            }
            for kind in ("256²", "2K", "4K", "8K")
        ],
    },
    "region": {
        "side": 512,
        "decode_ms": 100.0,
        "region": {"p50_ms": 250.0},
        "picture": {"p50_ms": 60.0},
        "bound_ms": 220.0,
        "holds": False,
    },
}


def test_the_pages_say_what_does_not_hold() -> None:
    text = service_pages.markdown(RESULTS)
    assert "8K is within 1,500 MB" in text
    assert "**above** decoding + 2 × picture = 220 ms" in text
    assert "| 4 | 2 | 7.00 | 1.50 | 80% | 1 | 2 |" in text


def test_sizing_takes_the_best_of_each_size(tmp_path: Path) -> None:
    assert service_pages.sizing(tmp_path) == ""
    (tmp_path / "service.json").write_text(json.dumps(RESULTS))
    row = service_pages.sizing(tmp_path).splitlines()[2]
    assert row == "| CPU: a CPU, 2 cores | 19.6 | 7.0 | 7.0 | 1.00 | 1.00 | 1.00 | 0.50 | 1.40 | 1.40 |"


@pytest.mark.parametrize("name", ["soak", "overload"])
def test_the_committed_results_hold_what_is_promised(name: str) -> None:
    path = report.RESULTS / f"{name}.json"
    if path.is_file():
        held = json.loads(path.read_text())
        assert [row["check"] for row in held["checks"] if not row["holds"]] == []
        assert name != "soak" or held["requests"] >= 10_000


def test_the_committed_results_hold_what_is_promised_of_large_pictures() -> None:
    path = report.RESULTS / "service.json"
    if path.is_file():
        held = json.loads(path.read_text())
        assert held["one"]["rows"][-1]["above_idle_mb"] <= service_pages.MEMORY_MB
        assert held["region"]["holds"]


def test_every_benchmark_was_run_and_no_table_is_empty() -> None:
    """Except those that need a GPU, and those that wait until the network's training has ended."""
    pages = report.pages()
    missing = {name for name in SUBJECTS if report.RESULTS / f"{name}.md" not in pages}
    assert missing <= {"backbones-cuda", "service-cuda", "operating-points", "rate-distortion"}
    for path, text in pages.items():
        assert re.findall(r"<!-- ([a-z0-9-]+):begin -->\s*<!-- \1:end -->", text) == [], path.name
