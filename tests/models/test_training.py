"""Training: from a folder to weights that reconstruct, in seconds; stopped, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from numpy.typing import NDArray
from typer.testing import CliRunner

from bbmr_client.encoding.encoder import encode
from bbmr_models.networks import make_network
from bbmr_models.reconstruct import Reconstructor
from bbmr_models.training import loop, loss
from bbmr_models.training.cli import app
from bbmr_models.training.loop import DivergedError, StoppedError, train
from bbmr_models.training.lossless.pool import PicturePool
from bbmr_models.weights import load, read, save_weights
from bbmr_shared.errors import UsageError

from .training_parts import CONFIG, OPTIONS, TRAINING


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run_command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_run_exports_resumes_and_reconstructs(
    pool: PicturePool, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    first = load(str(train(pool, CONFIG, TRAINING, tmp_path)))
    steps = torch.load(tmp_path / "state.pt", weights_only=True)["step"]
    second = load(str(train(pool, CONFIG, TRAINING, tmp_path)))
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] > steps > 0
    assert not torch.equal(first.head.weight, second.head.weight)
    assert Reconstructor(second).reconstruct(encode(photo, rate=4)).size == (700, 500)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert rows[1]["loss"] > 0
    assert {"x4_uniform", "x2_uniform", "x4_blocks"} <= rows[0]["gain_db"].keys()
    assert not second.config.lossy


@pytest.mark.usefixtures("one_thread")
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(pool: PicturePool, tmp_path: Path) -> None:
    config = replace(TRAINING, decay_share=0.0)
    train(pool, CONFIG, replace(config, steps=6), tmp_path / "whole")
    for _ in range(2):
        train(pool, CONFIG, replace(config, steps=3), tmp_path / "parts")
    whole, parts = (
        torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "parts")
    )
    assert whole["step"] == parts["step"] == 6
    assert torch.equal(whole["order"][0], parts["order"][0])
    for part in ("model", "ema"):
        for name, value in whole[part].items():
            assert torch.equal(value, parts[part][name]), name


def test_export_decays_and_leaves_the_state_alone(pool: PicturePool, folder: Path, tmp_path: Path) -> None:
    config = replace(TRAINING, steps=3, decay_share=0.0)
    before = load(str(train(pool, CONFIG, config, tmp_path)))
    state = (tmp_path / "state.pt").read_bytes()
    done = run_command(folder, "--run", tmp_path, "--export", "--steps", "2", "--variants", "1")
    assert done.exit_code == 0, done.output
    _, card = read(str(tmp_path / "model.safetensors"))
    assert card.notes["steps"] == 5
    assert not torch.equal(load(str(tmp_path / "model.safetensors")).head.weight, before.head.weight)
    assert (tmp_path / "state.pt").read_bytes() == state
    assert run_command(folder, "--run", tmp_path, "--export", "--steps", "0").exit_code == 0
    now = load(str(tmp_path / "model.safetensors"))
    assert torch.equal(now.head.weight, before.head.weight)


def test_kill_9_at_any_time_leaves_a_run_that_goes_on_and_serves(
    folder: Path, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "bbmr_models.training.cli",
        folder,
        "--run",
        tmp_path,
        "--save-seconds",
        "0",
    ]
    command += [*OPTIONS, "--minutes", "5", "--threads", "1"]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    wait_for(tmp_path / "state.pt")
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    steps = torch.load(tmp_path / "state.pt", weights_only=True)["step"]
    assert steps > 0
    done = run_command(folder, "--run", tmp_path, "--steps", "4", "--tensorboard")
    assert done.exit_code == 0, done.output
    assert any((tmp_path / "tensorboard").iterdir())
    data, card = read(str(tmp_path / "model.safetensors"))
    assert card.notes["steps"] == steps + 4
    assert len(data) > 1000
    container = encode(photo, rate=4, model=None)
    picture = Reconstructor(load(str(tmp_path / "model.safetensors"))).reconstruct(container)
    assert picture.size == (700, 500)


def test_sigterm_finishes_the_step_and_saves(folder: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "bbmr_models.training.cli",
        folder,
        "-o",
        tmp_path,
        *OPTIONS,
        "--threads",
        "1",
    ]
    process = subprocess.Popen(
        [str(part) for part in [*command, "--minutes", "5", "--save-seconds", "0"]],
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for(tmp_path / "log.jsonl")
    (tmp_path / "state.pt").unlink()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped at step" in output
    assert "--export" in output
    assert (tmp_path / "state.pt").exists()


@pytest.mark.parametrize(("decay_share", "kept"), [(0.0, 3), (0.5, 2)])
def test_a_stop_saves_the_step_it_finished_or_keeps_the_state_from_before_the_decay(
    pool: PicturePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decay_share: float, kept: int
) -> None:
    config = replace(TRAINING, steps=4, decay_share=decay_share)
    step = loop._Run._step

    def stop_at_step_3(run: loop._Run, learning_rate: float) -> None:
        step(run, learning_rate)
        if run.state.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop._Run, "_step", stop_at_step_3)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError, match="step 3"):
        train(pool, CONFIG, config, tmp_path)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == kept
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_state(
    pool: PicturePool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(pool, CONFIG, TRAINING, tmp_path)
    before = (tmp_path / "state.pt").read_bytes()
    monkeypatch.setattr(loss, "border_weight", lambda canvas: torch.full((1,), float("nan")))
    with pytest.raises(DivergedError, match="not finite"):
        train(pool, CONFIG, TRAINING, tmp_path)
    done = run_command(folder, "--run", tmp_path, "--steps", "3")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("error: the loss is not finite")
    assert (tmp_path / "state.pt").read_bytes() == before


def test_the_command_goes_on_from_weights(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    start = make_network(CONFIG)
    weights = tmp_path / "start.safetensors"
    save_weights(start, weights, {}, torch.float32)
    command = [folder, "--run", tmp_path / "run", "--steps", "2", "--learning-rate", "1e-9", "--crop", "64"]
    done = run_command(*command, "--lossless", "--batch", "2", "--start", weights)
    assert done.exit_code == 0, done.output
    result = load(str(tmp_path / "run" / "model.safetensors"))
    assert result.config == CONFIG
    torch.testing.assert_close(result.head.weight, start.head.weight, atol=1e-3, rtol=1e-3)
    refused = run_command(folder, "--run", tmp_path / "other", "--start", weights, "--blocks", "4")
    assert refused.exit_code == 2
    assert "--start brings its own model" in refused.stderr


def test_a_run_of_another_configuration_is_one_clear_line(
    pool: PicturePool, folder: Path, tmp_path: Path
) -> None:
    train(pool, CONFIG, replace(TRAINING, steps=1, decay_share=0.0), tmp_path)
    refused = run_command(folder, "--run", tmp_path, "--config", "nano", "--crop", "64")
    assert refused.exit_code == 2
    assert "channels [8, 12, 16] and not [16, 24, 32]" in refused.stderr.splitlines()[-1]
    (tmp_path / "state.pt").write_bytes(b"no state")
    with pytest.raises(UsageError, match="not the state of a run"):
        train(pool, CONFIG, TRAINING, tmp_path)


def test_a_state_of_the_first_version_goes_on_with_a_new_data_order(
    pool: PicturePool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(TRAINING, steps=2, decay_share=0.0)
    train(pool, CONFIG, config, tmp_path)
    held = torch.load(tmp_path / "state.pt", weights_only=True)
    for name in ("config", "plan", "crops"):
        del held[name]
    held["order"] = {"bit_generator": "PCG64"}
    torch.save(held, tmp_path / "state.pt")
    train(pool, CONFIG, config, tmp_path)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 4
    assert "data order begins anew" in capsys.readouterr().out
    torch.save(held, tmp_path / "state.pt")
    with pytest.raises(UsageError, match="another network"):
        train(pool, replace(CONFIG, channels=(8, 12, 20)), config, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pictures", "1"], "at least two usable photographs"),
        (["--crop", "512"], "no usable photograph of at least 512 pixels"),
        (["--device", "toaster"], "the device 'toaster' is not available"),
        (["--export"], "to export from"),
        (["--config", "huge"], "there is no configuration 'huge'"),
        (["--palette", "3"], "the rates must be some of"),
        (["--steps", "-1"], "minutes must be above 0, or steps at least 0"),
    ],
)
def test_what_makes_no_sense_is_one_clear_line(
    folder: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    done = run_command(folder, "--run", tmp_path / "run", "--lossless", "--crop", "64", *options)
    assert done.exit_code == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last


def test_tensorboard_that_is_missing_is_named(
    pool: PicturePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"pip install '.\[tensorboard\]'"):
        train(pool, CONFIG, TRAINING, tmp_path, tensorboard=True)


def wait_for(path: Path, seconds: float = 200.0) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} has not come"
        time.sleep(0.02)


def test_bf16_is_a_switch(pool: PicturePool, tmp_path: Path) -> None:
    configs = {"float32": TRAINING, "bf16": replace(TRAINING, bf16=True)}
    heads = [
        load(str(train(pool, CONFIG, replace(config, steps=3), tmp_path / name))).head.weight
        for name, config in configs.items()
    ]
    assert not torch.equal(*heads)
    torch.testing.assert_close(*heads, rtol=0, atol=0.01)
