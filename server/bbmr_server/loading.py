"""Makes an engine with weights and worker processes from the settings.

Nothing here imports torch: the workers, and the check for GPUs, run in processes of their own.
"""

from __future__ import annotations

import glob
import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path

from bbmr_models.cards import digests
from bbmr_server.engine.model_store import ReadModel, ServedModel, model_reader
from bbmr_server.engine.worker.process import LOADING_S, ProcessLauncher
from bbmr_shared.cpus import available_cpus
from bbmr_shared.errors import UnknownModelError, UsageError

from .engine import Engine
from .settings import Settings

OWN_BATCH = 8
"""Tiles in a batch if BBMR_BATCH is not set. Not measured on a GPU yet."""
CPU_BATCH_PIXELS = 600_000
"""Pixels in a batch on a CPU if BBMR_BATCH is not set. Small pictures are half as fast again in a batch as one by one,
tiles of large pictures a seventh slower (docs/benchmarks/service.md)."""
DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/nvmap", "/dev/nvhost*")
"""Device files of NVIDIA, WSL, AMD (ROCm) and Jetson (two). Without one of them torch finds no GPU on Linux."""


def make_engine(settings: Settings, backlog_s: float | None = None) -> Engine:
    """An engine as the settings say. Weights are read and names checked, but no worker runs before its `start`.

    Args:
        backlog_s: seconds that all accepted work may take. Without it, as long as a stop waits for that work, and
            without a limit if a stop does not wait.

    Raises:
        UsageError: a device, or the folder of weights, does not exist.
        UnknownModelError: the weights do not exist. WeightsError: they are damaged.
        ModuleNotFoundError: neither torch nor another runtime is installed.
    """
    wanted = settings.engine
    if all(importlib.util.find_spec(name) is None for name in ("torch", "ncnn")):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    read = _model_reader(settings)
    models = _read_models(settings, read)
    devices = find_devices(wanted.device)
    on_cpu = devices == ("cpu",)
    batch = wanted.batch or OWN_BATCH
    small_only = on_cpu and not wanted.batch
    # The first batch of each shape includes compiling the network.
    patience = LOADING_S if wanted.compile else wanted.worker_timeout_s
    return Engine(
        ProcessLauncher(
            batch, wanted.threads or _network_threads(), wanted.runtime, wanted.compile, patience
        ),
        models,
        read=read,
        devices=devices,
        queue_length=wanted.queue_length,
        backlog_s=(settings.http.drain_s or math.inf) if backlog_s is None else backlog_s,
        memory_pixels=settings.http.max_pixels,
        stage_threads=wanted.stage_threads or _stage_threads(on_cpu),
        batch=batch,
        batch_pixels=CPU_BATCH_PIXELS if small_only else math.inf,
        fill_s=wanted.batch_wait_ms / 1000 if batch > 1 and not small_only else 0.0,
        stall_s=patience / 4,
    )


def _model_reader(settings: Settings) -> ReadModel:
    if settings.engine.model_dir and not Path(settings.engine.model_dir).is_dir():
        # Otherwise the shipped weights would be served, and a swap would seem to work.
        raise UsageError(f"BBMR_MODEL_DIR: there is no folder {settings.engine.model_dir}")
    return model_reader(Path(settings.engine.model_dir) if settings.engine.model_dir else None)


def _read_models(settings: Settings, read: ReadModel) -> list[ServedModel]:
    try:
        return [read(name) for name in settings.engine.model]
    except UnknownModelError as error:
        raise UnknownModelError(f"BBMR_MODEL: {error}") from None


def _network_threads() -> int:
    """0 leaves the number to the runtime, which sees the machine's CPUs but no quota of a container."""
    cpus = available_cpus()
    return cpus if cpus < (os.cpu_count() or cpus) else 0


def _stage_threads(on_cpu: bool) -> int:
    """On a CPU the network needs the cores; beside a GPU the threads may take all of them."""
    return 2 if on_cpu else max(2, min(16, available_cpus()))


def known_models(folder: str = "") -> list[str]:
    """Names of all weights: the shipped ones and those in `folder`."""
    own = {path.stem for path in Path(folder).glob("*.safetensors")} if folder else set()
    return sorted(own | set(digests()))


def find_devices(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the devices for the setting BBMR_DEVICE. Raises `UsageError` if one does not exist."""
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
                f"BBMR_DEVICE: there is no device {name!r} ({count} GPUs found); use cpu or auto"
            )
    return wanted


def count_gpus() -> int:
    """Number of GPUs that torch can use. torch calls those of AMD (ROCm) "cuda" too.

    A process of its own asks torch and ends: CUDA would stay in this one's memory.
    """
    if importlib.util.find_spec("torch") is None:
        return 0
    if sys.platform == "linux" and not any(glob.glob(driver) for driver in DRIVERS):
        return 0
    question = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
    try:
        answer = subprocess.run(
            [sys.executable, "-c", question], capture_output=True, text=True, timeout=120, check=True
        )
        return int(answer.stdout.split()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, LookupError):
        return 0
