"""A Serve application for tests, whose engine sleeps or fails as the request's `max_side` says.

`app({"folder": …, settings})`: the engine writes a file into the folder for every call, and for every cancelled call.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.serve import Application

from bbmr_server.cluster.serve_app import build
from bbmr_server.engine.interface import Observer
from bbmr_server.engine.request import Answer, PictureRequest
from bbmr_server.errors import NotReadyError
from bbmr_server.settings import Settings, load_settings
from bbmr_shared.errors import IncompatibleModelError

INCOMPATIBLE, BROKEN, NOT_READY_ONCE = 11, 12, 13
"""Values of `max_side` that cause an error. Others are milliseconds to sleep."""


class SleepyEngine:
    """`EngineLike` without a network."""

    models: tuple[str, ...] = ("light",)
    devices: tuple[str, ...] = ("cpu",)
    failure: BaseException | None = None

    def __init__(self, folder: str, settings: Settings) -> None:
        self.catalogue: Mapping[str, Mapping[str, object]] = {"light": {"sha256": "0" * 64}}
        self.observer = Observer()
        self.started = self.ready = False
        self._folder = Path(folder)
        self._numbers = itertools.count()

    def start(self, on_failure: Callable[[], None] | None = None) -> None:
        self.started = self.ready = True

    def stop(self, timeout: float = 20.0) -> None:
        self.ready = False

    def check_ready(self, room: bool = True) -> None:
        assert self.ready

    async def reconstruct(self, work: PictureRequest, deadline_s: float = 0.0) -> Answer:
        call = f"{os.getpid()}-{next(self._numbers)}"
        (self._folder / f"began-{call}").touch()
        if work.max_side == INCOMPATIBLE:
            raise IncompatibleModelError("this model does not read planes of the downscaler 'x'")
        if work.max_side == BROKEN:
            raise RuntimeError("a secret of the server")
        if work.max_side == NOT_READY_ONCE and len(list(self._folder.glob("began-*"))) == 1:
            raise NotReadyError("the worker is being restarted")
        try:
            await asyncio.sleep((work.max_side or 0) / 1000)
        except asyncio.CancelledError:
            (self._folder / f"cancelled-{call}").touch()
            raise
        return Answer(b"picture", "image/png", 1, 1, "none", {"decode": 0.0})


def app(args: dict[str, Any]) -> Application:
    """The builder that the Serve config file of the tests names."""
    settings = dict(args)
    folder = settings.pop("folder")
    return build(load_settings(**settings), functools.partial(SleepyEngine, folder))
