"""Loading: settings in, an engine with the shipped weights out. The only module that knows torch and bbmr_models."""

from __future__ import annotations

import torch

from bbmr_models import available, load
from bbmr_models.reconstruct import Reconstructor
from bbmr_shared.errors import UnknownModelError, UsageError

from .engine import Engine
from .engine.work import ReconstructorFactory, Reconstructs
from .settings import Settings


def make_engine(settings: Settings) -> Engine:
    """An engine as `settings` say, not started. Nothing is loaded yet, but names are checked.

    Raises:
        UsageError: a device is not there. UnknownModelError: there are no such weights. WeightsError: damaged ones.
    """
    known = available()
    for name in settings.model:
        if name not in known:
            raise UnknownModelError(
                f"BBMR_MODEL: there are no weights {name!r}; there are {', '.join(known) or 'none'}"
            )
    return Engine(
        make_factory(settings.threads, settings.batch),
        models=settings.model,
        devices=find_devices(settings.device),
        queue_length=settings.queue_length,
        memory_pixels=settings.max_pixels,
        catalogue=describe_models(),
    )


def make_factory(threads: int = 0, batch: int = 0) -> ReconstructorFactory:
    """What loads a model onto a device for the engine; 0 leaves the choice to `Reconstructor`."""

    def factory(name: str, device: str) -> Reconstructs:
        if threads:
            torch.set_num_threads(threads)
        return Reconstructor(load(name, device), device, batch=batch or None)

    return factory


def find_devices(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Names of devices that are there, for the setting BBMR_DEVICE. Raises `UsageError` where one is not."""
    if wanted == ("cpu",):
        return wanted
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted in (("auto",), ("cuda",)) and count:
        return tuple(f"cuda:{index}" for index in range(count))
    if wanted == ("auto",):
        return ("cpu",)
    for name in wanted:
        if name == "cuda" or int(name.removeprefix("cuda:")) >= count:
            raise UsageError(
                f"BBMR_DEVICE: there is no device {name!r} ({count} CUDA devices); use cpu or auto"
            )
    return wanted


def describe_models() -> dict[str, dict[str, object]]:
    """The cards of all shipped weights, as plain JSON data: name → card."""
    return {
        name: {
            "architecture": f"JointSR/{card.config.backbone}",
            "config": card.config.to_dict(),
            "parameters": card.parameters,
            "bytes": card.bytes,
            "sha256": card.sha256,
            "card": card.notes,
        }
        for name, card in available().items()
    }
