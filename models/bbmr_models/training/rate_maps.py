"""Rate maps for a batch of crops, chosen on the device: at a random phase of the block grid, for all crops at once.

In: the errors of the crops' cells and what was drawn at random. Out: the rate of every cell.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bbmr_shared.grid import ALIGN, RATES


def block_of_cell(phase: Tensor, cells: int, block_cells: int) -> Tensor:
    """Which block each cell of an axis is in: `int64 [N]` phases (0 … block_cells − 1) → `int64 [N, cells]`."""
    return (phase[:, None] + torch.arange(cells, device=phase.device)) // block_cells


def most_blocks(cells: int, block_cells: int) -> int:
    """How many blocks an axis of `cells` cells can touch."""
    return (cells + block_cells - 2) // block_cells + 1


def lagrangian(
    errors: Tensor,
    multiplier: Tensor,
    rows: Tensor,
    columns: Tensor,
    blocks: int,
    palette: tuple[int, ...],
) -> Tensor:
    """The rate of least error + λ·samples of each block (Shoham & Gersho, 1988), as the client chooses.

    Args:
        errors: `float32 [N, n, n, rates]`, of all `RATES`, summed over each cell.
        multiplier: `[N]`, λ: squared error a pixel per sample a pixel.
        rows, columns: `int64 [N, n]` from `block_of_cell`; all below `blocks`.
        palette: the rates to choose from.

    Returns:
        `int64 [N, blocks, blocks]`, index into the palette; blocks that the crop does not touch hold anything.
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
    """The value of each cell's block: `[N, blocks, blocks]` → `[N, n, n]`."""
    tall = per_block.gather(1, rows[:, :, None].expand(-1, -1, per_block.shape[2]))
    return tall.gather(2, columns[:, None, :].expand(-1, tall.shape[1], -1))
