"""Configuration of a training run: `TrainingConfig`, and the TOML files that hold it beside a `JointSRConfig`.

Options of the command line replace values of the file.
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
PER_CALL = frozenset({"minutes", "steps", "decay_share", "save_seconds", "compile", "bf16"})
"""Fields that belong to one call of the trainer. All others belong to the run, and a resumed run keeps them."""
EARLIER_NAMES = {"rate": "learning_rate", "held": "held_out"}
"""Name in the states of earlier versions → name now."""
Table = Mapping[str, Any]
T = TypeVar("T", JointSRConfig, "TrainingConfig")


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes:
        minutes: wall time of this call; not used where `steps` is set.
        steps: steps of this call.
        batch: crops per step, on each process.
        crop: side of a crop in pixels, a multiple of 16.
        learning_rate: learning rate between warm-up and decay.
        warmup: steps in which the learning rate rises.
        decay_share: share of the call in which the learning rate falls to zero; with 1 the call only decays, and the
            saved state stays as it is.
        clip: largest norm of the gradient.
        ema: decay of the moving average of the weights.
        seed: seed of initial weights and data order.
        held_out: largest number of pictures for validation.
        uniform_rate: trains for this one rate over the whole picture (the paper's baseline).
        lossless: trains `light`, too, on lossless planes that are made while training.
        conditions: trains on coded pictures of these conditions alone; on all if it is empty.
        save_seconds: how often `state.pt` is written.
        compile: whether torch compiles the network.
        bf16: whether the network runs under bfloat16 autocast; None means on CUDA only. On processors without
            bfloat16 instructions it takes many times as long.
    """

    minutes: float = 60.0
    steps: int | None = None
    batch: int = 8
    crop: int = 192
    learning_rate: float = 1.2e-3
    warmup: int = 200
    decay_share: float = 0.15
    clip: float = 0.5
    ema: float = 0.999
    seed: int = 0
    held_out: int = 12
    uniform_rate: int | None = None
    lossless: bool = False
    conditions: tuple[str, ...] = ()
    save_seconds: float = 20.0
    compile: bool = False
    bf16: bool | None = None

    def __post_init__(self) -> None:
        if self.crop % ALIGN or self.crop < ALIGN:
            raise UsageError(f"the crop must be a multiple of {ALIGN} pixels, not {self.crop}")
        if self.batch < 1:
            raise UsageError(f"a batch must hold at least one crop, not {self.batch}")
        if self.uniform_rate not in (None, *RATES):
            raise UsageError(
                f"the uniform rate must be one of {', '.join(map(str, RATES))}, not {self.uniform_rate}"
            )
        if not 0 <= self.decay_share <= 1:
            raise UsageError(f"the decay share must be from 0 to 1, not {self.decay_share:g}")
        if not (self.minutes > 0 if self.steps is None else self.steps >= 0):
            raise UsageError("minutes must be above 0, or steps at least 0")


def read_config(name: str, model: Table, training: Table) -> tuple[JointSRConfig, TrainingConfig]:
    """Read a configuration.

    Args:
        name: a TOML file, or the name of one in `bbmr_models/configs`.
        model, training: values that replace those of the file; None keeps the file's value.

    Raises:
        UsageError: the file is missing or not TOML, or a key or value is unknown.
    """
    tables = _tables(name)
    model_table, training_table = tables.pop("model", {}), tables.pop("training", {})
    if tables:
        raise UsageError(f"{name}: unknown table or key {', '.join(tables)}; use [model] and [training]")
    return (
        _build(JointSRConfig, "model", model_table, model, name),
        _build(TrainingConfig, "training", training_table, training, name),
    )


def with_overrides(config: T, values: Table) -> T:
    """Return `config` with the values that are not None. Raises UsageError if one is invalid."""
    try:
        return replace(config, **{key: value for key, value in values.items() if value is not None})
    except ValueError as error:
        raise UsageError(str(error)) from None


def saved_training_config(saved: Table) -> TrainingConfig:
    """Return the configuration of a saved run from its fields, without those of one call and without unknown ones."""
    known = {field.name for field in fields(TrainingConfig)} - PER_CALL
    renamed = {EARLIER_NAMES.get(key, key): value for key, value in saved.items()}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in renamed.items()
    }
    return TrainingConfig(**{key: value for key, value in values.items() if key in known})


def _tables(name: str) -> dict[str, Any]:
    path = Path(name)
    shipped = CONFIGS / f"{name}.toml"
    source = path if path.suffix == ".toml" else shipped
    if not source.is_file():
        known = sorted(entry.name[:-5] for entry in CONFIGS.iterdir() if entry.name.endswith(".toml"))
        raise UsageError(
            f"there is no configuration '{name}'; name a .toml file or one of {', '.join(known)}"
        )
    try:
        return tomllib.loads(source.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{name} is not a readable TOML file: {error}") from None


def _build(kind: type[T], table: str, values: Any, overrides: Table, name: str) -> T:
    if not isinstance(values, dict):
        raise UsageError(f"{name}: '{table}' must be a table, [{table}]")
    defaults = {field.name: field.default for field in fields(kind)}
    for key, value in values.items():
        if key in EARLIER_NAMES:
            raise UsageError(f"{name}: '{key}' in [{table}] is now '{EARLIER_NAMES[key]}'")
        if key not in defaults:
            raise UsageError(f"{name}: unknown key '{key}' in [{table}]; known are {', '.join(defaults)}")
        if not (_fits(value, defaults[key]) or (key == "channels" and _fits(value, 0))):
            raise UsageError(f"{name}: '{key}' in [{table}] has the wrong type: {value!r}")
    merged: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    merged |= {key: value for key, value in overrides.items() if value is not None}
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
        kind = type(default[0]) if default else str
        return isinstance(value, list) and all(isinstance(one, kind) for one in value)
    return isinstance(value, int if default is None else type(default))
