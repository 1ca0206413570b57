"""The worker of a bulk run without Ray: files that kill their process, and jobs in both directions."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bbmr_client.batch.result import FileTask, TaskDone, TaskFailed
from bbmr_client.encoding.encoder import encode
from bbmr_server.cluster.bulk_worker import BulkTask, BulkWorker, PoisonGuard
from bbmr_server.settings import Settings
from bbmr_shared.container import Container


def job_in(folder: Path, index: int = 1) -> FileTask:
    source, target = folder / f"{index}.bbmr", folder / f"{index}.png"
    return FileTask(index, str(source), str(target), str(folder / f".bbmr-0-{index}-x.part"), None, False)


def test_a_job_fails_after_two_dead_processes(tmp_path: Path) -> None:
    guard, job = PoisonGuard(), job_in(tmp_path)
    temporary = Path(job.temporary)
    with guard.share(job) as failed:
        assert failed is None
    temporary.touch()  # as a process that died leaves it
    with guard.share(job) as failed:
        assert failed is None
        assert not temporary.exists()  # renamed, so that the next attempt can write
        temporary.touch()  # the second process dies too
        guard = PoisonGuard()
        with guard.share(job) as second:
            assert isinstance(second, TaskFailed)
            assert "two worker processes" in second.reason
    assert not list(tmp_path.glob(".bbmr-*"))


def test_a_suspect_job_runs_alone(tmp_path: Path) -> None:
    guard = PoisonGuard()
    suspect, other = job_in(tmp_path, 1), job_in(tmp_path, 2)
    Path(suspect.temporary).touch()
    inside = threading.Event()

    def enter() -> None:
        with guard.share(suspect):
            inside.set()

    with guard.share(other):
        thread = threading.Thread(target=enter)
        thread.start()
        assert not inside.wait(0.2)
    thread.join(10)
    assert inside.is_set()
    with guard.share(other) as failed:  # other jobs run again afterwards
        assert failed is None


@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_a_worker_does_a_pickled_job(tmp_path: Path, container: Container, form: str) -> None:
    job = job_in(tmp_path)
    Path(job.source).write_bytes(container.to_bytes())
    task = BulkTask("reconstruct", b"key", Settings(device="cpu"), format=form)  # type: ignore[arg-type]
    worker = pickle.loads(pickle.dumps(BulkWorker))(pickle.loads(pickle.dumps(task)))
    output = worker({"job": [pickle.dumps(job)]})
    (made,) = [pickle.loads(result) for result in output["result"]]
    assert isinstance(made, TaskDone)
    assert (made.stats.width, made.stats.height) == (container.width, container.height)
    worker.close()


def test_a_bad_file_fails_alone(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    Path(job.source).write_bytes(b"not a container")
    worker = BulkWorker(BulkTask("reconstruct", b"key", Settings(device="cpu")))  # type: ignore[arg-type]
    result = worker.do(job)
    worker.close()
    assert isinstance(result, TaskFailed)
    assert not result.affects_all


def test_photos_become_containers(tmp_path: Path, detail: np.ndarray) -> None:
    photo, target = tmp_path / "1.png", tmp_path / "1.bbmr"
    Image.fromarray(detail).save(photo)
    job = FileTask(1, str(photo), str(target), str(tmp_path / ".bbmr-0-1-x.part"), None, False)
    worker = BulkWorker(BulkTask("encode", b"key", Settings(), encoding={"rate": 3}))  # type: ignore[arg-type]
    made = worker.do(job)
    worker.close()
    assert isinstance(made, TaskDone)
    assert Path(job.temporary).read_bytes() == encode(photo, rate=3).to_bytes()
