"""The state of a run: one file, `RUN/state.pt`, from which training resumes. It is always whole."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bbmr_models.jointsr import JointSR, JointSRConfig
from bbmr_models.networks import channels_last, make_network
from bbmr_shared.errors import UsageError, one_line

from .config import TrainingConfig
from .data import TrainingData
from .distributed import DistributedContext

STATE_FILE = "state.pt"
REQUIRED_KEYS = {"model", "ema", "optimiser", "order", "step", "seconds"}


@dataclass
class State:
    """What changes during training.

    Attributes:
        model, optimiser: the network and AdamW.
        ema: name of a parameter → its moving average.
        data: holds the data order.
        step, crops, seconds: progress of the run; crops over all processes, seconds of wall time.
    """

    model: JointSR
    ema: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    data: TrainingData
    step: int = 0
    crops: int = 0
    seconds: float = 0.0

    def averaged(self) -> JointSR:
        """Return a model with the averaged weights, to evaluate or export."""
        model = copy.deepcopy(self.model)
        model.load_state_dict({**self.model.state_dict(), **self.ema})
        return model.eval()


def load_or_create(
    model_config: JointSRConfig,
    config: TrainingConfig,
    run: Path,
    data: TrainingData,
    context: DistributedContext,
    initial: Mapping[str, Tensor] | None = None,
) -> State:
    """Return the state saved in `run`, or a new one from the weights `initial` or from random ones.

    Raises:
        UsageError: if the run has another configuration, or its state cannot be read.
    """
    state = _new_state(model_config, config, data, context, initial)
    saved = read_state(run, context.device)
    if saved is not None:
        _check_configuration(saved, model_config, run)
        _restore(state, saved, context, config, run)
    most, least = context.all_reduce_max(state.step, -state.step)
    if most != -least:
        raise UsageError(
            f"the processes see different states in {run}: use one folder that all of them share"
        )
    return state


def read_state(run: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """Return the contents of `RUN/state.pt`, or None if there is none. Raises UsageError if it cannot be read."""
    path = run / STATE_FILE
    if not path.exists():
        return None
    try:
        saved: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        if missing := REQUIRED_KEYS - saved.keys():
            raise ValueError(f"it has no {', '.join(sorted(missing))}")
    except (OSError, RuntimeError, ValueError, AttributeError, EOFError, pickle.UnpicklingError) as error:
        raise UsageError(f"{path} is not the state of a run ({one_line(error)}); move it away") from None
    return saved


def saved_model_config(saved: Mapping[str, Any]) -> JointSRConfig | None:
    """Return the model configuration of a saved state; None for states of the first version, which had none."""
    return JointSRConfig.from_dict(saved["config"]) if "config" in saved else None


def save_state(
    state: State, run: Path, context: DistributedContext, config: TrainingConfig, seconds: float
) -> None:
    """Write `RUN/state.pt`. Every process must call this; the main process writes.

    A kill at any time leaves the old file or the new one.
    """
    order = context.all_gather(state.data.generator.get_state())
    if not context.is_main:
        return
    saved = {
        "model": state.model.state_dict(),
        "ema": state.ema,
        "optimiser": state.optimiser.state_dict(),
        "order": order,
        "step": state.step,
        "crops": state.crops,
        "seconds": seconds,
        "config": state.model.config.to_dict(),
        "plan": asdict(config),
    }
    temporary = run / (STATE_FILE + ".tmp")
    with temporary.open("wb") as handle:
        torch.save(saved, handle)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(run / STATE_FILE)


def order_seed(config: TrainingConfig, context: DistributedContext, step: int = 0) -> int:
    """Return the seed for the data order of a process that begins at `step`."""
    return config.seed + 1 + 1_000_003 * context.rank + 7_368_787 * step


def _new_state(
    model_config: JointSRConfig,
    config: TrainingConfig,
    data: TrainingData,
    context: DistributedContext,
    initial: Mapping[str, Tensor] | None,
) -> State:
    torch.manual_seed(config.seed)
    model = channels_last(make_network(model_config).to(context.device))
    if initial is not None:
        model.load_state_dict(initial)
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=config.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=0.0,
        fused=context.device.type == "cuda",
    )
    ema = {name: value.detach().clone() for name, value in model.named_parameters()}
    return State(model, ema, optimiser, data)


def _check_configuration(saved: Mapping[str, Any], config: JointSRConfig, run: Path) -> None:
    """Raise UsageError if the saved run has another network; tile and halo may differ."""
    other = saved_model_config(saved)
    if other is not None and replace(other, tile=config.tile, halo=config.halo) != config:
        pairs = zip(other.to_dict().items(), config.to_dict().values(), strict=True)
        differences = ", ".join(f"{name} {a} and not {b}" for (name, a), b in pairs if a != b)
        raise UsageError(f"{run} holds a run with {differences}; use another --run, or the same options")


def _restore(
    state: State, saved: Mapping[str, Any], context: DistributedContext, config: TrainingConfig, run: Path
) -> None:
    try:
        state.model.load_state_dict(saved["model"])
        state.optimiser.load_state_dict(saved["optimiser"])
    except (RuntimeError, ValueError):
        raise UsageError(
            f"{run} holds a run of another network; use another --run, or the run's options"
        ) from None
    state.ema = {name: saved["ema"][name] for name in state.ema}
    state.step, state.seconds = saved["step"], saved["seconds"]
    state.crops = saved.get("crops", state.step * config.batch)
    _restore_order(state, saved["order"], context, config)


def _restore_order(state: State, orders: Any, context: DistributedContext, config: TrainingConfig) -> None:
    """Set the data order of this process; begin a new one if the number of processes has changed."""
    generator = state.data.generator
    if isinstance(orders, list) and len(orders) == context.world_size:
        generator.set_state(orders[context.rank].cpu())
        return
    generator.manual_seed(order_seed(config, context, state.step))
    if context.is_main:
        before = f"{len(orders)} processes" if isinstance(orders, list) else "an earlier version"
        print(
            f"the data order begins anew: the state is from {before}, this run has {context.world_size}",
            flush=True,
        )
