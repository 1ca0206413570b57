"""The training loop: warm-up, a stable learning rate, and a decay that can be taken at any time.

In: a pool of pictures and a `Plan`. Out: a run folder with `state.pt` (weights, EMA, optimiser, step, data order:
one file from which the stable part goes on), `log.csv`, and `model.safetensors`, the decayed weights to ship.
"""

from __future__ import annotations

import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..jointsr import GRID, Canvas, JointSR, JointSRConfig, channels_last
from ..weights import save_weights
from .batches import Sampler
from .pool import Entry, hold_out

SAVE_EVERY_S = 60.0
BORDER_WEIGHT = 4.0


@dataclass(frozen=True)
class Plan:
    """What a run does: `minutes` of wall time in this call or, if given, `steps`; the last `decay_share` decays.

    `held` pictures are for validation; `uniform_only` trains for that one rate (the paper's baseline).
    """

    minutes: float
    steps: int | None = None
    batch: int = 8
    crop: int = 192
    rate: float = 1.2e-3
    warmup: int = 200
    decay_share: float = 0.15
    clip: float = 0.5
    ema: float = 0.999
    seed: int = 0
    held: int = 12
    uniform_only: int | None = None


@dataclass
class State:
    """Everything that a resumed run needs."""

    model: JointSR
    ema: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    sampler: Sampler
    step: int = 0
    seconds: float = 0.0


class DivergedError(RuntimeError):
    """The loss is not finite; `state.pt` keeps the last good state."""


def train(
    pool: list[Entry],
    config: JointSRConfig,
    plan: Plan,
    run: Path,
    device: str = "cpu",
    initial: dict[str, Tensor] | None = None,
) -> Path:
    """Train for `plan.minutes`, resuming from `run/state.pt` if it is there; the path of the exported weights.

    A new run starts from the weights `initial` of the same configuration, or from random ones.

    Raises:
        DivergedError: the loss is not finite.
        ValueError: fewer than two pictures.
    """
    run.mkdir(parents=True, exist_ok=True)
    pool, held = hold_out(pool, plan.held)
    state = _start(pool, config, plan, run, device, initial)
    validation = _validation(held, plan, device)
    began = saved = time.monotonic()
    first, logger = state.step, _Log(run / "log.csv")

    def done() -> float:
        """Share of this call that is over."""
        if plan.steps is not None:
            return (state.step - first) / plan.steps
        return (time.monotonic() - began) / (plan.minutes * 60)

    while done() < 1 - plan.decay_share:
        logger.add(_step(state, plan, device, plan.rate * min(1.0, (state.step + 1) / plan.warmup)))
        if time.monotonic() - saved > SAVE_EVERY_S:
            saved = time.monotonic()
            _save(state, run, state.seconds + saved - began)
            logger.write(state, state.seconds + saved - began, gains(state, validation))
    _save(state, run, state.seconds + time.monotonic() - began)
    while (share := done()) < 1:
        logger.add(_step(state, plan, device, plan.rate * (1 - share) / plan.decay_share))
    total = state.seconds + time.monotonic() - began
    measured = gains(state, validation)
    logger.write(state, total, measured)
    return _export(state, run, total, measured)


def border_weight(canvas: Canvas) -> Tensor:
    """Weight of each pixel in the loss, `[N, 1, H, W]`: more within 4 pixels of a border between rates.

    Such pixels are few, and what goes wrong there shows as a seam.
    """
    rate = canvas.rate.float()
    differs = F.max_pool2d(rate, 3, 1, 1) != -F.max_pool2d(-rate, 3, 1, 1)
    return 1 + (BORDER_WEIGHT - 1) * F.interpolate(differs.float(), scale_factor=GRID)


def gains(state: State, validation: dict[str, list[tuple[Canvas, Tensor]]]) -> dict[str, float]:
    """dB (RGB) over the composite on held-out pictures, per condition, mean over pictures; EMA weights."""
    model = _with_ema(state)
    result = {}
    with torch.inference_mode():
        for name, samples in validation.items():
            deltas = [_psnr(model(canvas), target) - _psnr(canvas.base, target) for canvas, target in samples]
            result[name] = sum(deltas) / len(deltas)
    return result


def _start(
    pool: list[Entry],
    config: JointSRConfig,
    plan: Plan,
    run: Path,
    device: str,
    initial: dict[str, Tensor] | None,
) -> State:
    torch.manual_seed(plan.seed)
    model = channels_last(JointSR(config).to(device))
    if initial is not None:
        model.load_state_dict(initial)
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.rate, betas=(0.9, 0.99), weight_decay=0.0)
    sampler = Sampler(pool, plan.crop, plan.batch, plan.seed + 1, plan.uniform_only)
    ema = {name: value.detach().clone() for name, value in model.state_dict().items()}
    state = State(model, ema, optimiser, sampler)
    path = run / "state.pt"
    if path.exists():
        held: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        model.load_state_dict(held["model"])
        optimiser.load_state_dict(held["optimiser"])
        state.ema = held["ema"]
        sampler.rng.bit_generator.state = held["order"]
        state.step, state.seconds = held["step"], held["seconds"]
    return state


def _step(state: State, plan: Plan, device: str, rate: float) -> float:
    canvas, target = state.sampler.draw(device)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    with torch.autocast(device_type="cuda", dtype=torch.bfloat16, enabled=device.startswith("cuda")):
        loss = ((state.model(canvas) - target).abs() * border_weight(canvas)).mean()
    value = loss.item()
    if not math.isfinite(value):
        raise DivergedError(
            f"the loss is not finite ({value}) at step {state.step}; the last good state is kept"
        )
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), plan.clip)
    state.optimiser.step()
    state.step += 1
    keep = min(plan.ema, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for name, value_now in state.model.state_dict().items():
            state.ema[name].lerp_(value_now, 1 - keep)
    return value


def _validation(held: list[Entry], plan: Plan, device: str) -> dict[str, list[tuple[Canvas, Tensor]]]:
    """A centre crop of every held-out picture at overall rate ×4 and ×2, uniform and by Lagrangian choice."""
    conditions = {
        "x4_uniform": (4, None),
        "x2_uniform": (2, None),
        "x4_blocks": (0, 1200.0),
        "x2_blocks": (0, 180.0),
    }
    result = {}
    for name, (uniform, multiplier) in conditions.items():
        samples = []
        for index, entry in enumerate(held):
            sampler = Sampler([entry], plan.crop, 1, index)
            samples.append(sampler.draw_fixed(uniform or None, multiplier, device))
        result[name] = samples
    return result


def _psnr(picture: Tensor, target: Tensor) -> float:
    rounded = (picture.clamp(0, 1) * 255).round() / 255
    error = F.mse_loss(rounded, target).item()
    return -10 * math.log10(max(error, 1e-8))


def _with_ema(state: State) -> JointSR:
    model = JointSR(state.model.config).to(next(iter(state.ema.values())).device)
    model = channels_last(model)
    model.load_state_dict(state.ema)
    return model.eval()


def _save(state: State, run: Path, seconds: float) -> None:
    held = {
        "model": state.model.state_dict(),
        "ema": state.ema,
        "optimiser": state.optimiser.state_dict(),
        "order": state.sampler.rng.bit_generator.state,
        "step": state.step,
        "seconds": seconds,
    }
    temporary = run / "state.pt.tmp"
    torch.save(held, temporary)
    temporary.replace(run / "state.pt")


def _export(state: State, run: Path, seconds: float, measured: dict[str, float]) -> Path:
    path = run / "model.safetensors"
    notes = {
        "steps": state.step,
        "crops": state.step * state.sampler.batch,
        "crop": state.sampler.crop,
        "minutes": round(seconds / 60, 1),
        "held_out_gain_db": {name: round(value, 3) for name, value in measured.items()},
    }
    save_weights(_with_ema(state), path, notes)
    return path


class _Log:
    """One CSV line a save: step, minutes, mean loss since the last line, gain per condition."""

    def __init__(self, path: Path) -> None:
        self.path, self._sum, self._count = path, 0.0, 0

    def add(self, loss: float) -> None:
        self._sum, self._count = self._sum + loss, self._count + 1

    def write(self, state: State, seconds: float, measured: dict[str, float]) -> None:
        row = {
            "step": state.step,
            "minutes": round(seconds / 60, 2),
            "loss": round(self._sum / max(1, self._count), 6),
        }
        row |= {name: round(value, 4) for name, value in measured.items()}
        new = not self.path.exists()
        with self.path.open("a", newline="") as handle:
            writer = csv.DictWriter(handle, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)
        self._sum, self._count = 0.0, 0
