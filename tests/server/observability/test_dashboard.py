"""The example dashboard, alerts and configuration are valid, and use only metrics that the server has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.server.observability.monitoring import full_page

pytestmark = pytest.mark.anyio
FOLDER = Path(__file__).parents[3] / "docker" / "monitoring"
DASHBOARD = FOLDER / "grafana" / "dashboards" / "bbmr.json"
DOCUMENT = Path(__file__).parents[3] / "docs" / "monitoring.md"
NAME = re.compile(r"\b(?:bbmr|process)_\w+")


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return board


@pytest.fixture(scope="module")
def alerts() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
    return rules


def queries(board: dict[str, Any]) -> Iterator[str]:
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]
    for annotation in board["annotations"]["list"]:
        yield annotation["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


async def test_every_metric_and_label_that_they_use_exists(
    dashboard: dict[str, Any],
    alerts: list[dict[str, Any]],
    make_bench: Callable[..., Any],
    connect: Any,
    body: bytes,
    tmp_path: Path,
) -> None:
    page, has_store = await full_page(make_bench, connect, body, tmp_path)
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    asked = [*queries(dashboard), *(rule["expr"] for rule in alerts)]
    assert len(asked) > 40
    for expression in asked:
        names = NAME.findall(re.sub(r'"[^"]*"', '""', expression))
        if not has_store:
            names = [name for name in names if not name.startswith(("bbmr_store_", "bbmr_cache_"))]
        for name in names:
            assert name in labels, expression
        for name, matchers in re.findall(r"\b((?:bbmr|process)_\w+)\{([^}]*)\}", expression):
            if name in names:
                assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers)) <= labels[name], expression
        for group in re.findall(r"\bby \(([^)]*)\)", expression):
            known = set().union(*(labels[name] for name in names), {"le"} if names else set())
            assert not names or {label.strip() for label in group.split(",")} <= known, expression


def test_panels_lie_side_by_side(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"


def test_the_files_of_docker_monitoring_fit_each_other(dashboard: dict[str, Any]) -> None:
    source = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/prometheus.yml").read_text())
    default = next(v for v in dashboard["templating"]["list"] if v["type"] == "datasource")["current"]
    assert source["datasources"][0]["uid"] == default["value"]
    prometheus = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    jobs = {job["job_name"] for job in prometheus["scrape_configs"]}
    text = DASHBOARD.read_text() + (FOLDER / "alerts.yml").read_text()
    assert set(re.findall(r'job=\\?"(\w+)\\?"', text)) == jobs
    assert prometheus["rule_files"] == ["/etc/prometheus/alerts.yml"]


def test_every_alert_is_explained_and_tested(alerts: list[dict[str, Any]]) -> None:
    names = [rule["alert"] for rule in alerts]
    assert sorted(names) == sorted(re.findall(r"^\| `(Bbmr\w+)` \|", DOCUMENT.read_text(), re.M))
    healthy, sick = yaml.safe_load((FOLDER / "alerts.test.yml").read_text())["tests"]
    assert [test["alertname"] for test in healthy["alert_rule_test"]] == names
    fired = [sample["labels"] for sample in sick["promql_expr_test"][0]["exp_samples"]]
    assert fired == [f'{{alertname="{name}"}}' for name in names]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Prometheus) is not installed")
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "--syntax-only", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
    ],
)
def test_prometheus_accepts_the_alerts_and_their_tests(arguments: list[str]) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Prometheus) is not installed")
def test_prometheus_can_read_the_queries_of_the_dashboard(dashboard: dict[str, Any], tmp_path: Path) -> None:
    plain = [
        expression.replace("$__rate_interval", "5m").replace("$instance", ".*")
        for expression in queries(dashboard)
        if not expression.startswith("label_values")
    ]
    rules = [{"record": f"dashboard:{number}", "expr": text} for number, text in enumerate(plain)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", file], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
