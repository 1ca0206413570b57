"""The weights that an engine serves: names in, files' bytes and cards out; and which of them are still needed.

The bytes are kept (a few MB), so that a worker that is started anew gets just what the others have, whatever has
become of the files meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bbmr_models.cards import Card, read
from bbmr_models.config import JointSRConfig


@dataclass(frozen=True)
class Served:
    """One version of one set of weights.

    Attributes:
        key: its name and the start of its digest; what a worker calls it.
    """

    name: str
    key: str
    config: JointSRConfig
    description: Mapping[str, object]
    data: bytes = field(repr=False)


ReadWeights = Callable[[str], Served]
"""`read_weights(name)`: the file's bytes, checked. Raises `UnknownModelError` or `WeightsError`."""


def reader(folder: Path | None = None) -> ReadWeights:
    """What reads weights by name, those in `folder` before the shipped ones."""
    return lambda name: served(*read(name, folder))


def served(data: bytes, card: Card) -> Served:
    """What an engine keeps of a weights file."""
    return Served(card.name, f"{card.name}@{card.sha256[:12]}", card.config, describe(card), data)


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


class Catalogue:
    """What is served now, by name, and what must stay loaded. Every method may be called from any thread.

    Attributes:
        telling: held while what must stay loaded is changed and the devices are told, so that they hear it in order.
    """

    def __init__(self) -> None:
        self.telling = threading.Lock()
        self._lock = threading.Lock()
        self._now: dict[str, Served] = {}
        self._users: dict[str, int] = {}
        self._loaded: dict[str, Served] = {}

    @property
    def now(self) -> Mapping[str, Served]:
        """Name → the version that new work is done with."""
        return dict(self._now)

    def loaded(self) -> list[Served]:
        """Every version that a worker has to have."""
        with self._lock:
            return list(self._loaded.values())

    def stage(self, one: Served) -> None:
        """Count `one` among what is loaded, before anything is done with it."""
        with self._lock:
            self._loaded[one.key] = one
            self._users[one.key] = self._users.get(one.key, 0) + 1

    def unstage(self, one: Served) -> None:
        """Undo `stage`."""
        with self._lock:
            self._users[one.key] -= 1
            if not self._users[one.key]:
                del self._users[one.key]
                if one.key not in {other.key for other in self._now.values()}:
                    self._loaded.pop(one.key, None)

    def serve(self, one: Served) -> None:
        """Do new work of this name with `one` from now on."""
        with self._lock:
            self._now[one.name] = one
            self._loaded[one.key] = one

    def hold(self, name: str) -> Served | None:
        """The version of `name` that is served, kept loaded until `release`; None where there is none."""
        with self._lock:
            one = self._now.get(name)
            if one is not None:
                self._users[one.key] = self._users.get(one.key, 0) + 1
            return one

    def release(self, one: Served) -> None:
        """Undo one `hold`."""
        with self._lock:
            self._users[one.key] -= 1

    def take_unneeded(self) -> list[Served]:
        """The versions that are neither served nor held; each is named once, and is to be dropped."""
        with self._lock:
            served = {one.key for one in self._now.values()}
            out = [
                one for one in self._loaded.values() if one.key not in served and not self._users.get(one.key)
            ]
            for one in out:
                del self._loaded[one.key]
                self._users.pop(one.key, None)
            return out
