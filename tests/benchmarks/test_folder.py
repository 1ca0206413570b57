"""The benchmark of a killed folder run: a small run, and checks that detect errors."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from benchmarks.render import folder_pages
from benchmarks.speed import folder

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists() or not hasattr(signal, "SIGKILL"),
    reason="processes are read in /proc",
)


def test_a_small_folder(tmp_path: Path) -> None:
    folder.crops(folder.PHOTO, tmp_path / "photos", 24)
    results = folder.measure(tmp_path, 24, jobs=2)
    failed = [row["check"] for row in results["checks"] if not row["holds"]]
    # Such a short run ends before memory has settled; only the thousand crops check that.
    assert set(failed) <= {"memory of every process stayed within 50 MB"}
    assert [run["run"] for run in results["runs"]] == ["killed", "started again", "once more"]
    assert results["runs"][0]["done"] + results["runs"][1]["done"] == 24
    assert "| killed |" in folder_pages.markdown(results)


def test_a_broken_output_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.bbmr").write_bytes(b"BBMR")
    assert len(folder._broken(tmp_path)) == 1


def test_growing_memory_is_seen() -> None:
    watched = object.__new__(folder.Watched)
    watched._processes = {1: folder._Process("worker 1", [(index, 100 + index) for index in range(100)])}
    (row,) = watched.memory()
    assert row["growth_mb"] == pytest.approx(89, abs=2)
    assert folder.resident(os.getpid()) is not None
