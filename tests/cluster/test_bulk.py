"""`bbmr-server bulk` as a process: it reconstructs a folder of containers, whichever process is killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_models.reconstruct import reconstruct_local
from bbmr_shared.container import Container
from tests.cluster.conftest import command, descendants, environment, wait_until

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[cluster]' in a checkout")

FILES = 48
WORKER = "ray::MapWorker(MapBatches(BulkWorker))"
"""The title that Ray gives to worker processes."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, detail: np.ndarray) -> Path:
    """`FILES` containers in two folders, and one file that is not a container."""
    folder = tmp_path_factory.mktemp("archive")
    for number in range(FILES):
        year = folder / str(2023 + number % 2)
        year.mkdir(exist_ok=True)
        crop = detail[number : number + 90, 2 * number : 2 * number + 120]
        (year / f"{number}.bbmr").write_bytes(encode(crop, rate=4).to_bytes())
    (folder / "damaged.bbmr").write_bytes(b"no container")
    return folder


def bulk(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "bbmr_server.main", "bulk", *map(str, arguments)]


def run(*arguments: object) -> tuple[int, dict[str, Any], str]:
    """Returns (exit status, summary, standard error)."""
    done = subprocess.run(
        bulk(*arguments, "--device", "cpu", "--json"),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=200,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else {}, done.stderr


def pictures(folder: Path) -> dict[str, Path]:
    """Returns the files of an output folder by name, without the journal and temporary files."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path for path in found}


@contextlib.contextmanager
def begun(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        bulk(*arguments, "--device", "cpu"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    try:
        yield process
    finally:
        below = descendants(process.pid)
        process.kill()
        process.wait()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_killed_run_continues_where_it_stopped(archive: Path, tmp_path: Path) -> None:
    """First its worker is killed, and another process repeats its work; then the run itself is killed."""
    target, report = tmp_path / "pictures", tmp_path / "report.json"
    with begun(archive, target) as process:
        # Such a file exists while the worker works on it.
        wait_until(lambda: process.poll() is not None or list(target.glob(".bbmr-*.part")), 200)
        workers = [pid for pid in descendants(process.pid) if command(pid).startswith(WORKER)]
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        before = len(pictures(target))
        wait_until(lambda: process.poll() is not None or len(pictures(target)) >= before + 3, 200)
        assert workers
        below = descendants(process.pid)
        process.kill()
        process.wait()
        partly = pictures(target)
        assert before + 3 <= len(partly) < FILES, "the run must be killed in the middle"
        for path in partly.values():
            with Image.open(path) as picture:
                picture.load()  # every file is whole
        stamps = {name: path.stat().st_mtime_ns for name, path in partly.items()}
        wait_until(lambda: not [pid for pid in below if command(pid).startswith(WORKER)], 40)

    status, summary, errors = run(archive, target, "--report", report)
    assert status == 1
    assert f"1 of {FILES + 1} containers failed" in errors
    assert "damaged.bbmr" in errors
    assert (summary["total"], summary["failed"], summary["left"]) == (FILES + 1, 1, 0)
    assert summary["unchanged"] >= len(partly)
    assert summary["done"] + summary["unchanged"] == FILES
    made = pictures(target)
    assert set(made) == {f"{2023 + number % 2}/{number}.png" for number in range(FILES)}
    assert {name: made[name].stat().st_mtime_ns for name in stamps} == stamps
    assert not list(target.rglob("*.part"))
    for name, path in made.items():
        source = archive / Path(name).with_suffix(".bbmr")
        expected = np.asarray(reconstruct_local(Container.from_bytes(source.read_bytes()))).astype(int)
        with Image.open(path) as picture:
            assert np.abs(np.asarray(picture).astype(int) - expected).max() <= 1, name
    rows = json.loads(report.read_text())
    assert len(rows) == FILES + 1
    (failed,) = [row for row in rows if row["outcome"] == "failed"]
    assert "not a bbmr container" in failed["reason"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-folder", "out"], "is not a folder"),
        ([".", "out", "--rate", "3"], "--rate belongs to --encode"),
        ([".", "out", "--quality", "3"], "--quality belongs to --encode"),
        ([".", "out", "--encode", "--quality", "101"], "from 0 to 100, not 101"),
        ([".", "out", "--encode", "--quality", "50", "--rate", "2"], "quality and rate exclude each other"),
        ([".", "out", "--encode", "--format", "png"], "do not belong to --encode"),
        ([".", "out", "--workers", "0"], "whole number, at least 1"),
        ([".", "out", "--device", "gpu"], "BBMR_DEVICE"),
        (["."], "DST"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = subprocess.run(
        bulk(*arguments),
        capture_output=True,
        text=True,
        env=environment(),
        cwd=tmp_path,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "out").exists()
