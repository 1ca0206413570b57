"""The weights that an engine serves, and which of them its workers must keep loaded.

The bytes of the files are kept (a few MB), so that a worker that is restarted gets the same weights as the others,
even if the files have changed since.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bbmr_models.cards import Card, read
from bbmr_models.config import JointSRConfig


@dataclass(frozen=True)
class ServedModel:
    """One version of one set of weights.

    Attributes:
        key: the name and the start of the digest; workers know the weights by it.
        description: the card, as plain JSON data.
        data: the weights file.
    """

    name: str
    key: str
    config: JointSRConfig
    description: Mapping[str, object]
    data: bytes = field(repr=False)


ReadModel = Callable[[str], ServedModel]
"""`read_model(name)` reads and checks a weights file. Raises `UnknownModelError` or `WeightsError`."""


def model_reader(folder: Path | None = None) -> ReadModel:
    """Returns a function that reads weights by name, from `folder` before the shipped ones."""
    return lambda name: served_model(*read(name, folder))


def served_model(data: bytes, card: Card) -> ServedModel:
    """Returns what an engine keeps of a weights file."""
    return ServedModel(card.name, f"{card.name}@{card.sha256[:12]}", card.config, describe(card), data)


def describe(card: Card) -> dict[str, object]:
    """A card as plain JSON data."""
    return {
        "architecture": f"JointSR/{card.config.backbone}",
        "config": card.config.to_dict(),
        "parameters": card.parameters,
        "bytes": card.bytes,
        "sha256": card.sha256,
        "card": card.notes,
    }


class ModelStore:
    """Which weights are served, by name, and which must stay loaded. Any thread may use it.

    A version stays in `loaded()` while it is served, and while a job or a swap holds it. Workers drop whatever
    is not in `loaded()` any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._serving: dict[str, ServedModel] = {}
        self._holders: dict[str, int] = {}
        self._loaded: dict[str, ServedModel] = {}

    @property
    def serving(self) -> Mapping[str, ServedModel]:
        """Name → the version that new requests use."""
        with self._lock:
            return dict(self._serving)

    def loaded(self) -> list[ServedModel]:
        """Every version that a worker must have."""
        with self._lock:
            return list(self._loaded.values())

    def serve(self, model: ServedModel) -> None:
        """Use `model` for new requests of its name from now on."""
        with self._lock:
            self._serving[model.name] = model
            self._loaded[model.key] = model
            self._forget_unneeded()

    def stage(self, model: ServedModel) -> None:
        """Hold `model`, which may not be served yet, until `release`."""
        with self._lock:
            self._loaded[model.key] = model
            self._hold(model)

    def hold(self, name: str) -> ServedModel | None:
        """The version of `name` that is served, held until `release`; None if there is none."""
        with self._lock:
            model = self._serving.get(name)
            if model is not None:
                self._hold(model)
            return model

    def release(self, model: ServedModel) -> None:
        """Undo one `stage` or `hold`."""
        with self._lock:
            self._holders[model.key] -= 1
            self._forget_unneeded()

    def _hold(self, model: ServedModel) -> None:
        self._holders[model.key] = self._holders.get(model.key, 0) + 1

    def _forget_unneeded(self) -> None:
        self._holders = {key: count for key, count in self._holders.items() if count}
        needed = self._holders.keys() | {model.key for model in self._serving.values()}
        self._loaded = {key: model for key, model in self._loaded.items() if key in needed}
