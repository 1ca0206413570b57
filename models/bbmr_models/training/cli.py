"""`bbmr-train`: train JointSR on a folder of photographs.

In: a folder, a configuration and options. Out: a run folder (`training.loop`). Call it again with the same run to go
on. Exit status: 0, 1 where training failed, 2 where what was asked for makes no sense, 128 + n after signal n.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any, NoReturn

import torch
import typer

from bbmr_models.jointsr import JointSRConfig
from bbmr_models.weights import load
from bbmr_shared.errors import BbmrError, UsageError

from .coded_pool import CodingError
from .config import DEFAULT_CONFIG, Plan, changed, plan_of_run, read_config
from .distributed import together
from .loop import DivergedError, StoppedError, train
from .pool import load_pool
from .state import FILE, config_of, read

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run_training(
    data: Annotated[Path, typer.Argument(help="Folder of photographs, searched recursively.", exists=True)],
    run: Annotated[Path, typer.Option("--run", "-o", help="Run folder; an interrupted run goes on from it.")],
    config: Annotated[
        str | None,
        typer.Option(
            help="nano, light, large, omnisr, craft or a .toml file; without it the run's own, or light."
        ),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Wall time of this call, its decay included.")] = None,
    steps: Annotated[int | None, typer.Option(help="So many steps instead of so many minutes.")] = None,
    export: Annotated[
        bool,
        typer.Option(
            "--export", help="Only decay, from the saved state on, and export; the state stays as it is."
        ),
    ] = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            "-s",
            help="Start a new run from shipped weights or a .safetensors file; the model is then theirs.",
        ),
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="light, omnisr or craft.")] = None,
    channels: Annotated[int | None, typer.Option(help="Width of the backbone.")] = None,
    blocks: Annotated[int | None, typer.Option(help="Depth of the backbone.")] = None,
    deblock: Annotated[
        int | None, typer.Option(help="Channels of the deblock branch; 0 leaves it out.")
    ] = None,
    palette: Annotated[str | None, typer.Option(help="The rates that blocks may have, as 2,4,8.")] = None,
    block_side: Annotated[int | None, typer.Option(help="Side of a block in pixels.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops a step, on each process.")] = None,
    crop: Annotated[int | None, typer.Option(help="Side of a crop in pixels, a multiple of 16.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate of the stable part.")] = None,
    decay_share: Annotated[float | None, typer.Option(help="Share of the time that the decay takes.")] = None,
    uniform_rate: Annotated[
        int | None,
        typer.Option(help="Train for this rate over the whole picture alone: the paper's baseline."),
    ] = None,
    coded_share: Annotated[
        float | None, typer.Option(help="Share of the crops that went through a lossy codec.")
    ] = None,
    coded_workers: Annotated[int | None, typer.Option(help="Processes that code pictures.")] = None,
    save_seconds: Annotated[float | None, typer.Option(help="How often the state is saved.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of initial weights and data order.")] = None,
    compiled: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Let torch compile the network.")
    ] = None,
    bf16: Annotated[
        bool | None,
        typer.Option("--bf16/--no-bf16", help="bfloat16 autocast; without a word on CUDA only."),
    ] = None,
    variants: Annotated[int, typer.Option(help="Sizes kept of each picture.", min=1)] = 2,
    pictures: Annotated[int | None, typer.Option(help="Use only the first so many pictures.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="CPU threads.", min=1)] = None,
    tensorboard: Annotated[bool, typer.Option(help="Write RUN/tensorboard, too.")] = False,
) -> None:
    """Train, then export decayed weights to RUN/model.safetensors."""
    logging.basicConfig(format="%(message)s")
    if threads:
        torch.set_num_threads(threads)
    model = {
        "backbone": backbone,
        "channels": channels,
        "blocks": blocks,
        "deblock": deblock,
        "rates": _rates(palette),
        "block": block_side,
    }
    training = {
        "minutes": minutes,
        "steps": steps,
        "batch": batch,
        "crop": crop,
        "rate": rate,
        "decay_share": 1.0 if export else decay_share,
        "uniform_rate": uniform_rate,
        "coded_share": coded_share,
        "coded_workers": coded_workers,
        "save_seconds": save_seconds,
        "seed": seed,
        "bf16": bf16,
        "compile": compiled,
    }
    try:
        settings, plan, initial = _settings(run, config, start, export, model, training)
        with together(device) as ranks:
            pool = load_pool(data, plan.crop, variants, plan.seed, pictures, ranks.device)
            if ranks.leads:
                print(f"{len(pool)} pictures ready", flush=True)
            path = train(pool, settings, plan, run, ranks, initial, tensorboard)
            if ranks.leads:
                print(f"wrote {path}")
    except StoppedError as stopped:
        held = "kept" if (run / FILE).exists() else "not there yet"
        print(
            f"{stopped}; {run / FILE} is {held}. The same command goes on from it; "
            f"'bbmr-train {data} --run {run} --export --minutes 5' decays and exports it.",
            flush=True,
        )
        raise SystemExit(128 + stopped.number) from None
    except UsageError as error:
        _fail(error, 2)
    except (DivergedError, CodingError, BbmrError) as error:
        _fail(error, 1)


def _settings(
    run: Path,
    config: str | None,
    start: str | None,
    export: bool,
    model: dict[str, Any],
    training: dict[str, Any],
) -> tuple[JointSRConfig, Plan, dict[str, torch.Tensor] | None]:
    """The model, the plan, and the weights to start from. Options go before the file, a run's own model before none."""
    held = read(run)
    if export and held is None:
        raise UsageError(f"there is no {run / FILE} to export from")
    settings, plan = read_config(config or DEFAULT_CONFIG, model, training)
    if start is not None and held is None:
        if config is not None or any(value is not None for value in model.values()):
            raise UsageError("--start brings its own model: leave out --config and the options of the model")
        network = load(start)
        _, plan = read_config(network.config.backbone, {}, training)  # every backbone has a file of its name
        return network.config, plan, network.state_dict()
    if held is not None and config is None and (own := config_of(held)) is not None:
        return changed(own, model), changed(plan_of_run(held["plan"]), training), None
    return settings, plan, None


def _rates(text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(sorted({int(rate) for rate in text.split(",")}))
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no list of rates, as 2,4,8") from None


def _fail(error: Exception, status: int) -> NoReturn:
    typer.echo(f"error: {error}", err=True)
    raise SystemExit(status)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
