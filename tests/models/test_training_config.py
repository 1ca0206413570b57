"""Configurations: those of the repository build and train; an error in a file is one clear line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bbmr_models.jointsr import JointSRConfig
from bbmr_models.networks import make_network
from bbmr_models.training.cli import _configurations
from bbmr_models.training.config import CONFIGS, TrainingConfig, read_config, saved_training_config
from bbmr_models.training.schedule import learning_rate_at
from bbmr_models.weights import save_weights
from bbmr_shared.errors import UsageError

NAMES = ["nano", "light", "large", "omnisr", "craft"]


def test_every_configuration_is_known() -> None:
    assert sorted(entry.name for entry in CONFIGS.iterdir()) == sorted(f"{name}.toml" for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_of_the_repository_builds(name: str) -> None:
    model, training = read_config(name, {}, {})
    assert make_network(model).config == model
    assert training.crop % 32 == 0


def test_options_go_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        "[model]\nbackbone = 'omnisr'\nchannels = 16\nblocks = 2\nrates = [2, 4, 8]\n"
        "[training]\nbatch = 4\nlearning_rate = 1\n"
    )
    model, training = read_config(str(path), {"blocks": 3, "deblock": None}, {"batch": 6})
    assert (model.channels, model.blocks, model.deblock, model.rates) == (16, 3, 0, (2, 4, 8))
    assert (training.batch, training.learning_rate) == (6, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nchanels = 3", "unknown key 'chanels' in"),
        ("[training]\nminuts = 3", "unknown key 'minuts' in"),
        ("[trainig]", "unknown table or key trainig"),
        ("[model]\nchannels = 'x'", "'channels' in .model. has the wrong type: 'x'"),
        ("[model]\nchannels = 48", "the backbone light has three widths"),
        ("[model]\nchannels = true", "'channels' in .model. has the wrong type: True"),
        ("[model]\nrates = [3]", "rates must be some of"),
        ("[model]\nblock = 100", "multiple of 16"),
        ("[model]\nbackbone = 'x'", "backbone must be one of"),
        ("[training]\ncrop = 100", "multiple of 16"),
        ("[training]\nbatch = 0", "at least one"),
        ("[training]\nuniform_rate = 3", "uniform rate must be one of"),
        ("[training]\ndecay_share = 2", "decay share must be from 0 to 1"),
        ("[training]\nconditions = [2]", "'conditions' in .training. has the wrong type"),
        ("[training]\nminutes = 0", "minutes must be above 0, or steps at least 0"),
        ("model = 3", "must be a table"),
        ("=", "not a readable TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_config(str(path), {}, {})
    assert "\n" not in str(caught.value).strip()


def test_a_file_that_is_not_there_names_the_known() -> None:
    with pytest.raises(UsageError, match="craft, large, light, nano, omnisr"):
        read_config("huge", {}, {})


def test_a_run_that_starts_from_weights_is_trained_as_their_backbone_is(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    save_weights(make_network(JointSRConfig("omnisr", 16, 1)), weights, {})
    model, training, _ = _configurations(tmp_path / "run", None, str(weights), False, False, {}, {"crop": 64})
    own = read_config("omnisr", {}, {})[1]
    assert model.backbone == "omnisr"
    assert (training.batch, training.learning_rate, training.crop) == (
        own.batch,
        own.learning_rate,
        64,
    )


def test_a_saved_configuration_is_read_without_the_fields_of_one_call() -> None:
    saved = {"minutes": 3.0, "steps": 4, "batch": 5, "of_a_later_version": 6}
    assert saved_training_config(saved) == TrainingConfig(batch=5)


def test_a_configuration_saved_under_earlier_names_is_read() -> None:
    assert saved_training_config({"rate": 0.5, "held": 3}) == TrainingConfig(learning_rate=0.5, held_out=3)


def test_the_learning_rate_warms_up_stays_and_falls() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup=10, decay_share=0.2)
    learning_rates = [
        learning_rate_at(config, step, share)
        for step, share in [(0, 0), (9, 0.5), (90, 0.8), (95, 0.9), (99, 1)]
    ]
    torch.testing.assert_close(learning_rates, [0.1, 1.0, 1.0, 0.5, 0.0])


def test_an_earlier_key_names_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[training]\nrate = 1e-3\n")
    with pytest.raises(UsageError, match=r"'rate' in .training. is now 'learning_rate'"):
        read_config(str(file), {}, {})


def test_without_torch_the_command_says_what_to_install() -> None:
    script = "import sys; sys.modules['torch'] = None; from bbmr_models.training.command import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert result.stderr == (
        "error: training needs torch, which is not installed: pip install '.[train]' in a checkout\n"
    )
