"""Loading: settings in, an engine with weights and worker processes out.

Nothing here imports torch: what needs it, the workers and a look at the GPUs, is a process of its own.
"""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path

from bbmr_models.cards import digests
from bbmr_server.engine.model_store import reader
from bbmr_server.engine.worker.process import LOADING_S, ProcessLaunch
from bbmr_shared.errors import UnknownModelError, UsageError

from .engine import Engine
from .settings import Settings

OWN_BATCH = 8
"""Tiles that go together where BBMR_BATCH says nothing. Not measured on a GPU yet."""
CPU_BATCH_PIXELS = 600_000
"""Pixels that go together on a CPU then: small pictures are done half as fast again side by side, tiles of large ones
a seventh slower (docs/benchmarks/service.md)."""
DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""Without one of these no process on Linux can use CUDA."""


def make_engine(settings: Settings, backlog_s: float | None = None) -> Engine:
    """An engine as `settings` say, not started: no worker runs yet, but weights are read and names are checked.

    Args:
        backlog_s: seconds that what is accepted may take in all; without it, those that a stop waits for it (no bound
            where it waits for nothing).

    Raises:
        UsageError: a device or the folder of weights is not there.
        UnknownModelError: there are no such weights. WeightsError: damaged ones.
        ModuleNotFoundError: neither torch nor another runtime is installed.
    """
    wanted = settings.engine
    if all(importlib.util.find_spec(name) is None for name in ("torch", "ncnn")):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    if wanted.model_dir and not Path(wanted.model_dir).is_dir():
        # Served would be the shipped weights, and a swap would seem to work.
        raise UsageError(f"BBMR_MODEL_DIR: there is no folder {wanted.model_dir}")
    read = reader(Path(wanted.model_dir) if wanted.model_dir else None)
    try:
        weights = [read(name) for name in wanted.model]
    except UnknownModelError as error:
        raise UnknownModelError(f"BBMR_MODEL: {error}") from None
    devices = find_devices(wanted.device)
    on_cpu = devices == ("cpu",)
    batch = wanted.batch or OWN_BATCH
    small_only = on_cpu and not wanted.batch
    # The first batch of each shape takes as long as it takes to compile.
    patience = LOADING_S if wanted.compile else wanted.worker_timeout_s
    return Engine(
        ProcessLaunch(batch, wanted.threads, wanted.runtime, wanted.compile, patience),
        weights,
        read=read,
        devices=devices,
        queue_length=wanted.queue_length,
        backlog_s=(settings.http.drain_s or math.inf) if backlog_s is None else backlog_s,
        memory_pixels=settings.http.max_pixels,
        stage_threads=wanted.stage_threads or (2 if on_cpu else max(2, min(16, os.cpu_count() or 2))),
        batch=batch,
        batch_pixels=CPU_BATCH_PIXELS if small_only else math.inf,
        fill_s=wanted.batch_wait_ms / 1000 if batch > 1 and not small_only else 0.0,
        stall_s=patience / 4,
    )


def known_models(folder: str = "") -> list[str]:
    """Every name of weights that may be asked for: the shipped ones and those in `folder`."""
    own = {path.stem for path in Path(folder).glob("*.safetensors")} if folder else set()
    return sorted(own | set(digests()))


def find_devices(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Names of devices that are there, for the setting BBMR_DEVICE. Raises `UsageError` where one is not."""
    if wanted == ("cpu",):
        return wanted
    count = count_gpus()
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


def count_gpus() -> int:
    """CUDA devices that torch can use; asked of a process that ends again, as CUDA stays in the memory of who asks."""
    if importlib.util.find_spec("torch") is None:
        return 0
    if sys.platform == "linux" and not any(driver.exists() for driver in DRIVERS):
        return 0
    question = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
    try:
        answer = subprocess.run(
            [sys.executable, "-c", question], capture_output=True, text=True, timeout=120, check=True
        )
        return int(answer.stdout.split()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, LookupError):
        return 0
