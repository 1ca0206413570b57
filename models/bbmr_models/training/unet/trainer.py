"""Training of the U-shaped network on datasets of coded pictures.

    python -m bbmr_models.training.unet.trainer DATASET... --run runs/unet --minutes 60

A run resumes from `RUN/state.pt`. The loss is the squared error in YCbCr weighted 6:1:1, relative to the error of the
composite of the whole picture: so every quality counts alike, as in a mean of dB or a BD-rate.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn

from bbmr_models.jointsr import Canvas, JointSR, JointSRConfig
from bbmr_models.networks import channels_last, make_network
from bbmr_models.training.schedule import learning_rate_at
from bbmr_models.training.stop_signals import collect_stop_signals
from bbmr_models.weights import load, save_weights
from bbmr_shared.errors import BbmrError, UsageError
from bbmr_shared.grid import ALIGN

from .dataset import CodedDataset, CodedPicture

LEAST_MSE = 0.3
"""Below this error of the composite, in 8-bit steps squared, pictures weigh alike."""
VALIDATION_CELLS = 24
STATE_FILE, LOG_FILE, WEIGHTS_FILE = "state.pt", "log.jsonl", "model.safetensors"
WEIGHTED_YCBCR = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
) * torch.tensor([6 / 8, 1 / 8, 1 / 8]).sqrt().view(3, 1)
"""RGB differences → channels whose squares add up to the error weighted 6:1:1."""


@dataclass(frozen=True)
class UNetTraining:
    """How to train; the fields are those of the command line. `decay_share` is the part of this call at its end in
    which the learning rate falls to zero."""

    minutes: float = 60.0
    steps: int | None = None
    batch: int = 8
    crop: int = 256
    learning_rate: float = 1e-3
    warmup: int = 100
    decay_share: float = 0.0
    clip: float = 0.5
    ema: float = 0.999
    bf16: bool = False
    seed: int = 0
    validate_s: float = 900.0


@dataclass
class UNetState:
    """The network, the moving average of its weights, AdamW, the data order, and what was done so far."""

    model: JointSR
    ema: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    rng: np.random.Generator
    step: int = 0
    crops: int = 0
    seconds: float = 0.0

    def averaged(self) -> JointSR:
        """Return a network with the averaged weights."""
        model = copy.deepcopy(self.model)
        model.load_state_dict(self.ema)
        return model.eval()


def train_unet(dataset: CodedDataset, config: UNetTraining, run: Path, initial: Path | None = None) -> Path:
    """Train or resume; returns the path of the exported moving average.

    Args:
        dataset: the pictures.
        config: how to train.
        run: folder of the run.
        initial: weights that a new run starts from; None for random ones.
    """
    run.mkdir(parents=True, exist_ok=True)
    state = load_state(run, config, initial)
    began = saved = time.monotonic()
    earlier, first = state.seconds, state.step
    _log(state, dataset, run, 0.0)
    with collect_stop_signals() as signals:
        while not signals:
            share = _share(config, state.step - first, time.monotonic() - began)
            if share >= 1:
                break
            rate = learning_rate_at(config, state.step - first, share)
            _step(state, dataset, config, rate)
            state.seconds = earlier + time.monotonic() - began
            if time.monotonic() - saved > config.validate_s:
                save_state(state, run)
                _log(state, dataset, run, rate)
                saved = time.monotonic()
    save_state(state, run)
    gains = _log(state, dataset, run, 0.0)
    notes: dict[str, Any] = {
        "steps": state.step,
        "crops": state.crops,
        "minutes": round(state.seconds / 60, 1),
    }
    notes |= {"config": asdict(config), "gain_db": gains}
    save_weights(state.averaged(), run / WEIGHTS_FILE, notes)
    return run / WEIGHTS_FILE


def load_state(run: Path, config: UNetTraining, initial: Path | None) -> UNetState:
    """Return the state in `run`, or a new one."""
    torch.manual_seed(config.seed)
    model = make_network(JointSRConfig(lossy=True)) if initial is None else load(str(initial)).train()
    model = channels_last(model)
    optimiser = torch.optim.AdamW(
        model.parameters(), config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
    )
    ema = {name: value.detach().clone() for name, value in model.state_dict().items()}
    state = UNetState(model, ema, optimiser, np.random.default_rng(config.seed))
    path = run / STATE_FILE
    if path.exists():
        saved = torch.load(path, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        state.ema, state.step, state.crops = saved["ema"], saved["step"], saved["crops"]
        state.seconds = saved["seconds"]
        state.rng.bit_generator.state = json.loads(saved["order"])
    return state


def save_state(state: UNetState, run: Path) -> None:
    """Write `RUN/state.pt`; a kill at any time leaves the old file or the new one."""
    saved = {
        "model": state.model.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "ema": state.ema,
        "step": state.step,
        "crops": state.crops,
        "seconds": state.seconds,
        "order": json.dumps(state.rng.bit_generator.state),
    }
    temporary = run / (STATE_FILE + ".tmp")
    torch.save(saved, temporary)
    temporary.replace(run / STATE_FILE)


def relative_error(picture: Tensor, target: Tensor, mse: Tensor) -> Tensor:
    """The loss: mean squared error (6:1:1) over that of the composite.

    Args:
        picture, target: `[N, 3, H, W]` in 0 … 1.
        mse: `[N]`, squared error of the composite of the whole picture, in 8-bit steps.
    """
    error = torch.einsum("oc,nchw->nohw", WEIGHTED_YCBCR, (picture - target) * 255).square().sum(1)
    return (error.mean((1, 2)) / mse.clamp_min(LEAST_MSE)).mean()


def gains_db(model: JointSR, dataset: CodedDataset) -> dict[str, list[float]]:
    """Condition → mean dB over the composite on held-out pictures in PSNR-Y, 6:1:1 and RGB."""
    found: dict[str, list[list[float]]] = {}
    with torch.inference_mode():
        for condition, window in dataset.validation(VALIDATION_CELLS):
            base, target, rate, error, _ = _tensors([window])
            restored = (model(Canvas(base, rate, error)).clamp(0, 1) * 255).round() / 255
            before, after = _errors(base - target), _errors(restored - target)
            if min(before) > 0:
                found.setdefault(condition, []).append(
                    [
                        10 * math.log10(one / max(other, 1e-12))
                        for one, other in zip(before, after, strict=True)
                    ]
                )
    return {name: [round(float(x), 4) for x in np.mean(rows, 0)] for name, rows in sorted(found.items())}


def _step(state: UNetState, dataset: CodedDataset, config: UNetTraining, rate: float) -> None:
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    windows = [dataset.draw(state.rng, config.crop // ALIGN) for _ in range(config.batch)]
    base, target, rates, errors, mse = _turned(_tensors(windows), state.rng)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
        picture = state.model(Canvas(base, rates, errors))
    loss = relative_error(picture.float(), target, mse)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(state.model.parameters(), config.clip)
    state.optimiser.step()
    state.step += 1
    state.crops += config.batch
    keep = min(config.ema, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for name, value in state.model.state_dict().items():
            state.ema[name].lerp_(value, 1 - keep)


def _tensors(windows: Sequence[CodedPicture]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """base and target `[N, 3, H, W]` in 0 … 1, rate and error byte `[N, H/16, W/16]`, mse `[N]`."""
    base, target = (
        torch.from_numpy(np.stack([getattr(window, name) for window in windows])).permute(0, 3, 1, 2)
        for name in ("base", "target")
    )
    rate, error = (
        torch.from_numpy(np.stack([getattr(window, name) for window in windows]))
        for name in ("rate", "error")
    )
    mse = torch.tensor([window.mse for window in windows])
    return base.float() / 255, target.float() / 255, rate, error, mse


def _turned(
    tensors: tuple[Tensor, Tensor, Tensor, Tensor, Tensor], rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The batch, flipped and transposed at random."""
    *pictures, mse = tensors
    for axis in (-2, -1):
        if rng.random() < 0.5:
            pictures = [picture.flip(axis) for picture in pictures]
    if rng.random() < 0.5:
        pictures = [picture.transpose(-2, -1) for picture in pictures]
    base, target, rate, error = (picture.contiguous() for picture in pictures)
    return base, target, rate, error, mse


def _errors(difference: Tensor) -> list[float]:
    weighted = torch.einsum("oc,nchw->nohw", WEIGHTED_YCBCR, difference).square()
    return [
        float(weighted[:, 0].mean() * 8 / 6),
        float(weighted.sum(1).mean()),
        float(difference.square().mean()),
    ]


def _share(config: UNetTraining, steps: int, seconds: float) -> float:
    if config.steps is not None:
        return steps / config.steps if config.steps else 1.0
    return seconds / (config.minutes * 60)


def _log(state: UNetState, dataset: CodedDataset, run: Path, rate: float) -> Mapping[str, list[float]]:
    gains = gains_db(state.averaged(), dataset)
    row = {"step": state.step, "crops": state.crops, "minutes": round(state.seconds / 60, 1), "lr": rate}
    line = json.dumps({**row, "gain_db": gains})
    with (run / LOG_FILE).open("a") as handle:
        handle.write(line + "\n")
    print(line, flush=True)
    return gains


def main(
    datasets: Annotated[list[Path], typer.Argument(help="Folders by bbmr_models.training.unet.dataset.")],
    run: Annotated[Path, typer.Option(help="Run folder; a run that is in it is resumed.")],
    minutes: Annotated[float, typer.Option(help="Wall time of this call.")] = 60.0,
    steps: Annotated[int | None, typer.Option(help="Length of this call in steps instead.")] = None,
    batch: Annotated[int, typer.Option(help="Crops per step.")] = 8,
    crop: Annotated[int, typer.Option(help="Side of a crop, a multiple of 16.")] = 256,
    learning_rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-3,
    decay_share: Annotated[float, typer.Option(help="Share of the call in which it falls to zero.")] = 0.0,
    start: Annotated[Path | None, typer.Option(help="Weights that a new run starts from.")] = None,
    bf16: Annotated[bool, typer.Option("--bf16", help="bfloat16 autocast.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of initial weights and data order.")] = 0,
) -> None:
    """Train the U-shaped network."""
    config = UNetTraining(
        minutes=minutes,
        steps=steps,
        batch=batch,
        crop=crop,
        learning_rate=learning_rate,
        decay_share=decay_share,
        bf16=bf16,
        seed=seed,
    )
    try:
        path = train_unet(CodedDataset(datasets), config, run, start)
    except BbmrError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2 if isinstance(error, UsageError) else 1) from None
    typer.echo(f"wrote {path}")


if __name__ == "__main__":
    typer.run(main)
