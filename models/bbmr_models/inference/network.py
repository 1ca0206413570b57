"""Runtimes: what runs a network on a device. In: a weights file's bytes, then `TileInput`s of one shape. Out: pixels.

Nothing here imports torch; the runtime that is chosen is loaded when it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bbmr_models.cards import card_of
from bbmr_models.config import JointSRConfig
from bbmr_shared.errors import UsageError

from .tile_input import TileInput

Runtime = Literal["auto", "torch", "torch-float32", "ncnn"]
"""`torch` computes in bfloat16 where the device does so itself, `torch-float32` never."""


class Network(Protocol):
    """Weights that are ready to run on a device. Used from one thread at a time."""

    @property
    def config(self) -> JointSRConfig:
        """What the weights are."""

    def run(self, batch: Sequence[TileInput]) -> NDArray[np.uint8]:
        """The corrected tiles, `uint8 [N, H, W, 3]`, of `N` tiles of one shape."""


def load_network(
    name: str,
    data: bytes,
    device: str = "cpu",
    runtime: Runtime = "auto",
    threads: int = 0,
    compile: bool = False,
) -> Network:
    """A network of a weights file's bytes; `name` is for messages.

    Args:
        device: "cpu", "cuda", "cuda:1" …
        runtime: what runs it; "auto" takes what `choose_runtime` says.
        threads: CPU threads; 0 leaves the number to the runtime.
        compile: whether torch compiles the network, anew for every shape of a batch.

    Raises:
        WeightsError: the file is none, or of another architecture.
        UsageError: the device or the runtime is not there, or does not run such weights.
    """
    if runtime == "auto":
        runtime = choose_runtime(card_of(name, data).config, device)
    if runtime == "ncnn":
        from .ncnn_network import NcnnNetwork

        if device != "cpu":
            raise UsageError(f"the runtime ncnn runs on the CPU, not on {device}")
        return NcnnNetwork(name, data, threads)
    if find_spec("torch") is None:
        raise UsageError(
            f"the weights '{name}' run in torch, which is not installed; `pip install 'bbmr[server]'`"
        )
    import torch

    from bbmr_models.weights import build

    from .torch_network import TorchNetwork

    if threads:
        torch.set_num_threads(threads)
    bfloat16 = runtime == "torch" and (device != "cpu" or has_bfloat16())
    return TorchNetwork(build(name, data, device), device, bfloat16, compile)


def choose_runtime(config: JointSRConfig, device: str) -> Literal["torch", "ncnn"]:
    """The fastest runtime that is installed for such weights, as measured in docs/benchmarks/runtimes.md."""
    if device != "cpu" or config.backbone != "light" or find_spec("ncnn") is None:
        return "torch"
    return "torch" if find_spec("torch") is not None and has_bfloat16() else "ncnn"


def has_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16; on others bfloat16 is many times slower than float32.

    Where there is no `/proc/cpuinfo`, as on macOS and Windows, the answer is no.
    """
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return not words.isdisjoint({"avx512_bf16", "amx_bf16"})
