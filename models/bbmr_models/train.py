"""`bbmr-train`: train JointSR on a folder of photographs.

In: a folder and options. Out: a run folder (`training.loop`). Call it again with the same run to go on.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import torch
import typer

from .jointsr import JointSRConfig
from .training.loop import Plan, train
from .training.pool import load_pool
from .weights import load

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run_training(
    data: Annotated[Path, typer.Argument(help="Folder of photographs, searched recursively.", exists=True)],
    run: Annotated[Path, typer.Option(help="Run folder; an interrupted run goes on from it.")],
    minutes: Annotated[float, typer.Option(help="Wall time of this call, its decay included.")] = 60.0,
    steps: Annotated[int | None, typer.Option(help="So many steps instead of so many minutes.")] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Start a new run from shipped weights or a .safetensors file; sizes are then theirs."
        ),
    ] = None,
    channels: Annotated[int, typer.Option(help="Width of the backbone.")] = 48,
    blocks: Annotated[int, typer.Option(help="Residual blocks of the backbone.")] = 8,
    deblock: Annotated[int, typer.Option(help="Channels of the deblock branch; 0 leaves it out.")] = 16,
    batch: Annotated[int, typer.Option(help="Crops a step.")] = 8,
    crop: Annotated[int, typer.Option(help="Side of a crop in pixels, a multiple of 16.")] = 192,
    rate: Annotated[float, typer.Option(help="Learning rate of the stable part.")] = 1.2e-3,
    decay_share: Annotated[float, typer.Option(help="Share of the time that the decay takes.")] = 0.15,
    uniform_rate: Annotated[
        int | None,
        typer.Option(help="Train for this rate over the whole picture alone: the paper's baseline."),
    ] = None,
    variants: Annotated[int, typer.Option(help="Sizes kept of each picture.")] = 2,
    pictures: Annotated[int | None, typer.Option(help="Use only the first so many pictures.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of initial weights and data order.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
) -> None:
    """Train, then export decayed weights to RUN/model.safetensors."""
    logging.basicConfig(format="%(message)s")
    if threads:
        torch.set_num_threads(threads)
    plan = Plan(
        minutes,
        steps,
        batch=batch,
        crop=crop,
        rate=rate,
        decay_share=decay_share,
        seed=seed,
        uniform_only=uniform_rate,
    )
    try:
        pool = load_pool(data, crop, variants, seed, pictures)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    print(f"{len(pool)} pictures ready", flush=True)
    model = None if start is None else load(start)
    config = (
        JointSRConfig(channels=channels, blocks=blocks, deblock=deblock) if model is None else model.config
    )
    initial = None if model is None else model.state_dict()
    print(f"wrote {train(pool, config, plan, run, device, initial)}")


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
