"""The alternative to one joint network: one super-resolution network per rate, on each block alone.

Every block is treated as a picture of its own, with replicated edges and without its surroundings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from bbmr_models.composite import pyramid, to_base
from bbmr_models.jointsr import Canvas, JointSR
from bbmr_shared.compositing.composite import MAX_LEVEL
from bbmr_shared.container import FULL_STRENGTH, Container
from bbmr_shared.grid import ALIGN

BATCH = 16
"""Blocks per pass through a network."""


def reconstruct_separately(container: Container, models: Mapping[int, JointSR]) -> NDArray[np.uint8]:
    """Reconstruct a container block by block: `uint8 [height, width, 3]`. Blocks of rate 1 are copied.

    Args:
        models: rate → a network trained for pictures of that rate alone, for every rate above 1 in the container.

    Raises:
        KeyError: if a rate has no network.
    """
    grid, planes = container.grid, container.decode_planes()
    out = np.empty((grid.padded_height, grid.padded_width, 3), np.uint8)
    alike: dict[tuple[int, int, int], list[tuple[int, int]]] = defaultdict(list)
    for row, col in np.ndindex(grid.shape):
        rate = int(container.rate_map[row, col])
        alike[rate, int(grid.heights[row]), int(grid.widths[col])].append(
            (row * grid.block, col * grid.block)
        )
    for (rate, tall, wide), corners in alike.items():
        for first in range(0, len(corners), BATCH):
            some = corners[first : first + BATCH]
            samples = np.stack(
                [
                    planes[rate][y // rate : (y + tall) // rate, x // rate : (x + wide) // rate]
                    for y, x in some
                ]
            )
            if rate > 1:
                strength = [container.strengths[y // grid.block, x // grid.block] for y, x in some]
                samples = _upscale(samples, rate, np.array(strength), models[rate])
            for (y, x), picture in zip(some, samples, strict=True):
                out[y : y + tall, x : x + wide] = picture
    return out[: container.height, : container.width]


def _upscale(
    samples: NDArray[np.uint8], rate: int, strength: NDArray[np.uint8], model: JointSR
) -> NDArray[np.uint8]:
    """Upscale `uint8 [N, h, w, 3]` of one rate, each a picture of its own → `uint8 [N, h·rate, w·rate, 3]`."""
    count, height, width, _ = samples.shape
    planes = torch.from_numpy(np.ascontiguousarray(samples.transpose(0, 3, 1, 2))).float()
    cells = torch.full((count, height * rate // ALIGN, width * rate // ALIGN), rate)
    levels = pyramid({rate: planes}, cells)
    share = torch.from_numpy(strength.astype(np.float32) / FULL_STRENGTH).view(-1, 1, 1)
    canvas = Canvas(
        base=to_base(levels[1]) / 255,
        rate=cells,
        error=torch.zeros(cells.shape),
        strength=share.expand(cells.shape),
        half=levels[2] / MAX_LEVEL,
        quarter=levels[4] / MAX_LEVEL,
    )
    with torch.inference_mode():
        picture = model(canvas).mul_(255).add_(0.5).clamp_(0, 255).byte()
    return np.asarray(picture.permute(0, 2, 3, 1).numpy())
