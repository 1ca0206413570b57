"""Training of `light` on coded pictures: the datasets, the batches and what the command does with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from bbmr_models import load
from bbmr_models.jointsr import JointSRConfig
from bbmr_models.networks import make_network
from bbmr_models.training.cli import app
from bbmr_models.training.coded.data import CodedData, turned
from bbmr_models.training.coded.dataset import (
    CodedDataset,
    CodedPicture,
    code_picture,
    make_dataset,
    parse_shares,
)
from bbmr_models.training.loop import train
from bbmr_models.training.loss import RGB_SHARE, relative_error
from bbmr_models.training.validation import gains
from bbmr_models.weights import save_weights
from bbmr_shared.colour import weighted_squared_error
from bbmr_shared.errors import UsageError
from bbmr_shared.metrics import psnr_y
from tests.models.conftest import SAMPLE, small_network

from .training_parts import CONFIG, TRAINING

RUN = replace(TRAINING, steps=4, warmup=1)


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    with Image.open(SAMPLE) as opened:
        return np.asarray(opened.convert("RGB").resize((320, 288)))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, picture: NDArray[np.uint8]) -> Path:
    """Three photographs, one file that is none and one that is too small."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        Image.fromarray(np.roll(picture, 40 * number, 1)).save(folder / f"{number}.png")
    (folder / "text.jpg").write_text("not a picture")
    Image.fromarray(picture[:100, :100]).save(folder / "tiny.png")
    return folder


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    out = tmp_path_factory.mktemp("coded") / "out"
    entries = make_dataset(photos, out, passes=4, seed=3)
    assert {entry.source for entry in entries} == {"0.png", "1.png", "2.png"}
    return out


@pytest.fixture
def dataset(coded: Path) -> CodedDataset:
    return CodedDataset([coded], held_out=1)


class TestDataset:
    @pytest.mark.parametrize("condition", ["r1", "r2", "mixed", "lossless", "lossless-mixed"])
    def test_a_picture_is_what_a_decoder_composites(self, picture: NDArray[np.uint8], condition: str) -> None:
        coded = code_picture(picture, condition, np.random.default_rng(5))
        assert coded.base.shape == coded.target.shape == picture.shape
        assert np.array_equal(coded.target, picture)
        assert coded.rate.shape == coded.error.shape == (18, 20)
        assert (coded.error == 0).all() == condition.startswith("lossless")
        assert coded.mse == pytest.approx(float(weighted_squared_error(coded.base, picture).mean()))
        assert 0 < coded.mse < 2000
        if condition[0] == "r":
            assert (coded.rate == int(condition[1:])).all()

    def test_windows_are_parts_of_the_pictures(self, dataset: CodedDataset) -> None:
        for numbers in np.random.default_rng(0).random((20, 3)):
            window = dataset.draw(*numbers, 4)
            assert window.base.shape == window.target.shape == (64, 64, 3)
            assert window.rate.shape == window.error.shape == (4, 4)
            exact = np.repeat(np.repeat((window.rate == 1) & (window.error == 0), 16, 0), 16, 1)
            assert np.array_equal(window.base[exact], window.target[exact])

    def test_held_out_pictures_are_not_drawn(self, dataset: CodedDataset) -> None:
        sources = {entry.source for _, entry in dataset._training}
        held = {entry.source for _, entry in dataset._held_out}
        assert (held, sources) == ({"2.png"}, {"0.png", "1.png"})

    def test_conditions_are_chosen(self, coded: Path, photos: Path, tmp_path: Path) -> None:
        index = {row["condition"] for row in json.loads((coded / "index.json").read_text())}
        assert len(index) > 2
        one = min(index & {"r1", "r2", "mixed"})
        dataset = CodedDataset([coded], conditions=[one])
        assert {entry.condition for _, entry in dataset._training} == {one}
        with pytest.raises(UsageError, match="of the conditions r16"):
            CodedDataset([coded], conditions=["r16"])
        assert parse_shares("r1:3,mixed") == {"r1": 3, "mixed": 1}
        made = make_dataset(photos, tmp_path, 1, 0, {"r4": 1})
        assert {entry.condition for entry in made} == {"r4"}

    @pytest.mark.parametrize("text", ["r3", "r1:x", "r1,", "r1:-2"])
    def test_an_unknown_condition_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="known are r1, r2"):
            parse_shares(text)

    def test_another_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="is not a dataset of coded pictures"):
            CodedDataset([tmp_path])
        with pytest.raises(UsageError, match="no usable photograph of at least 272 pixels"):
            make_dataset(tmp_path, tmp_path / "out", 1, 0)


class TestBatches:
    def test_pictures_and_maps_are_turned_together(self, picture: NDArray[np.uint8]) -> None:
        rate = np.random.default_rng(1).choice(np.array([1, 2], np.uint8), (16, 16))
        square = np.ascontiguousarray(picture[:256, :256])
        base = np.where(np.repeat(np.repeat(rate == 1, 16, 0), 16, 1)[..., None], square, 255 - square)
        window, seen = CodedPicture(base, square, rate, rate * 0, 7.0), set()
        for turn in range(8):
            one = turned(window, turn)
            exact = np.repeat(np.repeat(one.rate == 1, 16, 0), 16, 1)
            assert np.array_equal(one.base[exact], one.target[exact])
            assert np.array_equal(one.base[~exact], 255 - one.target[~exact])
            assert one.mse == window.mse
            seen.add(one.target.tobytes())
        assert len(seen) == 8

    def test_the_generator_holds_the_data_order(self, dataset: CodedDataset) -> None:
        data = CodedData(dataset, RUN, 5)
        before = data.generator.get_state()
        first = data.draw()
        assert first.canvas.base.shape == first.target.shape == (2, 3, 64, 64)
        assert first.canvas.rate.shape == first.canvas.error.shape == (2, 4, 4)
        assert not torch.equal(first.target, data.draw().target)
        data.generator.set_state(before)
        assert torch.equal(first.target, data.draw().target)

    def test_crops_that_do_not_fit_are_refused(self, dataset: CodedDataset) -> None:
        with pytest.raises(UsageError, match="crops of 512 do not fit"):
            CodedData(dataset, replace(RUN, crop=512), 0)

    def test_the_loss_adds_two_errors_over_those_of_the_composite(self, picture: NDArray[np.uint8]) -> None:
        noise = np.random.default_rng(0).integers(-9, 9, (2, *picture.shape))
        restored, base = (
            np.clip(picture.astype(int) + one * n, 0, 255).astype(np.uint8)
            for one, n in zip(noise, (1, 3), strict=True)
        )
        tensors = [
            torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() / 255 for x in (restored, picture, base)
        ]
        rgb = [float(np.square(x.astype(float) - picture).mean()) for x in (restored, base)]
        weighted = float(weighted_squared_error(restored, picture).mean()) / 5
        expected = weighted * (1 - RGB_SHARE) + rgb[0] / rgb[1] * RGB_SHARE
        assert relative_error(*tensors, torch.tensor([5.0])).item() == pytest.approx(expected, rel=1e-4)

    def test_gains_are_those_of_the_metrics(self, dataset: CodedDataset) -> None:
        model, samples = small_network(), list(CodedData(dataset, RUN, 0).validation())
        name, canvas, target = next(one for one in samples if one[1].error.any())
        found = gains(model, [(name, canvas, target)])
        with torch.inference_mode():
            pictures = [
                (x.clamp(0, 1) * 255).round().byte()[0].permute(1, 2, 0).numpy()
                for x in (target, model(canvas), canvas.base)
            ]
        assert found.keys() == {name}
        original, restored, base = pictures
        assert found[name][0] == pytest.approx(psnr_y(original, restored) - psnr_y(original, base), abs=0.02)
        errors = [float(weighted_squared_error(original, x).mean()) for x in (base, restored)]
        assert found[name][1] == pytest.approx(10 * np.log10(errors[0] / errors[1]), abs=0.01)


class TestTraining:
    def test_it_learns_and_exports(self, dataset: CodedDataset, tmp_path: Path) -> None:
        config = replace(RUN, steps=60, batch=4, learning_rate=2e-3, warmup=5, ema=0.9)
        trained = load(str(train(dataset, CONFIG, config, tmp_path)))
        assert trained.config.lossy
        validation = CodedData(dataset, config, 0).validation
        torch.manual_seed(0)
        before = gains(make_network(CONFIG), validation())
        after = gains(trained, validation())
        assert before.keys() == after.keys()
        assert np.mean([gain[1] for gain in after.values()]) > np.mean([gain[1] for gain in before.values()])
        line = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
        assert (line["step"], line["crops"]) == (60, 240)
        assert line["gain_db"].keys() == after.keys()

    def test_a_resumed_run_equals_an_uninterrupted_one(self, dataset: CodedDataset, tmp_path: Path) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            config = replace(RUN, decay_share=0.0)
            train(dataset, CONFIG, config, tmp_path / "whole")
            for _ in range(2):
                train(dataset, CONFIG, replace(config, steps=2), tmp_path / "parts")
        finally:
            torch.set_num_threads(threads)
        whole, parts = (
            torch.load(tmp_path / name / "state.pt", weights_only=True)["ema"] for name in ("whole", "parts")
        )
        assert all(torch.equal(value, parts[name]) for name, value in whole.items())

    def test_a_published_backbone_reads_no_coded_pictures(
        self, dataset: CodedDataset, tmp_path: Path
    ) -> None:
        with pytest.raises(UsageError, match="omnisr is trained on lossless planes"):
            train(dataset, JointSRConfig("omnisr", 16, 1), RUN, tmp_path)


class TestCommand:
    OPTIONS = ("--channels", "8,12,16", "--blocks", "1", "--crop", "64", "--batch", "2", "--steps", "2")

    def run(self, *arguments: object) -> str:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == 0, done.output
        return done.output

    def test_photographs_are_coded_once_for_a_run(self, photos: Path, tmp_path: Path) -> None:
        run = tmp_path / "run"
        first = self.run(photos, "-o", run, "--passes", 1, *self.OPTIONS)
        assert "coding 1 versions of each photograph" in first
        made = (run / "coded" / "index.json").stat().st_mtime_ns
        assert "coding" not in self.run(photos, "-o", run, "--steps", 1)
        assert (run / "coded" / "index.json").stat().st_mtime_ns == made
        assert load(str(run / "model.safetensors")).config.lossy

    def test_a_run_starts_from_one_of_two_sets_of_weights(self, coded: Path, tmp_path: Path) -> None:
        model = small_network(restoration=True)
        save_weights(model, tmp_path / "both.safetensors", {}, torch.float32)
        rest = ("--crop", "64", "--batch", "2", "--steps", "2", "--learning-rate", "1e-9")
        for number, options in enumerate(((), ("--restoration",))):
            self.run(
                coded, "-o", tmp_path / str(number), "--start", tmp_path / "both.safetensors", *options, *rest
            )
            again = load(str(tmp_path / str(number) / "model.safetensors"))
            assert not again.config.restoration
            assert torch.allclose(again.head.weight, model.part(number == 1).head.weight, atol=1e-3)

    def test_datasets_and_photographs_are_not_mixed(self, coded: Path, photos: Path, tmp_path: Path) -> None:
        done = CliRunner().invoke(app, [str(coded), str(photos), "-o", str(tmp_path), *self.OPTIONS])
        assert done.exit_code == 2
        assert "one folder of photographs, or datasets" in done.stderr
