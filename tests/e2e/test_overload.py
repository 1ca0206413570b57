"""Ten times as many requests as a real server can serve; `benchmarks.service.overload` measures it for longer."""

from __future__ import annotations

from benchmarks.service.overload import HEALTHY_MS, PHOTO, overload, settings
from benchmarks.service.server_process import run_server

SLACK = 10
"""How many times slower /healthz may be than in the benchmark, because tests and load share the cores."""


def test_accepted_requests_are_served_and_others_get_retry_after() -> None:
    with run_server({**settings(), "BBMR_THREADS": "1"}) as server:
        results = overload(server, PHOTO, seconds=4, side=384)
    failed = {row["check"] for row in results["checks"] if not row["holds"]}
    timed = {
        f"/healthz always answered within {HEALTHY_MS:g} ms",
        "at least half as many were served as without the overload",
    }
    assert failed <= timed, results
    assert results["health"]["slowest_ms"] < SLACK * HEALTHY_MS
    assert results["retry_after_s"][0] >= 1
