"""Training: from a folder to weights that reconstruct, in seconds and on two cores."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from bbmr_client.encoder import encode
from bbmr_models.jointsr import JointSR, JointSRConfig
from bbmr_models.reconstruct import Reconstructor
from bbmr_models.train import app
from bbmr_models.training import loop
from bbmr_models.training.batches import Sampler
from bbmr_models.training.loop import DivergedError, Plan, train
from bbmr_models.training.pool import Entry, hold_out, load_pool
from bbmr_models.weights import load, save_weights

CONFIG = JointSRConfig(channels=8, blocks=1, deblock=8)
PLAN = Plan(minutes=1 / 30, batch=2, crop=64, held=1, warmup=5)


@pytest.fixture(scope="module")
def folder(photo: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three crops, a text file with a picture's name, a truncated picture and one too small."""
    path = tmp_path_factory.mktemp("photos")
    for index in range(3):
        Image.fromarray(photo[:300, index * 200 : index * 200 + 300]).save(path / f"{index}.png")
    (path / "text.jpg").write_text("not a picture")
    (path / "half.png").write_bytes((path / "0.png").read_bytes()[:5000])
    Image.fromarray(photo[:40, :40]).save(path / "tiny.png")
    return path


@pytest.fixture(scope="module")
def pool(folder: Path) -> list[Entry]:
    return load_pool(folder, 64, 1, 0)


def test_bad_pictures_are_named_and_skipped(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert len(load_pool(folder, 64, 1, 0)) == 3
    for name in ("text.jpg", "half.png", "tiny.png"):
        assert name in caplog.text


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no usable photograph"):
        load_pool(tmp_path, 64, 1, 0)


def test_all_sizes_of_a_held_out_picture_are_held_out(folder: Path) -> None:
    pool = load_pool(folder, 64, 5, 0)
    training, held = hold_out(pool, 12)
    assert {entry.source for entry in held} == {"2.png"}
    assert {entry.source for entry in training} == {"0.png", "1.png"}
    with pytest.raises(ValueError, match="two photographs"):
        hold_out([entry for entry in pool if entry.source == "0.png"], 12)


def test_the_baseline_sees_one_rate_only(pool: list[Entry]) -> None:
    canvas, _ = Sampler(pool, 64, 8, 0, uniform_only=4).draw()
    assert (canvas.rate == 4).all()


def test_batches_hold_the_composite_of_their_own_target(pool: list[Entry]) -> None:
    canvas, target = Sampler(pool, 64, 8, 0).draw()
    finest = canvas.rate.repeat_interleave(4, 2).repeat_interleave(4, 3).expand_as(target) == 1
    assert torch.equal(canvas.base[finest], target[finest])
    error = (canvas.base - target)[~finest].square().mean().item()
    assert 0 < error < 0.02
    assert set(canvas.rate.unique().tolist()) <= {1, 2, 4, 8, 16}


def test_rate_maps_follow_the_blocks(pool: list[Entry]) -> None:
    """Within a crop, rates change at most at one column and one row of cells (a crop is smaller than a block)."""
    sampler = Sampler(pool, 64, 16, 0)
    for _ in range(4):
        cells = sampler.draw()[0].rate[:, 0, ::4, ::4]
        changes = (cells[:, :, 1:] != cells[:, :, :-1]).any(dim=1).sum(dim=1)
        assert changes.max() <= 1


def test_a_run_exports_resumes_and_reconstructs(
    pool: list[Entry], photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    first = load(str(train(pool, CONFIG, PLAN, tmp_path, "cpu")))
    steps = torch.load(tmp_path / "state.pt", weights_only=True)["step"]
    second = load(str(train(pool, CONFIG, PLAN, tmp_path, "cpu")))
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] > steps > 0
    assert not torch.equal(first.head.weight, second.head.weight)
    assert len((tmp_path / "log.csv").read_text().splitlines()) >= 3
    assert Reconstructor(second).reconstruct(encode(photo)).size == (700, 500)


def test_the_command_goes_on_from_weights(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    start = JointSR(CONFIG)
    weights = tmp_path / "start.safetensors"
    save_weights(start, weights, {}, torch.float32)
    command = [str(folder), "--run", str(tmp_path / "run"), "--steps", "2", "--rate", "1e-9", "--crop", "64"]
    done = CliRunner().invoke(app, [*command, "--batch", "2", "--start", str(weights)])
    assert done.exit_code == 0, done.output
    result = load(str(tmp_path / "run" / "model.safetensors"))
    assert result.config == CONFIG
    torch.testing.assert_close(result.head.weight, start.head.weight, atol=1e-3, rtol=1e-3)


def test_resuming_goes_on_in_the_same_data_order(pool: list[Entry]) -> None:
    sampler = Sampler(pool, 64, 2, 5)
    sampler.draw()
    state = sampler.rng.bit_generator.state
    expected = sampler.draw()[1]
    again = Sampler(pool, 64, 2, 99)
    again.rng.bit_generator.state = state
    assert torch.equal(again.draw()[1], expected)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_state(
    pool: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(pool, CONFIG, PLAN, tmp_path, "cpu")
    before = (tmp_path / "state.pt").read_bytes()
    monkeypatch.setattr(loop, "border_weight", lambda canvas: torch.full((1,), float("nan")))
    with pytest.raises(DivergedError, match="not finite"):
        train(pool, CONFIG, PLAN, tmp_path, "cpu")
    assert (tmp_path / "state.pt").read_bytes() == before
