"""The fuzzer notices what it is there for: other errors, slow steps, large ones. Needs the extra `fuzz`."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.fuzz import run
from tests.fuzz.damage import good_ones, seeds
from tests.fuzz.promises import check_preview, check_read

target = pytest.importorskip("tests.fuzz.target", reason="atheris is not installed (make fuzz installs it)")


def _found(folder: Path, promise: object) -> list[str]:
    watch = target._Watch(promise, folder)
    for data in (b"one", b"two"):
        watch.one(data)
    findings: list[str] = json.loads((folder / target.STATISTICS).read_text())["findings"]
    return findings


def test_an_error_that_is_not_declared_is_kept_once(tmp_path: Path) -> None:
    def broken(data: bytes) -> str:
        raise KeyError("a bug")

    (finding,) = _found(tmp_path, broken)
    assert finding.startswith("finding-0.bbmr: KeyError at test_target.py:")
    assert (tmp_path / "finding-0.bbmr").read_bytes() == b"one"


def test_a_slow_step_is_a_finding(tmp_path: Path) -> None:
    def slow(data: bytes) -> str:
        end = time.process_time() + 1.2 * target.SECONDS
        while time.process_time() < end:
            pass
        return "read"

    (finding,) = _found(tmp_path, slow)
    assert "slow: took" in finding


def test_a_large_step_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter((1000, 1001 + target.GROWTH_KIB))
    monkeypatch.setattr(target.resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=next(peaks)))
    (finding,) = _found(tmp_path, lambda data: "read")
    assert finding == "finding-0.bbmr: large: took 200 MiB"


def test_a_declared_error_is_none(tmp_path: Path) -> None:
    assert _found(tmp_path, check_read) == []


def test_mutation_reaches_every_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target.atheris, "Mutate", lambda data, size: bytes(data[:-1]) + b"\xff")
    corpus = [*good_ones(), *seeds()]
    rng = random.Random(3)
    outcomes = {check_preview(target._mutate(corpus[0], 1 << 16, rng, corpus, 0.5)) for _ in range(2000)}
    wanted = {"MalformedContainerError", "PlaneError", "UnsupportedContainerError", "LimitExceededError"}
    assert wanted | {"decoded", "decode PlaneError"} <= outcomes


def test_both_targets_run_for_a_moment(tmp_path: Path) -> None:
    rows = run.fuzz(3, tmp_path)
    assert [row["target"] for row in rows] == ["reader", "preview"]
    for row in rows:
        assert row["executions"] > 100
        assert row["edges"] > 100
        assert row["findings"] == []
