"""Data-parallel training: one process, or as many as torchrun starts, each with its own device and data order."""

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

_ENVIRONMENT = (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))
"""Variables that torchrun sets, with their values for one process."""


@dataclass(frozen=True)
class DistributedContext:
    """Process `rank` of `world_size`, on `device`. The main process, rank 0, logs, saves and keeps the time."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def all_reduce_max(self, *values: float) -> list[float]:
        """Return the largest of each value over all processes."""
        if self.world_size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return [float(value) for value in tensor]

    def all_gather(self, value: Tensor) -> list[Tensor]:
        """Return the `value` of every process, in order of rank, on the CPU."""
        if self.world_size == 1:
            return [value.cpu()]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value.cpu())
        return values

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its mean over all processes, with one all-reduce: the networks are small."""
        if self.world_size == 1:
            return
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        parts = (flat / self.world_size).split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.world_size > 1:
            dist.barrier()


@contextmanager
def distributed_context(device: str) -> Iterator[DistributedContext]:
    """Join the processes that torchrun started, with nccl on GPUs and gloo on CPUs; without torchrun, one process.

    Raises:
        UsageError: the device does not exist.
    """
    world_size, rank, local_rank = (int(os.environ.get(name, value)) for name, value in _ENVIRONMENT)
    own_device = _device(f"{device}:{local_rank}" if device == "cuda" and world_size > 1 else device)
    if world_size == 1:
        yield DistributedContext(0, 1, own_device)
        return
    dist.init_process_group("nccl" if own_device.type == "cuda" else "gloo")
    try:
        yield DistributedContext(rank, world_size, own_device)
    finally:
        dist.destroy_process_group()


def _device(name: str) -> torch.device:
    try:
        device = torch.zeros(1, device=name).device
    except (AssertionError, RuntimeError) as error:  # PyTorch asserts that it was built with CUDA
        raise UsageError(f"the device '{name}' is not available ({one_line(error)}); try cpu") from None
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
