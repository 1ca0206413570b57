"""Coded pictures: workers make what a container's reader sees, and start and end cleanly."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bbmr_models.training.bicubic_planes import make_planes
from bbmr_models.training.coded import pool as coded_module
from bbmr_models.training.coded.pool import CROPS_PER_WINDOW, CodedPool, CodingError, open_coded_pool
from bbmr_models.training.coded.worker import CodedWindow, CodingTask, code_window
from bbmr_models.training.crop_settings import CropSettings
from bbmr_models.training.loop import train
from bbmr_models.training.pool import PicturePool
from bbmr_models.training.sampler import Sampler
from bbmr_models.weights import load
from bbmr_shared.container.planes import GREY
from bbmr_shared.grid import RATES, BlockGrid
from bbmr_shared.images.codecs import coding_error_byte
from bbmr_shared.resample import bicubic

from .training_parts import CONFIG, TRAINING

CROP_SETTINGS = CropSettings(crop=64, batch=8, coded_share=0.5)


def make_task(
    picture: NDArray[np.uint8], palette: tuple[int, ...] = RATES, multiplier: float = 300.0
) -> CodingTask:
    _, errors = make_planes(torch.from_numpy(picture))
    return CodingTask(picture, errors.numpy(), palette, 128, multiplier, 1)


def test_a_worker_makes_what_a_reader_of_the_container_sees(photo: NDArray[np.uint8]) -> None:
    picture = np.ascontiguousarray(photo[:400, :464])
    task = make_task(picture)
    coded = code_window(task)
    grid = BlockGrid(464, 400, 128)
    rate_map = coded.rates[::8, ::8]
    assert np.array_equal(grid.expand(rate_map, 16), coded.rates)
    assert coded.planes.keys() == set(np.unique(rate_map).tolist())
    assert len(coded.planes) > 1
    for rate, plane in coded.planes.items():
        own = grid.expand(rate_map == rate, rate)
        given = bicubic(picture, 464 // rate, 400 // rate)
        mse = float(np.square(plane[own].astype(float) - given[own]).mean())
        assert set(coded.errors[coded.rates == rate]) == {coding_error_byte(mse)}
        assert mse > 0
        if not own.all():
            assert abs(plane[~own].astype(float).mean() - GREY) < 12
    costs = [make_task(picture, multiplier=m) for m in (20.0, 5000.0)]
    fine, coarse = (code_window(task).rates.astype(float).mean() for task in costs)
    assert fine < coarse
    assert set(np.unique(code_window(make_task(picture, (4,))).rates)) == {4}


def test_coded_crops_take_map_and_error_as_they_are(pool: PicturePool) -> None:
    """One window, every crop of it: base, rate and error are those of the coded window."""
    coded = CodedPool(pool, CROP_SETTINGS, 0)
    window, task = coded._next_task()
    result = code_window(task)
    coded._store(result, window)
    drawn = torch.rand(16, 9, dtype=torch.float64)
    canvas, target = coded.draw(drawn, 4)
    own = {(int(rate), int(result.errors[result.rates == rate][0])) for rate in np.unique(result.rates)}
    seen = torch.stack((canvas.rate.flatten(), canvas.error.flatten().long())).unique(dim=1).T.tolist()
    assert {tuple(pair) for pair in seen} <= own
    assert canvas.error.min() > 0
    error = (canvas.base - target).square().mean().item()
    assert 0 < error < 0.02


def test_batches_mix_both_and_windows_are_renewed(pool: PicturePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coded_module, "SLOTS", 4)
    with open_coded_pool(pool, CROP_SETTINGS, 0, workers=1) as coded:
        assert coded is not None
        children = multiprocessing.active_children()
        sampler = Sampler(pool, CROP_SETTINGS, 0, coded)
        shares = [(sampler.draw()[0].error.amax((1, 2)) > 0).float().mean().item() for _ in range(30)]
        assert 0.3 < np.mean(shares) < 0.7
        coded.refresh()
        while coded._busy:
            assert coded.refresh(60.0)
        assert coded._arrived == 4 + coded._drawn // CROPS_PER_WINDOW > 4
        process = next(iter([*coded._idle, *coded._busy]))._process
        assert process in children
    assert not process.is_alive()


def test_an_error_in_a_worker_is_reported(pool: PicturePool) -> None:
    worker = coded_module._Worker()
    try:
        worker.send(replace(make_task(np.zeros((64, 64, 3), np.uint8)), block=17))
        with pytest.raises(CodingError, match="multiple of 16"):
            worker.receive()
        worker.send(make_task(np.zeros((64, 64, 3), np.uint8)))
        assert isinstance(worker.receive(), CodedWindow)
        assert worker._process.pid is not None
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(CodingError, match="has died"):
            worker.receive()
    finally:
        worker.close()


def test_a_run_with_coded_pictures_exports_a_model_for_lossy_planes(
    pool: PicturePool, tmp_path: Path
) -> None:
    config = replace(TRAINING, steps=3, coded_share=0.5, coded_workers=1)
    model = load(str(train(pool, CONFIG, config, tmp_path)))
    assert model.config.lossy
    assert not multiprocessing.active_children()
