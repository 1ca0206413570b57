"""`bbmr-client encode` over folders: real photos, real worker processes, real signals."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client.batch.journal import JOURNAL_NAME
from bbmr_client.batch.processes import EncodeProcess
from bbmr_client.batch.result import FileTask, TaskDone, TaskFailed
from bbmr_shared.container import Container
from bbmr_shared.errors import UsageError
from tests.client.terminal import seen_on_a_terminal

Run = Callable[..., Any]
Fails = Callable[..., str]

posix = pytest.mark.skipif(os.name == "nt", reason="signals and pseudo-terminals of POSIX")


@pytest.fixture
def photos(tmp_path: Path, rgb: Callable[..., np.ndarray]) -> Path:
    """Three photos in a tree, and one broken file."""
    folder = tmp_path / "photos"
    (folder / "2024").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "2024/c.png"):
        Image.fromarray(rgb(60, 40)).save(folder / name)
    (folder / "7318.jpg").write_bytes(b"\xff\xd8\xff broken")
    return folder


def containers(folder: Path) -> dict[str, tuple[int, int]]:
    found = {path: Container.from_bytes(path.read_bytes()) for path in sorted(folder.rglob("*.bbmr"))}
    return {str(path.relative_to(folder)): (one.width, one.height) for path, one in found.items()}


def test_a_folder(run: Run, photos: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out", tmp_path / "r.csv"
    first = run("encode", photos, "-o", out, "--report", report, "--json", "--quiet", "--jobs", 2)
    assert first.code == 1
    assert first.err.startswith("bbmr-client: 1 of 4 photos failed, the first: ")
    told = json.loads(first.out)
    assert (told["done"], told["failed"]) == (3, 1)
    assert containers(out) == dict.fromkeys(("2024/c.bbmr", "a.bbmr", "b.bbmr"), (60, 40))
    rows = list(csv.DictReader(report.open(encoding="utf-8")))
    assert [row["outcome"] for row in rows] == ["done", "failed", "done", "done"]
    assert [int(row["bytes_out"]) for row in rows if row["bytes_out"]] == [
        (out / name).stat().st_size for name in ("2024/c.bbmr", "a.bbmr", "b.bbmr")
    ]
    (photos / "7318.jpg").unlink()
    second = run("encode", photos, "-o", out, "--json", "--quiet")
    assert second.code == 0
    assert json.loads(second.out)["unchanged"] == 3


def test_options_reach_the_workers_and_the_journal(run: Run, photos: Path, tmp_path: Path) -> None:
    out, names = tmp_path / "out", (photos / "a.png", photos / "b.jpg")
    assert run("encode", *names, "-o", out, "--rate", 2, "--uniform", "--codec", "png", "--quiet").code == 0
    for name in ("a", "b"):
        container = Container.from_bytes((out / f"{name}.bbmr").read_bytes())
        assert set(np.unique(container.rate_map)) == {2}
        assert container.planes[0].codec == "png"
    refused = run("encode", *names, "-o", out, "--quiet")
    assert refused.code == 1
    assert "other options" in refused.err
    assert run("encode", *names, "-o", out, "--overwrite", "--quiet").code == 0


def test_a_budget_that_one_photo_cannot_keep(
    run: Run, tmp_path: Path, rgb: Callable[..., np.ndarray]
) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(rgb(60, 40)).save(tmp_path / "in" / "a.png")
    Image.fromarray(np.dstack([rgb(60, 40), rgb(60, 40, seed=8)[..., 0]])).save(tmp_path / "in" / "b.png")
    for budget in (("--max-bytes", 1000), ("--bpp", 1000 * 8 / 2400)):
        outcome = run("encode", tmp_path / "in", "-o", tmp_path / "out", *budget, "--overwrite")
        assert outcome.code == 1
        assert "b.png: the smallest file of this photo has " in outcome.err
        assert "the alpha channel" in outcome.err
        assert (tmp_path / "out/a.bbmr").stat().st_size <= 1000
        assert not (tmp_path / "out/b.bbmr").exists()


def test_one_photo_into_a_folder(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run("encode", photos / "a.png", "-o", f"{tmp_path}/new/").code == 0
    assert run("encode", photos / "b.jpg", "-o", tmp_path / "new").code == 0
    assert list(containers(tmp_path / "new")) == ["a.bbmr", "b.bbmr"]


def test_a_pattern(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run("encode", f"{photos}/*.png", f"{photos}/b*", "-o", tmp_path / "out").code == 0
    assert list(containers(tmp_path / "out")) == ["a.bbmr", "b.bbmr"]


def test_warnings_are_told(run: Run, tmp_path: Path, rgb: Callable[..., np.ndarray]) -> None:
    deep = rgb(40, 40)[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    alone = run("encode", tmp_path / "deep.png", "-o", tmp_path / "x.bbmr")
    assert f"{tmp_path}/deep.png: warning: " in alone.err
    assert "16" in alone.err.splitlines()[0]
    told = json.loads(run("encode", tmp_path / "deep.png", "-o", tmp_path / "x.bbmr", "--json").out)
    assert len(told["warnings"]) == 1
    many = run("encode", tmp_path / "deep.png", "-o", f"{tmp_path}/out/", "--report", tmp_path / "r.json")
    assert f"{tmp_path}/deep.png: warning: {told['warnings'][0]}" in many.err
    assert json.loads((tmp_path / "r.json").read_text())[0]["warnings"] == told["warnings"]


def test_a_smaller_file_is_said_or_kept(run: Run, tmp_path: Path, rgb: Callable[..., np.ndarray]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    source = tmp_path / "small.jpg"
    Image.fromarray(noise).save(source, quality=5)
    out = tmp_path / "small.bbmr"
    line = run("encode", source, "--rate", 1).err.splitlines()[0]
    assert f"{source}: warning: the photo's file has only {source.stat().st_size} bytes" in line
    assert "--keep-smaller" in line
    told = json.loads(run("encode", source, "--rate", 1, "--keep-smaller", "--json").out)
    assert told["original"] is True
    assert told["warnings"] == []
    container = Container.from_bytes(out.read_bytes())
    assert container.original
    assert container.planes[0].data == source.read_bytes()
    back = run("reconstruct", out, "-o", tmp_path / "back.jpg", "--json")
    assert back.code == 0, "no server is needed"
    assert json.loads(back.out)["original"] is True
    assert (tmp_path / "back.jpg").read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rate", 17), "1 to 16"),
        (("--rate", 4, "--rates", "1,2"), "palette"),
        (("--jobs", 0), "--jobs"),
        (("--jobs", 1000), "--jobs"),
        (("--report", "r.txt"), ".csv or .json"),
        (("--quality", 50, "--codec", "png"), "png planes are lossless"),
        (("--target-psnr", 90), "from 10 to 60 dB"),
        (("--bpp", 0), "above 0"),
    ],
)
def test_wrong_usage_is_known_before_anything_is_written(
    fails: Fails, photos: Path, tmp_path: Path, options: tuple[object, ...], words: str
) -> None:
    assert words in fails("encode", photos, "-o", tmp_path / "out", *options, code=2)
    assert not (tmp_path / "out").exists()


def test_a_report_needs_many(fails: Fails, photos: Path, tmp_path: Path) -> None:
    options = ("-o", tmp_path / "x.bbmr", "--report", tmp_path / "r.csv")
    assert "for many files" in fails("encode", photos / "a.png", *options, code=2)


class TestWorkers:
    @pytest.fixture
    def worker(self) -> Iterator[EncodeProcess]:
        process = EncodeProcess({"rate": 4}, b"key")
        yield process
        process.stop()

    def task(self, photos: Path, index: int = 1) -> FileTask:
        return FileTask(
            index, str(photos / "a.png"), str(photos / "a.bbmr"), str(photos / f"{index}.part"), None, False
        )

    @posix
    def test_one_that_dies_fails_its_one_file(self, worker: EncodeProcess, photos: Path) -> None:
        worker.start()
        assert isinstance(worker(self.task(photos)), TaskDone)
        assert worker._process is not None
        first = worker._process.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)  # so that it has the task for certain when it dies
        threading.Timer(0.2, os.kill, (first, signal.SIGKILL)).start()
        result = worker(self.task(photos, 2))
        assert isinstance(result, TaskFailed)
        assert "SIGKILL: perhaps there was not enough memory" in result.reason
        assert isinstance(worker(self.task(photos, 3)), TaskDone), "another one takes its place"
        assert worker._process.pid != first

    def test_options_that_make_no_sense(self) -> None:
        process = EncodeProcess({"rate": 99}, b"key")
        with pytest.raises(UsageError, match="1 to 16"):
            process.start()
        process.stop()


def command(photos: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "bbmr_client", "encode", str(photos), "-o", str(out), *options]


def many(folder: Path, rgb: Callable[..., np.ndarray], count: int = 60) -> Path:
    folder.mkdir()
    for index in range(count):
        Image.fromarray(rgb(256, 256, seed=index)).save(folder / f"{index:03}.png")
    return folder


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """Every process below `pid`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(path.parent.name)
            found += [child, *children(child)]
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@posix
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
class TestSignals:
    @pytest.fixture
    def running(
        self, tmp_path: Path, rgb: Callable[..., np.ndarray]
    ) -> Iterator[tuple[subprocess.Popen[str], Path, Path]]:
        photos, out = many(tmp_path / "in", rgb), tmp_path / "out"
        words = command(photos, out, "--jobs", "2", "--report", str(tmp_path / "r.csv"))
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
        wait_for(lambda: len(list(out.glob("*.bbmr"))) >= 5)
        yield process, photos, out
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @pytest.mark.parametrize(
        ("number", "to_all", "status"),
        [(signal.SIGTERM, False, 143), (signal.SIGTERM, True, 143), (signal.SIGINT, True, 130)],
    )
    def test_a_polite_end(
        self,
        running: tuple[subprocess.Popen[str], Path, Path],
        number: signal.Signals,
        to_all: bool,
        status: int,
        tmp_path: Path,
    ) -> None:
        process, _, out = running
        workers = children(process.pid)
        assert len(workers) >= 2
        sent = time.monotonic()
        (os.killpg if to_all else os.kill)(process.pid, number)
        _, told = process.communicate(timeout=20)
        assert process.returncode == status, told
        assert time.monotonic() - sent < 5
        wait_for(lambda: not any(is_alive(worker) for worker in workers), 3)
        assert not list(out.glob("*.part"))
        done = len(containers(out))
        lines = [" ".join(line.split()) for line in told.splitlines()]
        table = [line for line in lines if " of 60 photos" not in line]  # progress, on a slow machine
        left = f"left {60 - done} (interrupted: the same command goes on from here)"
        assert table[:3] == [f"done {done} photos", "failed 0", left]
        assert "Traceback" not in told
        rows = list(csv.DictReader((tmp_path / "r.csv").open()))
        assert len(rows) == 60
        assert [row["outcome"] for row in rows].count("done") == done

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_an_end_while_the_workers_start(
        self, photos: Path, tmp_path: Path, number: signal.Signals, status: int
    ) -> None:
        """Twice, as timeout(1) sends it, and to processes that do not yet know what to do with it."""
        process = subprocess.Popen(
            command(photos, tmp_path / "out"), stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        wait_for(lambda: children(process.pid))
        os.killpg(process.pid, number)
        os.killpg(process.pid, number)
        _, told = process.communicate(timeout=20)
        assert process.returncode in (status, -number), told  # the second may come when all is over
        assert "Traceback" not in told
        assert not list((tmp_path / "out").glob("*.part"))

    def test_killed_and_started_again(
        self, running: tuple[subprocess.Popen[str], Path, Path], tmp_path: Path
    ) -> None:
        process, photos, out = running
        workers = children(process.pid)
        process.kill()
        process.wait()
        wait_for(lambda: not any(is_alive(worker) for worker in workers))
        before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.glob("*.bbmr")}
        assert containers(out), "every output that is there is whole"
        assert not (tmp_path / "r.csv").exists()
        report = str(tmp_path / "r.csv")
        done = subprocess.run(
            command(photos, out, "--json", "--report", report), capture_output=True, text=True, check=True
        )
        told = json.loads(done.stdout)
        assert told["done"] + told["unchanged"] == 60
        assert told["unchanged"] >= len(before) - 2
        assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before} == before
        assert len(containers(out)) == 60
        assert {path.name for path in out.iterdir()} == {f"{index:03}.bbmr" for index in range(60)} | {
            JOURNAL_NAME
        }
        rows = list(csv.DictReader((tmp_path / "r.csv").open()))
        assert [row["width"] for row in rows] == ["256"] * 60

    def test_a_second_run_is_refused(self, running: tuple[subprocess.Popen[str], Path, Path]) -> None:
        process, photos, out = running
        os.kill(process.pid, signal.SIGSTOP)
        second = subprocess.run(command(photos, out), capture_output=True, text=True, check=False)
        os.kill(process.pid, signal.SIGCONT)
        assert second.returncode == 1
        assert "another run is working in" in second.stderr

    def test_a_worker_killed_in_the_middle(self, running: tuple[subprocess.Popen[str], Path, Path]) -> None:
        process, _, out = running
        victim = max(
            children(process.pid),
            key=lambda pid: int(Path(f"/proc/{pid}/statm").read_text().split()[1]),
        )
        os.kill(victim, signal.SIGKILL)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 1
        assert told.count("its worker process ended (SIGKILL") == 3, (
            "when it happens, in the list, at the end"
        )
        assert len(containers(out)) == 59
        assert not list(out.glob("*.part"))


@posix
def test_a_terminal_sees_a_bar(tmp_path: Path, rgb: Callable[..., np.ndarray]) -> None:
    photos = many(tmp_path / "in", rgb, 12)
    (photos / "bad.jpg").write_bytes(b"bad")
    status, text = seen_on_a_terminal(command(photos, tmp_path / "out"), 100)
    assert status == 1
    assert "━" in text
    assert "/13 photos" in text
    assert "saved" in text
    assert "failed: " in text
    assert "\x1b[?25h" in text, "the cursor is there again"
    assert text.splitlines()[-1].startswith("bbmr-client: 1 of 13 photos failed")


def test_a_worker_that_cannot_be_started_says_so(
    fails: Fails, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bbmr_client.batch.processes.serve", _ends_at_once)
    message = fails("encode", photos, "-o", tmp_path / "out", "--quiet", code=1)
    assert "a worker process could not be started (exit status 9)" in message


def _ends_at_once(*_: object) -> None:
    os._exit(9)


@posix
def test_a_pipe_among_the_photos_is_not_waited_for(run: Run, photos: Path, tmp_path: Path) -> None:
    os.mkfifo(photos / "pipe.jpg")
    done = run("encode", photos / "pipe.jpg", photos / "a.png", "-o", tmp_path / "out")
    assert done.code == 1
    assert "pipe.jpg is no regular file" in done.err
    assert (tmp_path / "out" / "a.bbmr").is_file()


@posix
def test_a_pipe_in_the_output_s_place_is_replaced_on_request(run: Run, tmp_path: Path) -> None:
    photo, out = tmp_path / "a.png", tmp_path / "out"
    Image.new("RGB", (20, 20)).save(photo)
    out.mkdir()
    for _ in range(2):
        assert run("encode", photo, "-o", f"{out}/", "--overwrite", "--quiet").code == 0
        (out / "a.bbmr").unlink()
        os.mkfifo(out / "a.bbmr")
    assert run("encode", photo, "-o", f"{out}/", "--overwrite", "--quiet").code == 0
    assert Container.from_bytes((out / "a.bbmr").read_bytes()).width == 20
