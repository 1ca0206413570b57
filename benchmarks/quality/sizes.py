"""How large should a network be? Quality against operations and against milliseconds on the CPU.

In: a folder of photos, and weights of sizes that were trained for the same number of steps (docs/benchmarks.md has
the commands). Out: `sizes.json`, `sizes.md`, `sizes.png`. Quality is PSNR-Y on the block-based containers of
`benchmarks.quality.rescaling` at overall rate ×4. The shipped models are points of another kind: each was trained in a
way of its own, and their quality is read from the results of `benchmarks.quality.rescaling`.

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
from benchmarks.common import Partial, photos, read_rgb, table, write
from benchmarks.render.paper_pages import story
from benchmarks.render.rescaling_pages import CONDITIONS
from benchmarks.speed.backbones import in_turns
from benchmarks.speed.flops import parameters, picture_flops
from benchmarks.speed.speed import SIZES, cut

from .paper import results_of
from .rescaling import quality

RATE = 4


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of photos.")],
    weights: Annotated[list[str], typer.Option(help="NAME=FILE, trained for the same steps.")],
    output: Annotated[Path, typer.Option(help="Where results are and go.")] = Path("docs/benchmarks"),
    shipped: Annotated[str, typer.Option(help="Shipped models to show beside.")] = "light omnisr craft",
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
        held = {key: statistics.fmean(row[key] for row in measured[name]) for key in ("psnr_y", "psnr_rgb")}
        rows.append(_row(name, file, "equal steps", held, container, runs))
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
    text = markdown(results)
    write(output, "sizes", results, text)
    plot(results, output / "sizes.png")
    partial.finish()
    print(text)


def blocks_quality(photo: NDArray[np.uint8], model: Reconstructor) -> dict[str, Any]:
    """Quality of the block-based container at ×4, and PSNR-Y of its composite."""
    container = encode(photo, rate=RATE)
    composite = quality(photo, np.asarray(preview(container)), container)["psnr_y"]
    return quality(photo, np.asarray(model.reconstruct(container)), container) | {"composite": composite}


def _row(
    name: str, file: str, kind: str, held: dict[str, float], container: Container, runs: int
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
        "psnr_y": held["psnr_y"],
        "psnr_rgb": held["psnr_rgb"],
        "notes": card.notes,
    }


def markdown(results: dict[str, Any]) -> str:
    """The table."""
    head = [
        "network",
        "trained",
        "channels × blocks",
        "parameters",
        "GFLOP",
        "ms",
        "PSNR-Y",
        "over the composite",
    ]
    lines = [head]
    for row in results["sizes"]:
        size = f"{row['channels']} × {row['blocks']}"
        counts = [f"{row['parameters']:,}", f"{row['gflop_1080p']:,.0f}", f"{row['ms_1080p']:,.0f}"]
        gained = f"{row['psnr_y'] - results['composite_psnr_y']:+.2f}"
        trained = f"{row['kind']}: {story(row['notes'])}"
        lines.append([f"`{row['name']}`", trained, size, *counts, f"{row['psnr_y']:.2f}", gained])
    note = (
        f"PSNR-Y: means over the block-based containers of {results['set']} at ×{RATE}, whose composite has "
        f"{results['composite_psnr_y']:.2f} dB. GFLOP and milliseconds: a 1080p picture on the CPU, whole "
        f"reconstruction, {results['threads']} threads. Networks *as shipped* were trained for longer and in different "
        "ways: compare sizes among those of equal steps only."
    )
    return f"{note}\n\n{table(lines)}"


def plot(results: dict[str, Any], path: Path) -> None:
    """dB against operations and against milliseconds, both on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    axes[0].set_ylabel(f"PSNR-Y, block-based, {results['set']} ×{RATE}, dB")
    for axis, key, title in zip(
        axes,
        ("gflop_1080p", "ms_1080p"),
        ("GFLOP for 1080p", f"ms for 1080p, {results['threads']} CPU threads"),
        strict=True,
    ):
        for kind, marker, line, colour in (
            ("equal steps", "o", "-", "#d9772b"),
            ("as shipped", "D", "", "#4a7ba6"),
        ):
            rows = sorted((row for row in results["sizes"] if row["kind"] == kind), key=lambda row: row[key])
            places, heights = [row[key] for row in rows], [row["psnr_y"] for row in rows]
            label = (
                "trained for the same steps"
                if kind == "equal steps"
                else "as shipped, each trained in its own way"
            )
            axis.plot(places, heights, marker=marker, linestyle=line or "none", color=colour, label=label)
            for row in rows:
                below = row["name"] == "craft"  # omnisr's label is above it
                axis.annotate(
                    row["name"],
                    (row[key], row["psnr_y"]),
                    (-4, -14 if below else 7),
                    textcoords="offset points",
                    fontsize=9,
                    ha="center",
                )
        axis.axhline(
            results["composite_psnr_y"], color="#888888", linewidth=1, linestyle=":", label="composite"
        )
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.xaxis.set_minor_formatter("")
        axis.set_xticks([30, 100, 300] if key == "gflop_1080p" else [200, 500, 1000, 2000])
        axis.margins(0.12)
        axis.set_xlabel(title)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8, loc=(0.03, 0.2))
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    typer.run(main)
