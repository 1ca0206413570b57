"""The paper's table: the same network with and without block-based rates, for every backbone that was measured.

In: the results of `benchmarks.quality.rescaling` (all of `light`'s and the network rows of other backbones), the same
folders of photos, and weights trained for one uniform rate alone, the paper's own baseline. Out: `paper.json`,
`paper.md`, `paper.png`. Only the weights of the baseline run here.

    python -m benchmarks.quality.paper eval2k eval4k --uniform-weights 4=runs/u4/model.safetensors
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_models import load
from bbmr_models.reconstruct import Reconstructor
from bbmr_models.weights import read
from benchmarks.common import Partial, files_by_rate, photos, read_rgb
from benchmarks.render.pages import write
from benchmarks.render.paper_pages import plot

from .paper_rows import BASE, NETWORK, assemble
from .rescaling import quality


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of the photos in the results.")],
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("docs/benchmarks"),
    models: Annotated[str, typer.Option(help="Backbones; the first has bicubic's rows.")] = (
        "light omnisr craft"
    ),
    uniform_weights: Annotated[
        list[str] | None, typer.Option(help="RATE=FILE: weights trained for that uniform rate alone.")
    ] = None,
    uniform_start: Annotated[
        str | None, typer.Option(help="Start weights of those, if their notes do not name them.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
) -> None:
    """Assemble, print and write the table."""
    if threads:
        torch.set_num_threads(threads)
    results = {name: result for name in models.split() if (result := results_of(output, name)) is not None}
    same_containers(results)
    paths = photos(folders)
    baseline = uniform_only(paths, files_by_rate(uniform_weights or []), output)
    for row in baseline:
        row["notes"] = {"start": uniform_start} | row["notes"]
    paper = assemble(results, baseline, sizes(paths))
    text = write(output, "paper", paper)
    plot(paper, output / "paper.png")
    print(text)


def results_of(folder: Path, model: str) -> dict[str, Any] | None:
    """Return the results of `benchmarks.quality.rescaling` for a model, or None if it was not run."""
    path = folder / ("rescaling.json" if model == BASE else f"rescaling-{model}.json")
    return json.loads(path.read_text()) if path.is_file() else None


def same_containers(results: dict[str, dict[str, Any]]) -> None:
    """Raise ValueError if the models read different containers: if samples or bytes differ."""
    expected = {(p["picture"], p["rate"]): p["conditions"] for p in results[BASE]["pictures"]}
    for model, result in results.items():
        for picture in result["pictures"]:
            wanted = expected[picture["picture"], picture["rate"]]
            for name in NETWORK:
                for key in ("pixels", "bytes"):
                    if picture["conditions"][name][key] != wanted[name][key]:
                        raise ValueError(
                            f"{model}, {picture['picture']}, {name}: {key} differ from those of {BASE}"
                        )


def sizes(paths: list[Path]) -> dict[str, tuple[int, int]]:
    """Return picture → (width, height)."""
    by_name = {}
    for path in paths:
        with Image.open(path) as image:
            by_name[path.stem] = image.size
    return by_name


def uniform_only(paths: list[Path], weights: dict[int, str], output: Path) -> list[dict[str, Any]]:
    """Return uniform rescaling with weights trained for that rate alone: a row per rate and picture, with their notes.

    Raises ValueError if the notes of the weights name another rate.
    """
    cards = {rate: read(name)[1] for rate, name in weights.items()}
    for rate, card in cards.items():
        if (trained := card.notes.get("uniform_rate", rate)) != rate:
            raise ValueError(f"{card.name} was trained for rate {trained}, not {rate}")
    partial = Partial(output, "paper", {str(rate): card.sha256 for rate, card in cards.items()})
    rows = []
    for rate, name in weights.items():
        reconstructor = Reconstructor(load(name))
        for path in paths:
            row = partial.find(picture=path.stem, set=path.parent.name, rate=rate)
            if row is None:
                photo = read_rgb(path)
                container = encode(photo, rate=rate, uniform=True)
                row = {
                    "picture": path.stem,
                    "set": path.parent.name,
                    "rate": rate,
                    "notes": cards[rate].notes,
                }
                row |= quality(photo, np.asarray(reconstructor.reconstruct(container)), container)
                partial.add(row)
                print(
                    f"×{rate} {path.stem:24s} trained for uniform ×{rate} alone {row['psnr_y']:.2f}",
                    flush=True,
                )
            rows.append(row)
    partial.finish()
    return rows


if __name__ == "__main__":
    typer.run(main)
