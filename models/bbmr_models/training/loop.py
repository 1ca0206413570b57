"""The training loop. `schedule` has the learning rate of each step, `loss` what the network is trained for.

In: pictures and the two configurations. Out: a run folder with `state.pt`, from which the stable part goes on;
`log.jsonl`; and `model.safetensors`, the decayed weights.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bbmr_models.jointsr import JointSRConfig
from bbmr_models.weights import save_weights
from bbmr_shared.errors import UsageError

from .coded.data import CodedData
from .coded.dataset import CodedDataset
from .config import TrainingConfig
from .data import Batch, TrainingData
from .distributed import DistributedContext
from .lossless.data import LosslessData
from .lossless.pool import PicturePool
from .report import Report
from .schedule import learning_rate_at
from .state import State, load_or_create, order_seed, save_state
from .stop_signals import collect_stop_signals
from .validation import Gains, gains

SYNC_EVERY = 10
"""Steps between two reads of the loss and the clock on a GPU; each read waits for the device."""
VALIDATION_SHARE = 0.05
"""Largest share of the time that validation takes."""


class DivergedError(RuntimeError):
    """The loss or the gradient is not finite. `state.pt` keeps the last good state."""


class StoppedError(RuntimeError):
    """The signal `number` stopped the run after a whole step. `state.pt` holds the last stable state."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.number, self.step = number, step


def train(
    pictures: PicturePool | CodedDataset,
    model_config: JointSRConfig,
    config: TrainingConfig,
    run: Path,
    context: DistributedContext | None = None,
    initial: Mapping[str, Tensor] | None = None,
    tensorboard: bool = False,
) -> Path:
    """Train, or resume from `run/state.pt`; returns the path of the exported weights.

    Args:
        pictures: for training and validation. From a pool the model learns to read lossless planes; with coded pictures
            it reads lossy ones too, and must be a `light`.
        model_config: the network.
        config: how to train it.
        run: folder of the run; made if it is missing.
        context: the processes that train together; None for this one alone.
        initial: weights that a new run starts from; None for random ones.
        tensorboard: whether to write `run/tensorboard`.

    Raises:
        DivergedError: if the loss is not finite.
        StoppedError: if SIGINT or SIGTERM came; the step was finished and the state saved.
        UsageError: if there are fewer than two pictures, they do not suit the model, or the run has another
            configuration.
    """
    if context is None:
        device = pictures.device if isinstance(pictures, PicturePool) else torch.device("cpu")
        context = DistributedContext(0, 1, device)
    coded = isinstance(pictures, CodedDataset)
    if coded and model_config.levels:
        raise UsageError(
            f"the backbone {model_config.backbone} is trained on lossless planes: name a folder of photos"
        )
    model_config = replace(model_config, lossy=coded)
    run.mkdir(parents=True, exist_ok=True)
    seed = order_seed(config, context)
    data: TrainingData
    if isinstance(pictures, CodedDataset):
        data = CodedData(pictures, config, seed, context.device)
    else:
        data = LosslessData(pictures, model_config, config, seed)
    with collect_stop_signals() as signals, Report(run, context.is_main, tensorboard) as report:
        state = load_or_create(model_config, config, run, data, context, initial)
        return _Run(state, config, run, context, report, signals).finish()


class _Run:
    """One call of `train`: the loop and its clock."""

    def __init__(
        self,
        state: State,
        config: TrainingConfig,
        run: Path,
        context: DistributedContext,
        report: Report,
        signals: list[int],
    ) -> None:
        self.state, self.config, self.run, self.context, self.report = state, config, run, context, report
        self._signals, self._first_step = signals, state.step
        self._began = self._saved = self._validated = time.monotonic()
        self._validation_s = self._clock_share = 0.0
        self._diverged = torch.zeros((), dtype=torch.bool, device=context.device)
        self._network = torch.compile(state.model, dynamic=False) if config.compile else state.model
        self._sync_every = 1 if context.device.type == "cpu" else SYNC_EVERY

    def finish(self) -> Path:
        """Train to the end of the call and export."""
        stable = True
        while (share := self._share()) < 1:
            if stable and share >= 1 - self.config.decay_share:
                stable = False
                self._save()
            self._step(learning_rate_at(self.config, self.state.step, share))
            if (self.state.step - self._first_step) % self._sync_every == 0:
                self._synchronise(stable)
        if stable:
            self._save()
        return self._export()

    def _step(self, learning_rate: float) -> None:
        state = self.state
        batch = state.data.draw()
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate
        loss = self._loss(batch)
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.context.average_gradients(state.model)
        norm = nn.utils.clip_grad_norm_(state.model.parameters(), self.config.clip)
        self._diverged |= ~torch.isfinite(loss.detach() + norm)
        state.optimiser.step()
        state.step += 1
        state.crops += self.config.batch * self.context.world_size
        decay = min(self.config.ema, (1 + state.step) / (10 + state.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(state.ema.values()), list(state.model.parameters()), 1 - decay)
        self.report.add(loss)

    def _loss(self, batch: Batch) -> Tensor:
        device, bf16 = self.context.device.type, self.config.bf16
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda" if bf16 is None else bf16):
            picture = self._network(batch.canvas)
        return self.state.data.loss(picture, batch)

    def _synchronise(self, stable: bool) -> None:
        """Read loss, clock and signals; save, log or stop where all processes agree that it is time."""
        state, now = self.state, time.monotonic()
        own = [0.0, 0.0, float(self._signals[-1] if self._signals else 0)]
        if self.context.is_main:
            own[0] = float(now - self._saved > self.config.save_seconds)
            own[1] = (now - self._began) / (self.config.minutes * 60)
        due, self._clock_share, stop = self.context.all_reduce_max(*own)
        self._check()
        if stop or due:
            if stable:
                self._save()
            self._saved = now
        if stop:
            raise StoppedError(int(stop), state.step)
        share = self._share()
        self.report.show(
            state.step, state.crops, share, self._left_s(now, share), "training" if stable else "decay"
        )
        if due and now - self._validated > self._validation_s / VALIDATION_SHARE:
            self._log(learning_rate_at(self.config, state.step, share))

    def _left_s(self, now: float, share: float) -> float:
        """Return the seconds left of this call: by the clock, or extrapolated from the steps."""
        if self.config.steps is None:
            return self.config.minutes * 60 * (1 - share)
        return (now - self._began) * (1 - share) / max(share, 1e-9)

    def _check(self) -> None:
        """Raise DivergedError if a loss or gradient was not finite.

        Gradients are averaged over the processes, so all processes see it.
        """
        if self._diverged:
            raise DivergedError(
                f"the loss is not finite at step {self.state.step}; the last good state is kept"
            )

    def _share(self) -> float:
        """Return how much of this call is over, 0 … 1: by steps, or by the main process's clock."""
        if self.config.steps is None:
            return self._clock_share
        return (self.state.step - self._first_step) / self.config.steps if self.config.steps else 1.0

    def _seconds(self) -> float:
        return self.state.seconds + time.monotonic() - self._began

    def _save(self) -> None:
        """Save the state, unless this call has not made a step yet: a pure decay leaves the file as it is."""
        self._check()
        if self.state.step > self._first_step:
            save_state(self.state, self.run, self.context, self.config, self._seconds())

    def _log(self, learning_rate: float) -> Gains:
        if not self.context.is_main:
            return {}
        began = time.monotonic()
        measured = gains(self.state.averaged(), self.state.data.validation())
        self._validated = time.monotonic()
        self._validation_s = self._validated - began
        self.report.log(self.state.step, self.state.crops, self._seconds(), learning_rate, measured)
        return measured

    def _export(self) -> Path:
        self._check()
        path = self.run / "model.safetensors"
        measured = self._log(0.0)
        if self.context.is_main:
            save_weights(self.state.averaged(), path, self._notes(measured))
        self.context.barrier()
        return path

    def _notes(self, measured: Gains) -> dict[str, Any]:
        """Return how the weights were trained, for their metadata."""
        notes: dict[str, Any] = {
            "steps": self.state.step,
            "crops": self.state.crops,
            "crop": self.config.crop,
            "minutes": round(self._seconds() / 60, 1),
            "gain_db": measured,
        }
        if self.config.uniform_rate is not None:
            notes["uniform_rate"] = self.config.uniform_rate
        return notes
