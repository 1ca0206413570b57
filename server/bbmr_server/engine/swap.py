"""Swapping weights: the new ones are loaded and tried everywhere before anything is done with them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait

from .device import Device
from .model_store import Catalogue, Served


def swap(one: Served, weights: Catalogue, devices: Sequence[Device]) -> None:
    """Have every device that is left load `one`, then serve it. Blocks.

    Raises:
        BbmrError: a device cannot use it; it is dropped everywhere, and nothing has changed.
    """
    with weights.telling:
        weights.stage(one)  # a worker that is started anew meanwhile loads it, too
        futures: list[Future[None]] = [device.order("load", one) for device in devices if not device.ended]
    try:
        wait(
            futures, return_when=FIRST_EXCEPTION
        )  # a worker that they killed must not be started with them again
        for future in futures:
            if future.done():
                future.result()
    except BaseException:
        with weights.telling:
            weights.unstage(one)
            if one.key not in {other.key for other in weights.loaded()}:
                for device in devices:
                    device.order("drop", one)
        raise
    weights.serve(one)
    weights.unstage(one)
