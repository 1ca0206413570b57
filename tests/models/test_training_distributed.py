"""Several processes: torchrun trains with two on CPUs, and one process resumes the run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bbmr_models.training.loop import train
from bbmr_models.training.lossless.pool import load_pool
from bbmr_models.weights import read

from .training_parts import CONFIG, TRAINING, make_folder

ROOT = Path(__file__).parents[2]


def test_two_processes_train_one_model_and_one_goes_on(
    photo: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = make_folder(tmp_path, photo), tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "tests.models.two_processes", str(folder), str(run)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "weights 1 orders 2" in done.stdout
    held = torch.load(run / "state.pt", weights_only=True)
    assert len(held["order"]) == 2
    assert held["crops"] == 3 * 2 * TRAINING.batch
    assert len((run / "log.jsonl").read_text().splitlines()) == 1

    path = train(load_pool(folder, 64, 1, 0), CONFIG, replace(TRAINING, steps=2, decay_share=0.0), run)
    assert "state is from 2 processes, this run has 1" in capsys.readouterr().out
    assert read(str(path))[1].notes["crops"] == 3 * 2 * TRAINING.batch + 2 * TRAINING.batch
