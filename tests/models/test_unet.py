"""The U-shaped network and its training on coded pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bbmr_models.training.unet.dataset import CodedDataset, code_picture, make_dataset
from bbmr_models.training.unet.trainer import UNetTraining, gains_db, relative_error, train_unet
from bbmr_models.unet import JointUNet, load_unet, log_error, save_unet
from bbmr_shared.colour import weighted_squared_error
from bbmr_shared.errors import UsageError
from bbmr_shared.images.codecs import coding_error_byte
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


def inputs(side: int, rate: int = 2, error: int = 100) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    half = torch.ones(1, 1, side // 2, side // 2)
    return torch.rand(1, 3, side, side), half * rate, half * error


class TestNetwork:
    def test_an_output_pixel_depends_on_its_radius_and_no_further(self) -> None:
        network = JointUNet(blocks=1)
        base, rate, error = inputs(192)
        base.requires_grad_()
        network(base, rate, error)[0, :, 96, 96].sum().backward()
        assert base.grad is not None
        rows = base.grad.abs().sum((0, 1, 3)).nonzero().flatten()
        assert max(96 - int(rows.min()), int(rows.max()) - 96) <= network.radius
        assert network.radius - 8 <= int(rows.max()) - 96

    def test_known_samples_stay_as_they_are(self) -> None:
        network = JointUNet()
        base, rate, error = inputs(32, rate=1, error=0)
        assert torch.equal(network(base, rate, error), base)
        changed = network(base, rate, error + 50)
        assert not torch.equal(changed, base)

    def test_error_bytes_are_read_as_mean_squared_errors(self) -> None:
        for mse in (0.5, 7.0, 900.0):
            byte = torch.tensor([[[[coding_error_byte(mse)]]]])
            assert log_error(byte).item() == pytest.approx(np.log2(1 + mse) / 8, abs=0.01)
        assert log_error(torch.zeros(1)).item() == 0

    def test_a_file_gives_the_same_network_back(self, tmp_path: Path) -> None:
        network = JointUNet((16, 24, 32), 1)
        save_unet(network, tmp_path / "a.safetensors", {"steps": 3})
        again = load_unet(tmp_path / "a.safetensors")
        assert (again.widths, again.blocks) == ((16, 24, 32), 1)
        arguments = inputs(32)
        assert torch.allclose(network(*arguments), again(*arguments), atol=2e-3)


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
        untrained = gains_db(JointUNet(), dataset)
        trained = gains_db(load_unet(path), dataset)
        assert trained.keys() == untrained.keys()
        assert np.mean([gain[1] for gain in trained.values()]) > np.mean(
            [gain[1] for gain in untrained.values()]
        )

    def test_a_resumed_run_equals_an_uninterrupted_one(self, dataset: CodedDataset, tmp_path: Path) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            whole = load_unet(train_unet(dataset, self.CONFIG, tmp_path / "whole"))
            half = UNetTraining(steps=2, batch=2, crop=64, warmup=1)
            train_unet(dataset, half, tmp_path / "parts")
            parts = load_unet(train_unet(dataset, half, tmp_path / "parts"))
        finally:
            torch.set_num_threads(threads)
        for name, value in whole.state_dict().items():
            assert torch.equal(value, parts.state_dict()[name]), name
