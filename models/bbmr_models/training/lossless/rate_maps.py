"""Rate maps for a batch of crops, chosen on the device for all crops at once, at random phases of the block grid."""

from __future__ import annotations

import torch
from torch import Tensor

from bbmr_shared.grid import ALIGN, RATES


def block_of_cell(phase: Tensor, cells: int, block_cells: int) -> Tensor:
    """Return the block of each cell of an axis: `int64 [N]` phases (0 … block_cells − 1) → `int64 [N, cells]`."""
    return (phase[:, None] + torch.arange(cells, device=phase.device)) // block_cells


def most_blocks(cells: int, block_cells: int) -> int:
    """Return the largest number of blocks that an axis of `cells` cells can touch."""
    return (cells + block_cells - 2) // block_cells + 1


def lagrangian(
    errors: Tensor,
    multiplier: Tensor,
    rows: Tensor,
    columns: Tensor,
    blocks: int,
    palette: tuple[int, ...],
) -> Tensor:
    """Choose for each block the rate of least error + λ·samples (Shoham & Gersho, 1988), like the client.

    Args:
        errors: `float32 [N, n, n, rates]`, of all `RATES`, summed over each cell.
        multiplier: `[N]`, λ: squared error per pixel, per sample per pixel.
        rows, columns: `int64 [N, n]` from `block_of_cell`; all below `blocks`.
        palette: the rates to choose from.

    Returns:
        `int64 [N, blocks, blocks]`, index into the palette; undefined for blocks that a crop does not touch.
    """
    device = errors.device
    ids = torch.arange(blocks, device=device)[:, None]
    down, across = ((axis[:, None] == ids).float() for axis in (rows, columns))  # `[N, blocks, n]`, one-hot
    chosen = errors[..., [RATES.index(rate) for rate in palette]]
    sums = torch.einsum("nip,npqr,njq->nijr", down, chosen, across)
    areas = torch.einsum("nip,njq->nij", down, across).clamp_(min=1) * ALIGN**2
    samples = torch.tensor([1 / rate**2 for rate in palette], device=device)
    return (sums / areas[..., None] + multiplier[:, None, None, None] * samples).argmin(3)


def expand_blocks(per_block: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the value of each cell's block: `[N, blocks, blocks]` → `[N, n, n]`."""
    tall = per_block.gather(1, rows[:, :, None].expand(-1, -1, per_block.shape[2]))
    return tall.gather(2, columns[:, None, :].expand(-1, tall.shape[1], -1))
