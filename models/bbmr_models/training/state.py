"""The state of a run: everything that a resumed run needs, in one file that is always whole.

In: a configuration and perhaps `RUN/state.pt`. Out: a `State`; and the file again, replaced at one stroke.
"""

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

from bbmr_models.jointsr import JointSR, JointSRConfig, channels_last
from bbmr_shared.errors import UsageError, one_line

from .config import Plan
from .distributed import Ranks
from .sampler import Sampler

FILE = "state.pt"


@dataclass
class State:
    """The weights and their moving average (name → parameter), the optimiser, the data order (in the sampler), and
    how far the run is: steps, crops over all processes, seconds of wall time."""

    model: JointSR
    ema: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    sampler: Sampler
    step: int = 0
    crops: int = 0
    seconds: float = 0.0

    def averaged(self) -> JointSR:
        """A model with the averaged weights, to evaluate or export."""
        model = copy.deepcopy(self.model)
        model.load_state_dict({**self.model.state_dict(), **self.ema})
        return model.eval()


def start(
    config: JointSRConfig,
    plan: Plan,
    run: Path,
    sampler: Sampler,
    ranks: Ranks,
    initial: Mapping[str, Tensor] | None = None,
) -> State:
    """The state that `run` holds, or a new one from the weights `initial` or from random ones.

    Raises:
        UsageError: the run is of another configuration, or its state cannot be read.
    """
    torch.manual_seed(plan.seed)
    model = channels_last(JointSR(config).to(ranks.device))
    if initial is not None:
        model.load_state_dict(initial)
    fused = ranks.device.type == "cuda"
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=plan.rate, betas=(0.9, 0.99), weight_decay=0.0, fused=fused
    )
    ema = {name: value.detach().clone() for name, value in model.named_parameters()}
    state = State(model, ema, optimiser, sampler)
    held = read(run, ranks.device)
    if held is not None:
        _check(held, config, run)
        _fill(state, held, ranks, plan, run)
    most, least = ranks.most(state.step, -state.step)
    if most != -least:
        raise UsageError(
            f"the processes find different states in {run}: it is one folder that all of them see"
        )
    return state


def read(run: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """What `RUN/state.pt` holds, or None where there is none. Raises `UsageError` where it cannot be read."""
    path = run / FILE
    if not path.exists():
        return None
    try:
        held: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        if not {"model", "ema", "optimiser", "order", "step", "seconds"} <= held.keys():
            raise ValueError("something is missing in it")
    except (OSError, RuntimeError, ValueError, AttributeError, EOFError, pickle.UnpicklingError) as error:
        raise UsageError(f"{path} is not the state of a run ({one_line(error)}); move it away") from None
    return held


def config_of(held: Mapping[str, Any]) -> JointSRConfig | None:
    """The configuration that a state was saved with; the first runs did not say."""
    return JointSRConfig.from_dict(held["config"]) if "config" in held else None


def save(state: State, run: Path, ranks: Ranks, plan: Plan, seconds: float) -> None:
    """Write `RUN/state.pt`. Every process calls this, rank 0 writes; a kill leaves the old file or the new one."""
    order = ranks.gather(state.sampler.generator.get_state())
    if not ranks.leads:
        return
    held = {
        "model": state.model.state_dict(),
        "ema": state.ema,
        "optimiser": state.optimiser.state_dict(),
        "order": order,
        "step": state.step,
        "crops": state.crops,
        "seconds": seconds,
        "config": state.model.config.to_dict(),
        "plan": asdict(plan),
    }
    temporary = run / (FILE + ".tmp")
    with temporary.open("wb") as handle:
        torch.save(held, handle)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(run / FILE)


def _check(held: Mapping[str, Any], config: JointSRConfig, run: Path) -> None:
    other = config_of(held)
    if other is not None and replace(other, tile=config.tile, halo=config.halo) != config:
        pairs = zip(other.to_dict().items(), config.to_dict().values(), strict=True)
        differences = ", ".join(f"{name} {a} and not {b}" for (name, a), b in pairs if a != b)
        raise UsageError(f"{run} holds a run with {differences}; take another --run, or the same options")


def _fill(state: State, held: Mapping[str, Any], ranks: Ranks, plan: Plan, run: Path) -> None:
    try:
        state.model.load_state_dict(held["model"])
        state.optimiser.load_state_dict(held["optimiser"])
    except (RuntimeError, ValueError):
        raise UsageError(
            f"{run} holds a run of another network; take another --run, or its options"
        ) from None
    state.ema = {name: held["ema"][name] for name in state.ema}
    state.step, state.seconds = held["step"], held["seconds"]
    state.crops = held.get("crops", state.step * plan.batch)
    orders = held["order"]
    if isinstance(orders, list) and len(orders) == ranks.world:
        state.sampler.generator.set_state(orders[ranks.rank].cpu())
        return
    state.sampler.generator.manual_seed(seed_of(plan, ranks, state.step))
    if ranks.leads:
        before = f"{len(orders)} processes" if isinstance(orders, list) else "an earlier version"
        print(f"the data order begins anew: the state is from {before}, this is {ranks.world}", flush=True)


def seed_of(plan: Plan, ranks: Ranks, step: int = 0) -> int:
    """Of the data order of a process that begins at `step`."""
    return plan.seed + 1 + 1_000_003 * ranks.rank + 7_368_787 * step
