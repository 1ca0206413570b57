"""The training loop: warm-up, a stable learning rate, and a decay that can be taken at any time.

In: a pool of pictures, a configuration and a `Plan`. Out: a run folder with `state.pt` (weights, moving average,
optimiser, step, data order: one file from which the stable part goes on), `log.csv`, and `model.safetensors`, the
decayed weights to ship.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bbmr_models.jointsr import GRID, Canvas, JointSRConfig
from bbmr_models.weights import save_weights

from .coded_pool import coded_pictures
from .config import Plan
from .distributed import Ranks
from .pool import Pool, hold_out
from .report import Report
from .sampler import Sampler
from .sampling import Sampling
from .state import State, save, seed_of, start
from .validation import gains, validation

BORDER_WEIGHT = 4.0
LOOK_EVERY = 10
"""Steps between two looks at the loss and the clock on a GPU, which would wait for the CPU each time."""
VALIDATION_SHARE = 0.05
"""Of the time, at most, that validation takes."""


class DivergedError(RuntimeError):
    """The loss or the gradient is not finite; `state.pt` keeps the last good state."""


class StoppedError(RuntimeError):
    """The run was asked to stop by the signal `number`; `state.pt` holds what there is of it."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.number, self.step = number, step


def train(
    pool: Pool,
    config: JointSRConfig,
    plan: Plan,
    run: Path,
    ranks: Ranks | None = None,
    initial: Mapping[str, Tensor] | None = None,
    tensorboard: bool = False,
) -> Path:
    """Train on the pool's device, resuming from `run/state.pt` if it is there; the path of the exported weights.

    A new run starts from the weights `initial` of the same configuration, or from random ones.

    Raises:
        DivergedError: the loss is not finite.
        StoppedError: SIGINT or SIGTERM came; the step was finished and the state saved.
        CodingError: a worker that codes pictures failed.
        UsageError: fewer than two pictures, or the run is of another configuration.
    """
    ranks = ranks or Ranks(0, 1, pool.device)
    config = replace(config, lossy=config.lossy or plan.coded_share > 0)
    sampling = Sampling(
        plan.crop, plan.batch, config.rates, config.block, plan.uniform_rate, plan.coded_share
    )
    training, held = hold_out(pool, plan.held)
    run.mkdir(parents=True, exist_ok=True)
    with (
        coded_pictures(training, sampling, seed_of(plan, ranks), plan.coded_workers) as coded,
        _stop_signals() as signals,
        Report(run, ranks.leads, tensorboard) as report,
    ):
        sampler = Sampler(training, sampling, seed_of(plan, ranks), coded)
        state = start(config, plan, run, sampler, ranks, initial)
        return _Run(state, plan, run, ranks, report, signals, held).go()


def learning_rate(plan: Plan, step: int, share: float) -> float:
    """Warm-up by step, then constant; over the last `decay_share` of the call (`share` is over) down to zero."""
    warm = min(1.0, (step + 1) / plan.warmup) if plan.warmup else 1.0
    left = min(1.0, (1 - share) / plan.decay_share) if plan.decay_share else 1.0
    return plan.rate * warm * left


def border_weight(canvas: Canvas) -> Tensor:
    """Weight of each pixel in the loss, `[N, 1, H, W]`: more within 4 pixels of a border between rates.

    Such pixels are few, and what goes wrong there shows as a seam.
    """
    rate = canvas.rate.float()
    differs = F.max_pool2d(rate, 3, 1, 1) != -F.max_pool2d(-rate, 3, 1, 1)
    return 1 + (BORDER_WEIGHT - 1) * F.interpolate(differs.float(), scale_factor=GRID)


class _Run:
    """One call of `train`: the loop and its clock."""

    def __init__(
        self,
        state: State,
        plan: Plan,
        run: Path,
        ranks: Ranks,
        report: Report,
        signals: list[int],
        held: Pool,
    ) -> None:
        self.state, self.plan, self.run, self.ranks, self.report = state, plan, run, ranks, report
        self._signals, self._first = signals, state.step
        self._validation = validation(held, state.sampler.sampling) if ranks.leads else {}
        self._began = self._saved = self._validated = time.monotonic()
        self._validation_s = self._share = 0.0
        self._bad = torch.zeros((), dtype=torch.bool, device=ranks.device)
        self._network = torch.compile(state.model, dynamic=False) if plan.compile else state.model
        self._look_every = 1 if ranks.device.type == "cpu" else LOOK_EVERY

    def go(self) -> Path:
        """Train to the end of the call and export."""
        stable = True
        while (share := self._share_now()) < 1:
            if stable and share >= 1 - self.plan.decay_share:
                stable = False
                self._save()
            self._step(learning_rate(self.plan, self.state.step, share))
            if (self.state.step - self._first) % self._look_every == 0:
                self._look(stable)
        if stable:
            self._save()
        return self._export()

    def _step(self, rate: float) -> None:
        state, sampler = self.state, self.state.sampler
        if sampler.coded is not None:
            sampler.coded.refresh()
        canvas, target = sampler.draw()
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        where, bf16 = self.ranks.device.type, self.plan.bf16
        with torch.autocast(where, torch.bfloat16, enabled=where == "cuda" if bf16 is None else bf16):
            loss = ((self._network(canvas) - target).abs() * border_weight(canvas)).mean()
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.ranks.average_gradients(state.model)
        norm = nn.utils.clip_grad_norm_(state.model.parameters(), self.plan.clip)
        self._bad |= ~torch.isfinite(loss.detach() + norm)
        state.optimiser.step()
        state.step += 1
        state.crops += sampler.sampling.batch * self.ranks.world
        keep = min(self.plan.ema, (1 + state.step) / (10 + state.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(state.ema.values()), list(state.model.parameters()), 1 - keep)
        self.report.add(loss)

    def _look(self, stable: bool) -> None:
        """Look at the loss, the clock and the signals, and do what all processes agree is due."""
        state, now = self.state, time.monotonic()
        own = [0.0, 0.0, float(self._signals[-1] if self._signals else 0)]
        if self.ranks.leads:
            own[0] = float(now - self._saved > self.plan.save_seconds)
            own[1] = (now - self._began) / (self.plan.minutes * 60)
        due, self._share, stop = self.ranks.most(*own)
        self._check()
        if stop or due:
            if stable:
                self._save()
            self._saved = now
        if stop:
            raise StoppedError(int(stop), state.step)
        share = self._share_now()
        left = self.plan.minutes * 60 * (1 - share)
        if self.plan.steps is not None:
            left = (now - self._began) * (1 - share) / max(share, 1e-9)
        self.report.show(state.step, state.crops, share, left, "training" if stable else "decay")
        if due and now - self._validated > self._validation_s / VALIDATION_SHARE:
            self._log(learning_rate(self.plan, state.step, share))

    def _check(self) -> None:
        """Gradients are averaged over the processes, so what is not finite on one is so on all."""
        if self._bad:
            raise DivergedError(
                f"the loss is not finite at step {self.state.step}; the last good state is kept"
            )

    def _share_now(self) -> float:
        """How much of this call is over: by steps, exactly, or by rank 0's clock at the last look."""
        if self.plan.steps is None:
            return self._share
        return (self.state.step - self._first) / self.plan.steps if self.plan.steps else 1.0

    def _seconds(self) -> float:
        return self.state.seconds + time.monotonic() - self._began

    def _save(self) -> None:
        """Save the state, if there is anything new: decaying alone leaves the file as it is."""
        self._check()
        if self.state.step > self._first:
            save(self.state, self.run, self.ranks, self.plan, self._seconds())

    def _log(self, rate: float) -> dict[str, float]:
        if not self.ranks.leads:
            return {}
        began = time.monotonic()
        measured = gains(self.state.averaged(), self._validation)
        self._validated = time.monotonic()
        self._validation_s = self._validated - began
        self.report.row(self.state.step, self._seconds(), rate, measured)
        return measured

    def _export(self) -> Path:
        self._check()
        path = self.run / "model.safetensors"
        measured = self._log(0.0)
        if self.ranks.leads:
            notes: dict[str, Any] = {
                "steps": self.state.step,
                "crops": self.state.crops,
                "crop": self.plan.crop,
                "minutes": round(self._seconds() / 60, 1),
                "held_out_gain_db": {name: round(value, 3) for name, value in measured.items()},
            }
            if self.plan.uniform_rate is not None:
                notes["uniform_rate"] = self.plan.uniform_rate
            save_weights(self.state.averaged(), path, notes)
        self.ranks.wait()
        return path


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """The signals that came, for `with`. After the first, the next one ends the process at once."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, handle)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
