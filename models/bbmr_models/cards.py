"""Cards: the metadata of weights, read from the file without torch.

In: a name or a path. Out: the checked bytes of the file, and its `Card`. A file is safetensors with configuration and
training notes in its metadata.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from bbmr_shared.arguments import check_type
from bbmr_shared.errors import UnknownModelError, WeightsError

from .config import JointSRConfig

FORMAT = "bbmr-jointsr-1"
SHIPPED = files("bbmr_models") / "weights"
DIGESTS = SHIPPED / "digests.json"
"""name → SHA-256 of the shipped file."""
MAX_BYTES = 64 << 20
"""Size of the largest weights file that is read."""


@dataclass(frozen=True)
class Card:
    """Metadata of one set of weights. `notes` holds how it was trained (steps, minutes, gains)."""

    name: str
    config: JointSRConfig
    parameters: int
    bytes: int
    sha256: str
    notes: dict[str, Any]


def available() -> dict[str, Card]:
    """Return name → card of all shipped weights. Raises WeightsError if one is damaged."""
    return {name: read(name)[1] for name in digests()}


def digests() -> dict[str, str]:
    """Return name → recorded SHA-256 of all shipped files."""
    if not DIGESTS.is_file():
        return {}
    recorded: dict[str, str] = json.loads(DIGESTS.read_text())
    return recorded


def read(name: str, folder: Path | None = None) -> tuple[bytes, Card]:
    """Return the bytes and the card of weights, checked.

    Args:
        name: name of shipped weights, or a path that ends in `.safetensors`.
        folder: searched for `name.safetensors` before the shipped weights.

    Raises:
        UnknownModelError: if no weights have this name.
        WeightsError: if the file is missing, truncated, changed, or not a bbmr weights file.
    """
    check_type("the name of the weights", name, str)
    expected = None
    own = None if folder is None else folder / f"{name}.safetensors"
    if own is not None and own.is_file():
        source: Any = own
    elif name.endswith(".safetensors"):
        source = Path(name)
    else:
        known = digests()
        if name not in known:
            raise UnknownModelError(f"no model '{name}'; available: {', '.join(sorted(known)) or 'none'}")
        source, expected = SHIPPED / f"{name}.safetensors", known[name]
    try:
        with source.open("rb") as file:
            data: bytes = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise WeightsError(f"the weights '{name}' cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise WeightsError(f"the weights '{name}' have more than {MAX_BYTES} bytes")
    sha256 = hashlib.sha256(data).hexdigest()
    if expected not in (None, sha256):
        raise WeightsError(f"the weights '{name}' are damaged (digest differs); install bbmr again")
    return data, card_of(name, data)


def card_of(name: str, data: bytes) -> Card:
    """Return the card of a weights file from its safetensors header. Raises WeightsError if the file is not one."""
    try:
        (length,) = struct.unpack_from("<Q", data.ljust(8, b"\0"))
        if len(data) < 8 + length <= MAX_BYTES:
            raise ValueError(f"it ends after {len(data)} bytes, inside its header; was it cut short?")
        header = json.loads(data[8 : 8 + length])
        metadata = header.pop("__metadata__")
        if metadata["format"] != FORMAT:
            raise ValueError(f"format {metadata['format']!r}")
        config = JointSRConfig.from_dict(json.loads(metadata["config"]))
        whole = 8 + length + max(entry["data_offsets"][1] for entry in header.values())
        if len(data) < whole:
            raise ValueError(f"it has {len(data)} of {whole} bytes; was it cut short?")
        parameters = sum(math.prod(entry["shape"]) for entry in header.values())
        notes = json.loads(metadata["notes"])
    except (struct.error, ValueError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(f"'{name}' is not a bbmr weights file: {error}") from error
    return Card(name, config, parameters, len(data), hashlib.sha256(data).hexdigest(), notes)
