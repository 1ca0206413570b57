"""The cost of a reconstruction: parameters and floating point operations of a network, part by part.

In: names of shipped weights, weights files or names of configurations. Out: `flops.json`, `flops.md`.

PyTorch's counter (`torch.utils.flop_counter`) watches the network on the meta device, where nothing is computed and
attention shows as its matrix products (on the CPU the counter sees no fused attention). It counts convolutions and
matrix products; a multiplication and an addition are 2 operations. It leaves out what is done sample by sample
(norms, softmax, activations). The count is of our code, not of the least possible: attention between channels
multiplies all with all, not only those of a head.

A picture is counted as it is reconstructed: tile by tile, with the halo that neighbouring tiles share. Tiles that a
reconstruction may skip are counted, too.

    python -m benchmarks.speed.flops nano light large omnisr craft
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bbmr_models import available
from bbmr_models.backbone_network import FOLDED
from bbmr_models.backbones import BACKBONES
from bbmr_models.config import BACKBONE_GRID as GRID
from bbmr_models.inference.tiles import tiles
from bbmr_models.jointsr import Canvas, JointSRConfig
from bbmr_models.networks import make_network
from bbmr_models.training.config import read_config
from bbmr_models.unet import FOLDED as UNET_FOLDED
from bbmr_models.unet import INPUTS
from bbmr_models.weights import read
from bbmr_shared.grid import ALIGN, BlockGrid
from benchmarks.common import SIZES
from benchmarks.render.flops_pages import PARTS
from benchmarks.render.pages import write


class PlainNetwork(nn.Module):
    """The plain network around a backbone: 3×3 stem on the low-resolution picture, backbone, 3×3 head to ×4.

    The form in which `omnisr` and `craft` were published: `[N, 3, h, w]` → `[N, 3, 4h, 4w]`. For `light` it is the same
    U-shape with a stem that reads the picture alone.
    """

    def __init__(self, backbone: str, channels: int, blocks: int) -> None:
        super().__init__()
        self.channels, self.blocks = channels, blocks
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.backbone = BACKBONES[backbone].build(channels, blocks)
        self.head = nn.Conv2d(channels, FOLDED, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stem = self.stem(x)
        return nn.functional.pixel_shuffle(self.head(stem + self.backbone(stem)), GRID)


def configuration(name: str) -> JointSRConfig:
    """Return the configuration of shipped weights, of a `.safetensors` file, or of `configs/NAME.toml`."""
    if name.endswith(".safetensors") or name in available():
        return read(name)[1].config
    return read_config(name, {}, {})[0]


def picture_flops(config: JointSRConfig, width: int, height: int) -> dict[str, int]:
    """Return the operations for a picture: of every part, `total`, and `plain`, the plain network on the same tiles."""
    grid = BlockGrid(width, height)
    sizes = Counter(
        tile.seen[2:] for tile in tiles(grid.padded_width, grid.padded_height, config.tile, config.halo)
    )
    total: Counter[str] = Counter()
    for (wide, tall), count in sizes.items():
        for part, operations in tile_flops(config, wide, tall).items():
            total[part] += operations * count
    return dict(total)


def tile_flops(config: JointSRConfig, width: int, height: int) -> dict[str, int]:
    """Return the same for one canvas of `width`×`height` pixels, multiples of 16."""
    with torch.device("meta"):
        model = make_network(config)
        cells = torch.empty(1, height // ALIGN, width // ALIGN, dtype=torch.int64)
        base, half, quarter = (torch.empty(1, 3, height // at, width // at) for at in (1, 2, GRID))
        counts = _count(model.eval(), Canvas(base, cells, cells, None, half, quarter))
    total, name = counts["Global"], type(model).__name__
    parts = {part: counts.get(f"{name}.{part}", 0) for part in PARTS}
    if config.backbone == "light":  # the U-shape is everything between stem and head
        parts["backbone"] = total - parts["stem"] - parts["head"]
        plain = total - parts["stem"] * (INPUTS - UNET_FOLDED) // INPUTS
    else:
        plain = plain_flops(
            PlainNetwork, config.backbone, *config.widths, config.blocks, height // GRID, width // GRID
        )
    return parts | {"total": total, "plain": plain}


def plain_flops(
    kind: type[PlainNetwork], backbone: str, channels: int, blocks: int, height: int, width: int
) -> int:
    """Return the operations of a plain network for a low-resolution picture of `height`×`width`."""
    with torch.device("meta"):
        return _count(kind(backbone, channels, blocks).eval(), torch.empty(1, 3, height, width))["Global"]


def parameters(config: JointSRConfig) -> dict[str, int]:
    """Return the parameters of every part, and `total`."""
    with torch.device("meta"):
        model = make_network(config)
    counts = dict.fromkeys(PARTS, 0)
    for name, parameter in model.named_parameters():
        part = name.partition(".")[0]
        counts[part if part in PARTS else "backbone"] += parameter.numel()
    return counts | {"total": sum(counts.values())}


def rise(flops: dict[str, int]) -> float:
    """Return the extra cost of JointSR over the plain network, as a share."""
    return flops["total"] / flops["plain"] - 1


def main(
    names: Annotated[list[str], typer.Argument(help="Weights or configurations.")],
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("docs/benchmarks"),
) -> None:
    """Count, print and write the table."""
    rows = []
    for name in names:
        config = configuration(name)
        flops = {size: picture_flops(config, *pixels) for size, pixels in SIZES.items()}
        row: dict[str, Any] = {"model": name, "config": config.to_dict(), "parameters": parameters(config)}
        rows.append(row | {"flops": flops, "rise": round(rise(flops["2K"]), 4)})
    print(write(output, "flops", {"models": rows}))


def _count(module: nn.Module, argument: Any) -> dict[str, int]:
    """Return name of a (sub)module → operations of one forward pass; `Global` is the sum."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(argument)
    return {name: sum(by_kind.values()) for name, by_kind in counter.get_flop_counts().items()}


if __name__ == "__main__":
    typer.run(main)
