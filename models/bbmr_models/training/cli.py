"""The command `bbmr-train`: train JointSR on photographs or on coded pictures, or resume a run.

Exit status: 0 on success, 1 if training failed, 2 on wrong usage, 128 + n after signal n.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import torch
import typer

from bbmr_models.jointsr import JointSRConfig
from bbmr_models.unet import JointUNet
from bbmr_models.weights import load
from bbmr_shared.errors import BbmrError, UsageError

from .coded.dataset import CodedDataset, is_dataset, make_dataset, parse_shares
from .config import DEFAULT_CONFIG, TrainingConfig, read_config, saved_training_config, with_overrides
from .distributed import DistributedContext, distributed_context
from .loop import DivergedError, StoppedError, train
from .lossless.pool import PicturePool, load_pool
from .state import STATE_FILE, read_state, saved_model_config

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run_training(
    data: Annotated[
        list[Path],
        typer.Argument(
            help="Folder of photographs, searched recursively, or datasets of coded pictures.", exists=True
        ),
    ],
    run: Annotated[Path, typer.Option("--run", "-o", help="Run folder; a run that is in it is resumed.")],
    config: Annotated[
        str | None,
        typer.Option(
            help="nano, light, large, omnisr, craft or a .toml file. Default: that of the run, or light."
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Wall time of this call, including the decay.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Length of this call in steps instead of minutes.")
    ] = None,
    export: Annotated[
        bool,
        typer.Option(
            "--export", help="Only decay from the saved state and export. The state stays as it is."
        ),
    ] = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            "-s",
            help="Start a new run from shipped weights or a .safetensors file, with their model.",
        ),
    ] = None,
    restoration: Annotated[
        bool, typer.Option(help="Of the weights of --start take those for coded blocks at rate 1.")
    ] = False,
    backbone: Annotated[str | None, typer.Option(help="light, omnisr or craft.")] = None,
    channels: Annotated[
        str | None, typer.Option(help="Width of the backbone; for light three, as 32,48,64.")
    ] = None,
    blocks: Annotated[int | None, typer.Option(help="Depth of the backbone.")] = None,
    deblock: Annotated[int | None, typer.Option(help="Channels of the deblock branch; 0 omits it.")] = None,
    palette: Annotated[
        str | None, typer.Option(help="The rates that blocks may have, for example 2,4,8.")
    ] = None,
    block_side: Annotated[int | None, typer.Option(help="Side of a block in pixels.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops per step, on each process.")] = None,
    crop: Annotated[int | None, typer.Option(help="Side of a crop in pixels, a multiple of 16.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate of the stable part.")] = None,
    decay_share: Annotated[float | None, typer.Option(help="Share of the call that the decay takes.")] = None,
    uniform_rate: Annotated[
        int | None,
        typer.Option(help="Train for this one rate over the whole picture (the paper's baseline)."),
    ] = None,
    lossless: Annotated[
        bool | None, typer.Option("--lossless", help="Train light on lossless planes, like the others.")
    ] = None,
    conditions: Annotated[
        str | None, typer.Option(help="Of coded pictures only these conditions, for example r2,r4,mixed.")
    ] = None,
    passes: Annotated[int, typer.Option(help="Coded versions of each photograph.", min=1)] = 5,
    save_seconds: Annotated[
        float | None, typer.Option(help="Seconds between two saves of the state.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of initial weights and data order.")] = None,
    compiled: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Let torch compile the network.")
    ] = None,
    bf16: Annotated[
        bool | None,
        typer.Option("--bf16/--no-bf16", help="bfloat16 autocast. Default: on CUDA only."),
    ] = None,
    variants: Annotated[int, typer.Option(help="Lossless: sizes of each picture.", min=1)] = 2,
    max_pictures: Annotated[
        int | None, typer.Option("--pictures", help="Of photographs use only the first N.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="CPU threads.", min=1)] = None,
    tensorboard: Annotated[bool, typer.Option(help="Also write RUN/tensorboard.")] = False,
) -> None:
    """Train, then export decayed weights to RUN/model.safetensors."""
    logging.basicConfig(format="%(message)s")
    if threads:
        torch.set_num_threads(threads)
    model_options = {
        "backbone": backbone,
        "channels": _channels(channels),
        "blocks": blocks,
        "deblock": deblock,
        "rates": _rates(palette),
        "block": block_side,
    }
    training_options = {
        "minutes": minutes,
        "steps": steps,
        "batch": batch,
        "crop": crop,
        "learning_rate": learning_rate,
        "decay_share": 1.0 if export else decay_share,
        "uniform_rate": uniform_rate,
        "lossless": lossless,
        "conditions": None if conditions is None else tuple(parse_shares(conditions)),
        "save_seconds": save_seconds,
        "seed": seed,
        "bf16": bf16,
        "compile": compiled,
    }
    try:
        model_config, training_config, initial = _configurations(
            run, config, start, restoration, export, model_options, training_options
        )
        with distributed_context(device) as context:
            pictures = (
                _coded(data, run, training_config, passes, context)
                if trains_on_coded(model_config, training_config, data)
                else _pool(data, training_config, variants, max_pictures, context)
            )
            path = train(pictures, model_config, training_config, run, context, initial, tensorboard)
            if context.is_main:
                print(f"wrote {path}")
    except StoppedError as stopped:
        _print_how_to_resume(stopped, data, run)
        raise SystemExit(128 + stopped.number) from None
    except UsageError as error:
        _fail(error, 2)
    except (DivergedError, BbmrError) as error:
        _fail(error, 1)


def trains_on_coded(model: JointSRConfig, training: TrainingConfig, data: Sequence[Path]) -> bool:
    """Whether a run trains on coded pictures: `light`, unless it is to learn lossless planes or one rate alone."""
    if training.lossless or training.uniform_rate is not None:
        return False
    return not model.levels or all(is_dataset(folder) for folder in data)


def _pool(
    data: Sequence[Path],
    config: TrainingConfig,
    variants: int,
    max_pictures: int | None,
    context: DistributedContext,
) -> PicturePool:
    if len(data) != 1:
        raise UsageError("lossless planes are made from one folder of photographs")
    pool = load_pool(data[0], config.crop, variants, config.seed, max_pictures, context.device)
    if context.is_main:
        print(f"{len(pool)} pictures ready", flush=True)
    return pool


def _coded(
    data: Sequence[Path], run: Path, config: TrainingConfig, passes: int, context: DistributedContext
) -> CodedDataset:
    """Return the datasets, or one that is made of a folder of photographs once for the run."""
    if not all(is_dataset(folder) for folder in data):
        if len(data) != 1:
            raise UsageError("name one folder of photographs, or datasets of coded pictures only")
        own = run / "coded"
        if context.is_main and not is_dataset(own):
            print(f"coding {passes} versions of each photograph into {own}", flush=True)
            make_dataset(data[0], own, passes, config.seed)
        context.barrier()
        data = [own]
    return CodedDataset(data, config.held_out, config.conditions)


def _configurations(
    run: Path,
    config: str | None,
    start: str | None,
    restoration: bool,
    export: bool,
    model_options: dict[str, Any],
    training_options: dict[str, Any],
) -> tuple[JointSRConfig, TrainingConfig, dict[str, torch.Tensor] | None]:
    """Return both configurations, and the weights that a new run starts from.

    Options replace values of the configuration file. Without a file a resumed run keeps its own configuration.
    """
    saved = read_state(run)
    if export and saved is None:
        raise UsageError(f"there is no {run / STATE_FILE} to export from")
    model_config, training_config = read_config(config or DEFAULT_CONFIG, model_options, training_options)
    if start is not None and saved is None:
        if config is not None or any(value is not None for value in model_options.values()):
            raise UsageError("--start brings its own model: omit --config and the options of the model")
        network = load(start)
        if isinstance(network, JointUNet) and network.restoration is not None:
            network = network.part(restoration)
        # Every backbone has a configuration file of its name.
        _, training_config = read_config(network.config.backbone, {}, training_options)
        return network.config, training_config, network.state_dict()
    if saved is not None and config is None and (own := saved_model_config(saved)) is not None:
        training_config = with_overrides(saved_training_config(saved["plan"]), training_options)
        return with_overrides(own, model_options), training_config, None
    return model_config, training_config, None


def _print_how_to_resume(stopped: StoppedError, data: Sequence[Path], run: Path) -> None:
    state = run / STATE_FILE
    saved = f"{state} is kept" if state.exists() else f"{state} does not exist yet"
    print(
        f"{stopped}; {saved}. The same command resumes the run; "
        f"'bbmr-train {' '.join(map(str, data))} --run {run} --export --minutes 5' decays and exports it.",
        flush=True,
    )


def _rates(text: str | None) -> tuple[int, ...] | None:
    return None if text is None else tuple(sorted(set(_integers(text, "rates", "2,4,8"))))


def _channels(text: str | None) -> int | tuple[int, ...] | None:
    widths = () if text is None else _integers(text, "widths", "32,48,64")
    return widths if len(widths) > 1 else next(iter(widths), None)


def _integers(text: str, what: str, example: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"'{text}' is not a list of {what}; write for example {example}") from None


def _fail(error: Exception, status: int) -> NoReturn:
    typer.echo(f"error: {error}", err=True)
    raise SystemExit(status)


if __name__ == "__main__":
    app()
