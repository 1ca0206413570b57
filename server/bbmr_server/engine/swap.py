"""Swapping weights: every device loads and tries the new ones before any request uses them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, wait

from .device import Device
from .model_store import ModelStore, ServedModel


def swap(model: ServedModel, store: ModelStore, devices: Sequence[Device]) -> None:
    """Have every working device load `model`, then serve it. Blocks.

    Raises:
        BbmrError: a device cannot use it. Every device drops it again and the old weights go on serving.
    """
    store.stage(model)  # a worker that is restarted meanwhile loads it too
    try:
        futures = [device.load(model) for device in devices if not device.ended]
        # Ends at the first failure: a worker that the weights have killed must not be restarted with them.
        wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            if future.done():
                future.result()
        store.serve(model)
    finally:
        store.release(model)
