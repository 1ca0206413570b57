"""What a run does: the plan, and the TOML file that holds it together with the model's configuration.

In: a file, or the name of one of `bbmr_models/configs`, and what the command line says otherwise. Out: `JointSRConfig`
and `Plan`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from bbmr_models.jointsr import JointSRConfig
from bbmr_shared.errors import UsageError
from bbmr_shared.grid import ALIGN, RATES

CONFIGS = files("bbmr_models") / "configs"
DEFAULT_CONFIG = "light"
OF_THE_CALL = frozenset(
    {"minutes", "steps", "decay_share", "coded_workers", "save_seconds", "compile", "bf16"}
)
"""What a call of the trainer says of itself; the rest of a plan belongs to the run."""
Table = Mapping[str, Any]
T = TypeVar("T", JointSRConfig, "Plan")


@dataclass(frozen=True)
class Plan:
    """How to train.

    Attributes:
        minutes, steps: how long this call is: wall time or, if given, steps.
        batch, crop: crops a step (on each process), and their side in pixels, a multiple of 16.
        rate, warmup, decay_share: learning rate, the steps in which it rises, the share of the call in which it falls
            to zero; 1 decays throughout and leaves the saved state as it is.
        clip: largest norm of the gradient.
        ema: of the moving average of the weights.
        seed: of initial weights and data order.
        held: pictures for validation, at most.
        uniform_rate: train for that one rate over the whole picture alone (the paper's baseline).
        coded_share: share of the crops that went through a real codec; above 0 the model reads lossy planes too.
        coded_workers: processes that make them; 0 is as many as suit the machine.
        save_seconds: how often `state.pt` is written.
        compile: whether torch compiles the network.
        bf16: whether the network runs under bfloat16 autocast; without it on CUDA only. Processors that lack the
            instructions take many times as long.
    """

    minutes: float = 60.0
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
    uniform_rate: int | None = None
    coded_share: float = 0.0
    coded_workers: int = 0
    save_seconds: float = 20.0
    compile: bool = False
    bf16: bool | None = None

    def __post_init__(self) -> None:
        if self.crop % ALIGN or self.crop < ALIGN:
            raise UsageError(f"the crop is a multiple of {ALIGN} pixels, not {self.crop}")
        if self.batch < 1:
            raise UsageError(f"a batch holds at least one crop, not {self.batch}")
        if self.uniform_rate not in (None, *RATES):
            raise UsageError(
                f"the uniform rate is one of {', '.join(map(str, RATES))}, not {self.uniform_rate}"
            )
        for name in ("decay_share", "coded_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"the {name.replace('_', ' ')} is from 0 to 1, not {getattr(self, name):g}")
        if not (self.minutes > 0 if self.steps is None else self.steps >= 0):
            raise UsageError("a run has some minutes or steps")


def read_config(name: str, model: Table, training: Table) -> tuple[JointSRConfig, Plan]:
    """Read `name`, a TOML file or one of the repository's by its name, with other values where they are not None.

    Raises:
        UsageError: no such file, no TOML, or a key or value that is not known.
    """
    tables = _tables(name)
    parts = tables.pop("model", {}), tables.pop("training", {})
    if tables:
        raise UsageError(f"{name}: unknown table or key {', '.join(tables)}; there is [model] and [training]")
    return _build(JointSRConfig, "model", parts[0], model, name), _build(
        Plan, "training", parts[1], training, name
    )


def changed(config: T, values: Table) -> T:
    """`config` with the values that are not None. Raises `UsageError`."""
    try:
        return replace(config, **{key: value for key, value in values.items() if value is not None})
    except ValueError as error:
        raise UsageError(str(error)) from None


def plan_of_run(held: Table) -> Plan:
    """The plan that a run was saved with, `dataclasses.asdict` of it, but for what belonged to the call."""
    known = {field.name for field in fields(Plan)} - OF_THE_CALL
    return Plan(**{key: value for key, value in held.items() if key in known})


def _tables(name: str) -> dict[str, Any]:
    path = Path(name)
    shipped = CONFIGS / f"{name}.toml"
    source = path if path.suffix == ".toml" else shipped
    if not source.is_file():
        known = sorted(entry.name[:-5] for entry in CONFIGS.iterdir() if entry.name.endswith(".toml"))
        raise UsageError(
            f"there is no configuration '{name}'; give a .toml file or one of {', '.join(known)}"
        )
    try:
        return tomllib.loads(source.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{name} is no readable TOML file: {error}") from None


def _build(kind: type[T], table: str, values: Any, other: Table, name: str) -> T:
    if not isinstance(values, dict):
        raise UsageError(f"{name}: [{table}] is a table")
    defaults = {field.name: field.default for field in fields(kind)}
    for key, value in values.items():
        if key not in defaults:
            raise UsageError(f"{name}: unknown key '{key}' in [{table}]; it has {', '.join(defaults)}")
        if not _fits(value, defaults[key]):
            raise UsageError(
                f"{name}: '{key}' in [{table}] is {value!r}, which is of another type than it should be"
            )
    merged: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    merged |= {key: value for key, value in other.items() if value is not None}
    try:
        return kind(**merged)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def _fits(value: Any, default: Any) -> bool:
    if isinstance(value, bool) or isinstance(default, bool):
        return type(value) is type(default)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, tuple):
        return isinstance(value, list) and all(isinstance(rate, int) for rate in value)
    return isinstance(value, int if default is None else type(default))
