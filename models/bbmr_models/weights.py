"""Load and save weights: safetensors files with configuration and training notes in their metadata.

`load` finds shipped weights by name and checks their digest. `cards` reads the metadata without torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors

from bbmr_shared.errors import UsageError, WeightsError, one_line

from .cards import DIGESTS, FORMAT, SHIPPED, Card, available, card_of, digests, read
from .jointsr import JointSR
from .networks import channels_last, make_network, structure

__all__ = ["DIGESTS", "SHIPPED", "Card", "available", "build", "digests", "load", "read", "save_weights"]


def load(name: str = "light", device: str = "cpu") -> JointSR:
    """Load a shipped model by name, or any weights file by a path that ends in `.safetensors`; it is ready to run.

    Raises:
        UnknownModelError: if no shipped weights have this name.
        WeightsError: if the file is missing, truncated, changed, or of another architecture.
        UsageError: if the device is not available.
    """
    return build(name, read(name)[0], device)


def build(name: str, data: bytes, device: str = "cpu") -> JointSR:
    """Return the model of a weights file's bytes, ready to run; `name` is for messages. Raises like `load`."""
    config = card_of(name, data).config
    try:
        tensors = {key: value.float() for key, value in load_tensors(data).items()}
        actual = structure(tensors)
        stated = config.backbone, config.widths, config.blocks, config.deblock, config.restoration
        if actual != stated:
            raise ValueError(f"its tensors are those of {actual}, its configuration says {stated}")
        broken = next((key for key, value in tensors.items() if not value.isfinite().all()), None)
        if broken is not None:
            raise ValueError(f"{broken} has values that are not finite")
        model = make_network(config)
        model.load_state_dict(tensors)
    except (SafetensorError, RuntimeError, ValueError, LookupError) as error:
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
    """Write `model` with its configuration and `notes`, in half precision by default."""
    tensors = {name: value.to(dtype).contiguous() for name, value in model.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "config": json.dumps(model.config.to_dict()),
        "notes": json.dumps(notes),
    }
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(dump_tensors(tensors, metadata))
    temporary.replace(path)
