"""Quality of networks of several sizes, against operations and milliseconds on the CPU.

In: a folder of photos, and weights trained for the same number of steps (commands: docs/benchmarks/README.md). Out:
`sizes.json`, `sizes.md`, `sizes.png`. Quality is PSNR-Y on the block-based containers of
`benchmarks.quality.rescaling` at ×4. The shipped models are shown beside: each was trained in its own way, and its
quality is read from the results of `benchmarks.quality.rescaling`.

    python -m benchmarks.quality.sizes eval2k --weights nano=N.safetensors --weights light=L.safetensors
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from bbmr_client.encoding.encoder import encode
from bbmr_models import available, load
from bbmr_models.reconstruct import Reconstructor
from bbmr_models.weights import read
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container
from benchmarks.common import SIZES, Partial, cut, photos, read_rgb
from benchmarks.render.pages import write
from benchmarks.render.rescaling_pages import CONDITIONS
from benchmarks.render.sizes_pages import RATE, plot
from benchmarks.speed.backbones import in_turns
from benchmarks.speed.flops import parameters, picture_flops

from .paper import results_of
from .rescaling import quality


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of photos.")],
    weights: Annotated[list[str], typer.Option(help="NAME=FILE, trained for the same steps.")],
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("docs/benchmarks"),
    shipped: Annotated[str, typer.Option(help="Shipped models to show beside them.")] = "light omnisr craft",
    runs: Annotated[int, typer.Option(help="Timed runs of every network.")] = 3,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
) -> None:
    """Measure, print and write."""
    if threads:
        torch.set_num_threads(threads)
    paths = photos([folder])
    named = dict(word.split("=", 1) for word in weights)
    partial = Partial(output, "sizes", {name: read(file)[1].sha256 for name, file in named.items()})
    measured: dict[str, list[dict[str, Any]]] = {}
    for name, file in named.items():
        model = Reconstructor(load(file))
        for path in paths:
            row = partial.find(name=name, picture=path.stem)
            if row is None:
                row = {"name": name, "picture": path.stem} | blocks_quality(read_rgb(path), model)
                partial.add(row)
                print(
                    f"{name:8s} {path.stem:24s} {row['psnr_y']:.2f} over {row['composite']:.2f}", flush=True
                )
            measured.setdefault(name, []).append(row)
    container = encode(cut(read_rgb(paths[0]), *SIZES["1080p"]), rate=RATE)
    rows = []
    for name, file in named.items():
        quality_means = {
            key: statistics.fmean(row[key] for row in measured[name]) for key in ("psnr_y", "psnr_rgb")
        }
        rows.append(_row(name, file, "equal steps", quality_means, container, runs))
    for name in shipped.split():
        results = results_of(output, name)
        if results is not None and name in available():
            mean = next(m for m in results["means"] if (m["set"], m["rate"]) == (folder.name, RATE))
            rows.append(_row(name, name, "as shipped", mean["conditions"][CONDITIONS[3]], container, runs))
    composite = statistics.fmean(row["composite"] for row in next(iter(measured.values())))
    results = {
        "set": folder.name,
        "composite_psnr_y": composite,
        "threads": torch.get_num_threads(),
        "sizes": rows,
    }
    results["pictures"] = partial.rows
    text = write(output, "sizes", results)
    plot(results, output / "sizes.png")
    partial.finish()
    print(text)


def blocks_quality(photo: NDArray[np.uint8], model: Reconstructor) -> dict[str, Any]:
    """Return the quality of the block-based container at ×4, and PSNR-Y of its composite."""
    container = encode(photo, rate=RATE)
    composite = quality(photo, np.asarray(preview(container)), container)["psnr_y"]
    return quality(photo, np.asarray(model.reconstruct(container)), container) | {"composite": composite}


def _row(
    name: str, file: str, kind: str, quality_means: dict[str, float], container: Container, runs: int
) -> dict[str, Any]:
    _, card = read(file)
    model = Reconstructor(load(file))
    times = in_turns({name: lambda: model.reconstruct(container)}, runs, model.device)
    return {
        "name": name,
        "kind": kind,
        "backbone": card.config.backbone,
        "channels": card.config.channels,
        "blocks": card.config.blocks,
        "parameters": parameters(card.config)["total"],
        "gflop_1080p": picture_flops(card.config, *SIZES["1080p"])["total"] / 1e9,
        "ms_1080p": round(times[name], 1),
        "psnr_y": quality_means["psnr_y"],
        "psnr_rgb": quality_means["psnr_rgb"],
        "notes": card.notes,
    }


if __name__ == "__main__":
    typer.run(main)
