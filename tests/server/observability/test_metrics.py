"""The metrics: what they count, that clients cannot make the page grow, and that docs/monitoring.md lists all."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from bbmr_server.http.problems import TITLES
from bbmr_server.observability.engine_metrics import EngineMetrics
from bbmr_server.observability.metrics import Metrics
from bbmr_shared.container import MEDIA_TYPE
from tests.server.observability.monitoring import full_page

pytestmark = pytest.mark.anyio
HEADERS = {"Content-Type": MEDIA_TYPE}
DOCUMENT = Path(__file__).parents[3] / "docs" / "monitoring.md"


def samples(page: str) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of their names) → value."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


async def scrape(client: Any) -> dict[tuple[str, ...], float]:
    return samples((await client.get("/metrics")).text)


async def test_a_problem_is_counted_by_its_name(
    make_bench: Callable[..., Any], connect: Any, body: bytes
) -> None:
    async with connect(make_bench(max_body_bytes=len(body))) as client:
        before = await scrape(client)
        assert {key[1] for key in before if key[0] == "bbmr_problems_total"} == set(TITLES)
        assert before["bbmr_problems_total", "too-large"] == 0
        await client.post("/reconstruct", content=b"junk", headers=HEADERS)
        await client.post("/reconstruct", content=body + b"x", headers=HEADERS)
        await client.post("/reconstruct?region=0,0,9,9", content=b"junk", headers=HEADERS)
        await client.get("/nothing")
        after = await scrape(client)
    assert after["bbmr_problems_total", "unreadable-container"] == 2
    assert after["bbmr_problems_total", "too-large"] == 1
    assert after["bbmr_problems_total", "not-found"] == 1


async def test_invented_paths_and_methods_do_not_make_the_page_grow(
    make_bench: Callable[..., Any], connect: Any, body: bytes
) -> None:
    async with connect(make_bench()) as client:

        async def ask(tag: str) -> None:
            await client.get(f"/{tag}", headers={"User-Agent": tag, "X-Request-ID": tag, "Origin": tag})
            await client.request(tag.upper(), "/reconstruct")
            await client.post(f"/reconstruct?model={tag}", content=body, headers=HEADERS)
            await client.post("/reconstruct", content=body, headers=HEADERS | {"Accept": f"image/{tag}"})
            await client.get(f"/models/{tag}", headers={"X-API-Key": tag})
            await client.get(f"/page/{tag}.js")
            await client.get("/metrics")

        await ask("first")
        before = set(await scrape(client))
        for number in range(20):
            await ask(f"tag{number}")
        assert set(await scrape(client)) == before


async def test_a_route_with_a_parameter_is_one_label(make_bench: Callable[..., Any], connect: Any) -> None:
    bench = make_bench()

    @bench.app.get("/things/{digest}")
    async def thing(digest: str) -> str:
        return digest

    async with connect(bench) as client:
        for digest in "abc":
            assert (await client.get(f"/things/{digest}")).status_code == 200
        after = await scrape(client)
    assert after["bbmr_requests_total", "GET", "/things/{digest}", "200"] == 3


async def test_durations_of_refusals_are_counted_apart(
    make_bench: Callable[..., Any], connect: Any, body: bytes
) -> None:
    bench = make_bench()
    async with connect(bench) as client:
        await client.post("/reconstruct", content=body, headers=HEADERS)
        for _ in range(3):
            await client.post("/reconstruct", content=b"junk", headers=HEADERS)
        bench.network.error = RuntimeError("unforeseen")
        await client.post("/reconstruct", content=body, headers=HEADERS)
        after = await scrape(client)
    counted = {
        key[1]: n
        for key, n in after.items()
        if key[0] == "bbmr_request_seconds_count" and key[2] == "/reconstruct"
    }
    assert counted == {"ok": 1, "refused": 3, "failed": 1}


async def test_memory_of_bodies_and_the_queue_are_reported(
    make_bench: Callable[..., Any], connect: Any, wait_for: Callable[..., None]
) -> None:
    bench = make_bench(queue_length=3)
    with bench.app.state.bbmr.bodies.share() as share:
        share.take(1000)
        async with connect(bench) as client:
            assert (await scrape(client))["bbmr_body_memory_bytes",] == 1000
    async with connect(bench) as client:
        after = await scrape(client)
    assert after["bbmr_body_memory_bytes",] == 0
    assert after["bbmr_queue_places",] == 3


def test_the_weights_are_those_served_at_the_time_of_reading() -> None:
    engine = SimpleNamespace(models=("light",), catalogue={"light": {"sha256": "aa"}})
    metrics = Metrics()
    for name in ("inside", "waiting", "length", "ready", "backlog_s"):
        setattr(engine, name, 0)
    metrics.observe_engine(engine)  # type: ignore[arg-type]

    def served() -> set[tuple[str, ...]]:
        found = samples(metrics.render().decode())
        return {(model, sha256) for name, model, sha256 in (k for k in found if k[0] == "bbmr_model_info")}

    assert served() == {("light", "aa")}
    engine.models, engine.catalogue = ("light", "full"), {"light": {"sha256": "bb"}, "full": {}}
    assert served() == {("light", "bb"), ("full", "")}


def test_what_an_engine_reports_is_counted() -> None:
    registry = CollectorRegistry()
    observer = EngineMetrics(registry)
    told = registry.get_sample_value

    observer.worker("cuda:0", "loading")
    assert told("bbmr_worker_state", {"device": "cuda:0", "state": "loading"}) == 1
    assert told("bbmr_device_busy_seconds_total", {"device": "cuda:0"}) == 0
    observer.worker("cuda:0", "ready")
    assert told("bbmr_worker_state", {"device": "cuda:0", "state": "loading"}) == 0
    assert told("bbmr_worker_state", {"device": "cuda:0", "state": "ready"}) == 1

    observer.batch("cuda:0", "light", 8, 8 * 64 * 64, 0.25)
    observer.batch("cuda:0", "light", 2, 2 * 64 * 64, 0.125)
    assert told("bbmr_tiles_total", {"device": "cuda:0", "model": "light"}) == 10
    assert told("bbmr_tile_pixels_total", {"device": "cuda:0"}) == 10 * 64 * 64
    assert told("bbmr_device_busy_seconds_total", {"device": "cuda:0"}) == 0.375
    assert told("bbmr_batch_tiles_bucket", {"device": "cuda:0", "le": "2.0"}) == 1
    assert told("bbmr_batch_tiles_bucket", {"device": "cuda:0", "le": "8.0"}) == 2

    observer.memory("cuda:0", 5 << 30)
    assert told("bbmr_device_memory_bytes", {"device": "cuda:0"}) == 5 << 30
    observer.halved("cuda:0", 4)
    assert told("bbmr_batch_halvings_total", {"device": "cuda:0"}) == 1


def test_loading_after_a_death_counts_as_a_restart() -> None:
    registry = CollectorRegistry()
    observer = EngineMetrics(registry)

    def restarts() -> float | None:
        return registry.get_sample_value("bbmr_worker_restarts_total", {"device": "cpu"})

    for state in ("loading", "ready", "stopped", "loading", "ready"):  # a model is loaded again
        observer.worker("cpu", state)  # type: ignore[arg-type]
    assert restarts() == 0
    observer.worker("cpu", "dead")
    assert restarts() == 0
    observer.worker("cpu", "loading")
    assert restarts() == 1
    observer.worker("cpu", "dead")
    observer.worker("cpu", "loading")
    assert restarts() == 2


def test_an_observer_may_be_called_from_many_threads() -> None:
    registry = CollectorRegistry()
    observer = EngineMetrics(registry)

    def tell() -> None:
        for _ in range(500):
            observer.batch("cpu", "light", 1, 1, 0.001)

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.get_sample_value("bbmr_tiles_total", {"device": "cpu", "model": "light"}) == 2000


async def test_the_document_lists_every_metric(
    make_bench: Callable[..., Any], connect: Any, body: bytes, tmp_path: Path
) -> None:
    rows = re.findall(r"^\| `(bbmr_\w+)(?:\{([a-z0-9,]+)\})?` \| (\w+) \|", DOCUMENT.read_text(), re.M)
    listed = {name: (kind, set(labels.split(",")) - {""}) for name, labels, kind in rows}
    page, has_store = await full_page(make_bench, connect, body, tmp_path)
    shown = {}
    for family in text_string_to_metric_families(page):
        if family.name.startswith("bbmr_") and not family.name.endswith("_created"):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            shown[name] = (family.type, labels)
    if not has_store:
        listed = {k: v for k, v in listed.items() if not k.startswith(("bbmr_store_", "bbmr_cache_"))}
    assert shown == listed
