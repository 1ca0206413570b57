"""The page on security has every limit with its value and meaning, and the committed runs found nothing."""

from __future__ import annotations

import json
from dataclasses import fields

from bbmr_shared import limits
from benchmarks.render.report import RESULTS, ROOT
from benchmarks.render.security_page import SHORT, all_limits


def test_every_limit_is_on_the_page() -> None:
    named = {name for name, *_ in all_limits()}
    assert named == {field.name for field in fields(limits.Limits)} | {
        name for name, value in vars(limits).items() if name.isupper() and isinstance(value, int | float)
    } - set(SHORT)
    page = (ROOT / "docs" / "security.md").read_text()
    assert all(f"| `{name}` |" in page for name in named)


def test_every_limit_says_what_it_is_a_limit_of() -> None:
    assert [name for name, _, what in all_limits() if len(what) < 10] == []


def test_the_committed_runs_found_nothing() -> None:
    fuzzed = json.loads((RESULTS / "fuzz.json").read_text())["targets"]
    assert sum(row["executions"] for row in fuzzed) >= 2_000_000
    assert [finding for row in fuzzed for finding in row["findings"]] == []
    damage = json.loads((RESULTS / "damage.json").read_text())
    assert damage["findings"] == []
    for row in damage["rows"]:
        assert row["slowest_ms"] < 200
        assert row["largest_mb"] < 200
        assert row["damage"].endswith("right") or "another picture" not in row["outcomes"]
