"""The network in PyTorch, on a CPU or a GPU. `torch_tiles` holds its computation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bbmr_models.config import JointSRConfig
from bbmr_models.jointsr import JointSR
from bbmr_models.networks import channels_last

from .tile_input import TileInput
from .torch_tiles import tile_module
from .two_networks import run_both


class TorchNetwork:
    """A `Network` in PyTorch. Used from one thread at a time.

    Args:
        model: from `load`; it is moved to `device`.
        device: "cpu", "cuda", "cuda:1" …
        bfloat16: whether to compute in bfloat16 (of `light` only the inner convolutions); None does so on a GPU.
        compile: whether torch compiles the network, once for every shape of a batch.
    """

    def __init__(
        self, model: JointSR, device: str = "cpu", bfloat16: bool | None = None, compile: bool = False
    ) -> None:
        self.device = torch.device(device)
        self.model = channels_last(model.to(self.device)).eval()
        self.bfloat16 = self.device.type == "cuda" if bfloat16 is None else bfloat16
        self._compile = compile
        self._network = self._prepared(self.model)
        restoration = getattr(self.model, "restoration", None)
        self._restoration = None if restoration is None else self._prepared(restoration)

    @property
    def config(self) -> JointSRConfig:
        return self.model.config

    def run(self, batch: Sequence[TileInput]) -> NDArray[np.uint8]:
        """The corrected tiles, `uint8 [N, H, W, 3]`."""
        if self._restoration is None:
            return self._run(self._network, batch)
        return run_both(batch, partial(self._run, self._network), partial(self._run, self._restoration))

    def _prepared(self, model: JointSR) -> Callable[..., Tensor]:
        module = tile_module(model, self.bfloat16).eval()
        return torch.compile(module, dynamic=False) if self._compile else module

    def _run(self, network: Callable[..., Tensor], batch: Sequence[TileInput]) -> NDArray[np.uint8]:
        names = ["base", "rate", "error", "strength", *(["half", "quarter"] if self.config.levels else [])]
        parts = (self._tensor(batch, name) for name in names)
        with torch.inference_mode():
            pixels: NDArray[np.uint8] = network(*parts).cpu().numpy()
        return pixels

    def _tensor(self, batch: Sequence[TileInput], name: str) -> Tensor:
        together = torch.from_numpy(np.stack([getattr(tile, name) for tile in batch]))
        if self.device.type != "cuda":
            return together
        return together.pin_memory().to(self.device, non_blocking=True)
