"""Weights: safetensors with the configuration and the story of the training in their metadata.

In: a model or a name. Out: a file, or a model. `load` finds shipped weights by name and checks their digest.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors

from bbmr_shared.errors import UnknownModelError, UsageError, WeightsError, one_line

from .jointsr import JointSR, JointSRConfig, channels_last, structure

FORMAT = "bbmr-jointsr-1"
SHIPPED = files("bbmr_models") / "weights"
DIGESTS = SHIPPED / "digests.json"
"""name → SHA-256 of the shipped file."""


@dataclass(frozen=True)
class Card:
    """What is known of one set of weights. `notes` is what training wrote down (steps, minutes, gains)."""

    name: str
    config: JointSRConfig
    parameters: int
    bytes: int
    sha256: str
    notes: dict[str, Any]


def available() -> dict[str, Card]:
    """Every shipped set of weights: name → card. Raises `WeightsError` where one is damaged."""
    return {name: read(name)[1] for name in digests()}


def load(name: str = "light", device: str = "cpu") -> JointSR:
    """A shipped model by name, or any weights file by path (something that ends in `.safetensors`), ready to run.

    Raises:
        UnknownModelError: no such name.
        WeightsError: the file is missing, truncated, changed, or of another architecture.
        UsageError: the device is not there.
    """
    data, card = read(name)
    try:
        model = JointSR(card.config)
        tensors = {key: value.float() for key, value in load_tensors(data).items()}
        model.load_state_dict(tensors)
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise WeightsError(f"the weights '{name}' do not fit their own configuration: {error}") from error
    try:
        placed = model.to(device)
    except (AssertionError, RuntimeError) as error:  # PyTorch asserts that it was built with CUDA
        raise UsageError(
            f"the weights '{name}' cannot be put on the device '{device}' ({one_line(error)}); try cpu"
        ) from error
    return channels_last(placed).eval()


def save_weights(
    model: JointSR, path: Path, notes: dict[str, Any], dtype: torch.dtype = torch.float16
) -> None:
    """Write `model` with its configuration and `notes`; half precision unless told otherwise."""
    tensors = {name: value.to(dtype).contiguous() for name, value in model.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "config": json.dumps(model.config.to_dict()),
        "notes": json.dumps(notes),
    }
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(dump_tensors(tensors, metadata))
    temporary.replace(path)


def digests() -> dict[str, str]:
    """name → SHA-256 of every shipped file, as recorded."""
    if not DIGESTS.is_file():
        return {}
    held: dict[str, str] = json.loads(DIGESTS.read_text())
    return held


def read(name: str) -> tuple[bytes, Card]:
    """The bytes and the card of weights by name or path, checked. Raises as `load`."""
    expected = None
    if name.endswith(".safetensors"):
        source: Any = Path(name)
    else:
        known = digests()
        if name not in known:
            raise UnknownModelError(f"no model '{name}'; there is {', '.join(sorted(known)) or 'none'}")
        source, expected = SHIPPED / f"{name}.safetensors", known[name]
    try:
        data = source.read_bytes()
    except OSError as error:
        raise WeightsError(f"the weights '{name}' cannot be read: {error.strerror}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if expected not in (None, sha256):
        raise WeightsError(f"the weights '{name}' are damaged (digest differs); install bbmr again")
    config, notes, parameters = _header(name, data)
    return data, Card(name, config, parameters, len(data), sha256, notes)


def _header(name: str, data: bytes) -> tuple[JointSRConfig, dict[str, Any], int]:
    """Configuration, notes and number of parameters, from the safetensors header alone."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        metadata = header.pop("__metadata__")
        if metadata["format"] != FORMAT:
            raise ValueError(f"format {metadata['format']!r}")
        config = JointSRConfig.from_dict(json.loads(metadata["config"]))
        shapes = {key: torch.empty(entry["shape"], device="meta") for key, entry in header.items()}
        found, claimed = structure(shapes), (config.backbone, config.channels, config.blocks, config.deblock)
        if found != claimed:
            raise ValueError(f"its tensors are those of {found}, its configuration says {claimed}")
        return config, json.loads(metadata["notes"]), sum(shape.numel() for shape in shapes.values())
    except (struct.error, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise WeightsError(f"'{name}' is not a bbmr weights file: {error}") from error
