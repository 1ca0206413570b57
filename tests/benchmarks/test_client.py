"""The benchmark of the client alone: its counting and its committed result. No test here measures time."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

from benchmarks.render import report
from benchmarks.speed.client import contents, installed, seconds

PACKAGES = ["bbmr_client", "bbmr_models", "bbmr_server", "bbmr_shared"]


def test_the_contents_of_a_wheel(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one/a.py", b"12345")
        archive.writestr("one/py.typed", b"")
        archive.writestr("two/deep/b.py", b"123")
    assert contents(path) == {
        "bytes": path.stat().st_size,
        "packages": {"one": 5, "two": 3},
        "typed": ["one"],
    }


def test_the_packages_of_an_environment() -> None:
    found = installed(Path(sys.executable))
    sizes = {row["name"].lower(): row["bytes"] for row in found["packages"]}
    assert sizes["numpy"] > 1_000_000
    assert "pip" not in sizes
    assert found["bytes"] == sum(sizes.values())
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)
    assert found["has_torch"] is True


def test_times_are_those_of_several_runs() -> None:
    found = seconds([sys.executable, "-c", "pass"], 3)
    assert 0 < found["best"] <= found["median"]


def test_the_committed_result() -> None:
    path = report.RESULTS / "client.json"
    held = json.loads(path.read_text())
    assert held["installed"]["has_torch"] is False
    assert held["wheel"]["typed"] == PACKAGES, "every package that ships is marked as typed"
    best = {row["what"]: row["best"] for row in held["start"]}
    assert best["import bbmr_client"] < 0.5
    assert best["bbmr-client --help"] < 0.7
