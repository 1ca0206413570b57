"""The processes that train together: one, or as many as torchrun starts, each with its own device and data order.

In: torchrun's environment. Out: `Ranks`, which the loop asks whenever all processes must do the same thing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bbmr_shared.errors import UsageError, one_line


@dataclass(frozen=True)
class Ranks:
    """Process `rank` of `world`, on `device`. Rank 0 logs, saves and keeps the time."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def most(self, *values: float) -> list[float]:
        """The largest of each value over all processes."""
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return [float(value) for value in tensor]

    def gather(self, value: Tensor) -> list[Tensor]:
        """The `value` of every process, in order of rank, on the CPU."""
        if self.world == 1:
            return [value.cpu()]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value.cpu())
        return values

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its mean over all processes: one sum of all of them, which are few."""
        if self.world == 1:
            return
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        parts = (flat / self.world).split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def together(device: str) -> Iterator[Ranks]:
    """This process's `Ranks` by torchrun's environment, nccl on GPUs and gloo on CPUs; one process without it.

    Raises:
        UsageError: the device is not there.
    """
    world, rank, local = (int(os.environ.get(name, value)) for name, value in _TORCHRUN)
    place = _place(f"{device}:{local}" if device == "cuda" and world > 1 else device)
    if world == 1:
        yield Ranks(0, 1, place)
        return
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Ranks(rank, world, place)
    finally:
        dist.destroy_process_group()


_TORCHRUN = (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))


def _place(device: str) -> torch.device:
    try:
        place = torch.zeros(1, device=device).device
    except (AssertionError, RuntimeError) as error:  # PyTorch asserts that it was built with CUDA
        raise UsageError(f"the device '{device}' is not there ({one_line(error)}); try cpu") from None
    if place.type == "cuda":
        torch.cuda.set_device(place)
    return place
