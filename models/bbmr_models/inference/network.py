"""A network on a device, and the choice of its runtime: torch or ncnn.

Importing this module does not import torch; a runtime is imported when it is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bbmr_models.cards import card_of
from bbmr_models.config import JointSRConfig
from bbmr_shared.errors import UsageError

from .processor import has_bfloat16
from .tile_input import TileInput

Runtime = Literal["auto", "torch", "torch-float32", "ncnn"]
"""`torch` computes in bfloat16 if the device has it in hardware, `torch-float32` never."""


class Network(Protocol):
    """A network with its weights on a device. Used from one thread at a time."""

    @property
    def config(self) -> JointSRConfig:
        """The configuration of the weights."""

    def run(self, batch: Sequence[TileInput]) -> NDArray[np.uint8]:
        """Correct `N` tiles of one shape: returns `uint8 [N, H, W, 3]`."""


def load_network(
    name: str,
    data: bytes,
    device: str = "cpu",
    runtime: Runtime = "auto",
    threads: int = 0,
    compile: bool = False,
) -> Network:
    """Load a network from a weights file.

    Args:
        name: of the weights, for messages.
        data: the weights file.
        device: "cpu", "cuda", "cuda:1" …
        runtime: "auto" takes what `choose_runtime` returns.
        threads: CPU threads; 0 leaves the number to the runtime.
        compile: whether torch compiles the network, once for every shape of a batch.

    Raises:
        WeightsError: the file is not a weights file, or of another architecture.
        UsageError: the device or the runtime is missing, or cannot run these weights.
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
            f"the weights '{name}' run in torch, which is not installed: pip install '.[server]' in a checkout"
        )
    import torch

    from bbmr_models.weights import build

    from .torch_network import TorchNetwork

    if threads:
        torch.set_num_threads(threads)
    bfloat16 = runtime == "torch" and (device != "cpu" or has_bfloat16())
    return TorchNetwork(build(name, data, device), device, bfloat16, compile)


def choose_runtime(config: JointSRConfig, device: str) -> Literal["torch", "ncnn"]:
    """The fastest installed runtime for such weights, as measured in docs/benchmarks/runtimes.md."""
    if device != "cpu" or config.backbone != "light" or find_spec("ncnn") is None:
        return "torch"
    return "torch" if find_spec("torch") is not None and has_bfloat16() else "ncnn"
