"""The code of the worker process, run in this one."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bbmr_models.config import JointSRConfig
from bbmr_server.engine.worker import main as worker_main
from bbmr_server.engine.worker.main import Worker, memory_used
from bbmr_server.engine.worker.shared_memory import SharedTiles, bytes_of
from bbmr_shared.errors import WeightsError
from tests.server.fakes import TILES

SIDE = 32


class EchoNetwork:
    """Adds nothing; raises `error` if there is one."""

    config: JointSRConfig = TILES

    def __init__(self) -> None:
        self.error: Exception | None = None

    def run(self, batch: Any) -> Any:
        if self.error is not None:
            raise self.error
        return np.stack([tile.base for tile in batch])


@pytest.fixture
def network() -> EchoNetwork:
    return EchoNetwork()


@pytest.fixture
def worker(network: EchoNetwork) -> Worker:
    worker = Worker("cpu", SharedTiles(1, bytes_of(1, (SIDE, SIDE))), lambda *_: network)
    assert worker.execute("load", "light@1", "light", b"") == ("loaded",)
    return worker


def run(worker: Worker) -> tuple[Any, ...]:
    return worker.execute("run", "light@1", 0, 1, (SIDE, SIDE))


def test_a_batch_is_done_in_place(worker: Worker) -> None:
    (tile,), result = worker.memory.views(0, 1, (SIDE, SIDE), TILES.levels)
    tile.base[...] = 77
    outcome, seconds, memory = run(worker)
    assert outcome == "done"
    assert seconds >= 0
    assert memory > 1_000_000
    assert (result == 77).all()


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (ValueError("anything else"), "failed"),
    ],
)
def test_an_error_that_the_worker_survives_is_reported(
    worker: Worker, network: EchoNetwork, error: Exception, outcome: str
) -> None:
    network.error = error
    assert run(worker)[0] == outcome
    network.error = None
    assert run(worker)[0] == "done"


@pytest.mark.parametrize("message", ["CUDA error: an illegal access", "HIP error: an illegal access"])
def test_an_error_of_the_gpu_ends_the_worker(worker: Worker, network: EchoNetwork, message: str) -> None:
    network.error = RuntimeError(message)
    with pytest.raises(RuntimeError, match="illegal access"):
        run(worker)


def test_weights_that_do_not_run_are_refused_and_the_others_stay(
    worker: Worker, network: EchoNetwork
) -> None:
    network.error = ValueError("wrong shape")
    outcome, error = worker.execute("load", "other@1", "other", b"")
    assert outcome == "refused"
    assert isinstance(error, WeightsError)
    assert "wrong shape" in str(error)
    network.error = None
    assert run(worker)[0] == "done"
    assert worker.execute("drop", "light@1") == ("dropped",)
    assert run(worker)[0] == "failed"


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_memory_is_counted_in_the_pages_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: int
) -> None:
    """On 64-bit ARM a page may have 16 or 64 KiB."""
    statm = tmp_path / "statm"
    statm.write_text("900 123 45 6 0 78 0\n")
    monkeypatch.setattr(worker_main, "STATM", str(statm))
    monkeypatch.setattr(mmap, "PAGESIZE", page)
    assert memory_used("cpu") == 123 * page


def test_where_memory_is_unknown_it_is_zero(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(worker_main, "STATM", str(tmp_path / "nothing"))
    assert memory_used("cpu") == 0
