"""Training of `light` on coded pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bbmr_models import load
from bbmr_models.jointsr import JointSRConfig
from bbmr_models.networks import make_network
from bbmr_models.training.unet.dataset import CodedDataset, code_picture, make_dataset
from bbmr_models.training.unet.trainer import UNetTraining, gains_db, relative_error, train_unet
from bbmr_shared.colour import weighted_squared_error
from bbmr_shared.errors import UsageError
from tests.models.conftest import SAMPLE


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    with Image.open(SAMPLE) as opened:
        return np.asarray(opened.convert("RGB").resize((320, 288)))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, photo: np.ndarray) -> CodedDataset:
    folder = tmp_path_factory.mktemp("coded")
    photos = folder / "photos"
    photos.mkdir()
    for number in range(3):
        Image.fromarray(np.roll(photo, 40 * number, 1)).save(photos / f"{number}.png")
    make_dataset(photos, folder / "out", passes=4, seed=3)
    return CodedDataset([folder / "out"], held_out=1)


class TestDataset:
    @pytest.mark.parametrize("condition", ["r1", "r2", "mixed", "lossless", "lossless-mixed"])
    def test_a_picture_is_what_a_decoder_composites(self, photo: np.ndarray, condition: str) -> None:
        coded = code_picture(photo, condition, np.random.default_rng(5))
        assert coded.base.shape == coded.target.shape == photo.shape
        assert np.array_equal(coded.target, photo)
        assert coded.rate.shape == coded.error.shape == (18, 20)
        assert (coded.error == 0).all() == condition.startswith("lossless")
        assert coded.mse == pytest.approx(float(weighted_squared_error(coded.base, photo).mean()))
        assert 0 < coded.mse < 2000
        if condition[0] == "r":
            assert (coded.rate == int(condition[1:])).all()

    def test_windows_are_parts_of_the_pictures(self, dataset: CodedDataset) -> None:
        rng = np.random.default_rng(0)
        for _ in range(20):
            window = dataset.draw(rng, 4)
            assert window.base.shape == window.target.shape == (64, 64, 3)
            assert window.rate.shape == window.error.shape == (4, 4)
            exact = np.repeat(np.repeat((window.rate == 1) & (window.error == 0), 16, 0), 16, 1)
            assert np.array_equal(window.base[exact], window.target[exact])

    def test_held_out_pictures_are_not_drawn(self, dataset: CodedDataset) -> None:
        sources = {entry.source for _, entry in dataset._training}
        held = {entry.source for _, entry in dataset._held_out}
        assert held == {"2.png"}
        assert sources == {"0.png", "1.png"}

    def test_another_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="is not a dataset of coded pictures"):
            CodedDataset([tmp_path])
        with pytest.raises(UsageError, match="there is no photograph"):
            make_dataset(tmp_path, tmp_path / "out", 1, 0)


class TestTraining:
    CONFIG = UNetTraining(steps=4, batch=2, crop=64, warmup=1)

    def test_the_loss_is_the_weighted_error_over_that_of_the_composite(self, photo: np.ndarray) -> None:
        other = np.clip(photo.astype(int) + np.random.default_rng(0).integers(-9, 9, photo.shape), 0, 255)
        other = other.astype(np.uint8)
        tensors = [torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() / 255 for x in (photo, other)]
        expected = float(weighted_squared_error(photo, other).mean()) / 5
        assert relative_error(*tensors, torch.tensor([5.0])).item() == pytest.approx(expected, rel=1e-4)

    def test_it_learns_and_exports(self, dataset: CodedDataset, tmp_path: Path) -> None:
        config = UNetTraining(steps=60, batch=4, crop=64, learning_rate=2e-3, warmup=5, ema=0.9)
        path = train_unet(dataset, config, tmp_path)
        untrained = gains_db(make_network(JointSRConfig()), dataset)
        trained = gains_db(load(str(path)), dataset)
        assert trained.keys() == untrained.keys()
        assert np.mean([gain[1] for gain in trained.values()]) > np.mean(
            [gain[1] for gain in untrained.values()]
        )

    def test_a_resumed_run_equals_an_uninterrupted_one(self, dataset: CodedDataset, tmp_path: Path) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            whole = load(str(train_unet(dataset, self.CONFIG, tmp_path / "whole")))
            half = UNetTraining(steps=2, batch=2, crop=64, warmup=1)
            train_unet(dataset, half, tmp_path / "parts")
            parts = load(str(train_unet(dataset, half, tmp_path / "parts")))
        finally:
            torch.set_num_threads(threads)
        for name, value in whole.state_dict().items():
            assert torch.equal(value, parts.state_dict()[name]), name
