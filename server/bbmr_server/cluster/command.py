"""The command `bbmr-server bulk SRC DST`: reconstructs a folder of containers, or encodes a folder of photos.

The exit status is 0, 1 if files failed or are left, 2 for wrong usage. Naming of outputs, skipping of finished files
and atomic writes are those of `bbmr-client`'s batches (docs/batch.md). This module only supplies Ray workers.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from bbmr_client.batch.file_task import recipe_key
from bbmr_client.batch.inputs import CONTAINERS, PICTURES
from bbmr_client.batch.run import Batch, run
from bbmr_client.encoding.budget import DEFAULT_QUALITY
from bbmr_client.encoding.options import EncodeOptions
from bbmr_models.cards import available
from bbmr_server.settings import Settings, load_settings
from bbmr_shared.errors import UnknownModelError, UsageError
from bbmr_shared.images.output import OUTPUT_FORMATS, get_format

from .bulk_worker import BulkTask

TERMINATED = 143
_ENCODING = ("quality", "rate")
"""Options that go to `bbmr_client.encode`."""


def main(arguments: Sequence[str]) -> int:
    """Runs the command with the arguments after `bulk`. Returns 0; argparse exits with 2 on wrong flags.

    Raises:
        UsageError and other BbmrErrors of the settings and of `bbmr_client.batch.run.run`.
        ModuleNotFoundError if Ray is not installed.
    """
    options = _parser().parse_args(arguments)
    if not os.path.isdir(options.source):
        raise UsageError(f"{options.source} is not a folder; name the folder of the archive")
    for name in _ENCODING:
        if getattr(options, name) is not None and not options.encode:
            raise UsageError(f"--{name} belongs to --encode")
    if options.encode and (options.format or options.model):
        raise UsageError("--format and --model do not belong to --encode")
    from .ray_pool import RayWorkerPool  # after the checks that do not need Ray

    settings = load_settings(device=options.device, model=options.model)
    task = _task(options, settings)
    batch = Batch(
        names=[options.source],
        output=options.target if options.target.endswith("/") else options.target + "/",
        endings=PICTURES if options.encode else CONTAINERS,
        ending=".bbmr" if options.encode else get_format(task.format).extension,
        noun="photo" if options.encode else "container",
        overwrite=options.overwrite,
        quiet=options.quiet,
        report=options.report,
        json=options.json,
    )

    def make_workers(inputs: int) -> RayWorkerPool:
        pool = RayWorkerPool(task, options.workers, options.threads, options.ray, inputs)
        signal.signal(signal.SIGTERM, _on_terminate)  # replaces the handler that Ray has set
        return pool

    run(batch, make_workers)
    return 0


def _task(options: argparse.Namespace, settings: Settings) -> BulkTask:
    if options.encode:
        chosen = {name: getattr(options, name) for name in _ENCODING}
        encoding = {name: value for name, value in chosen.items() if value is not None}
        EncodeOptions(**encoding)  # raises UsageError
        return BulkTask("encode", recipe_key("encode", encoding), settings, encoding=encoding)
    cards = available()
    for name in settings.engine.model:
        if name not in cards:
            raise UnknownModelError(f"there are no weights {name!r}; there are {', '.join(cards) or 'none'}")
    form = options.format or "png"
    weights = {name: cards[name].sha256 for name in settings.engine.model}
    key = recipe_key("bulk", {"format": form, "model": options.model, "weights": weights})
    return BulkTask("reconstruct", key, settings, format=form, model=options.model)


def _on_terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(TERMINATED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bbmr-server bulk",
        description="Reconstruct every container of a folder into another folder, on one machine or a Ray cluster. "
        "To continue an interrupted run, repeat the command.",
        epilog="Other settings are environment variables (BBMR_MAX_PIXELS, …). See docs/cluster.md.",
    )
    parser.add_argument(
        "source", metavar="SRC", help="input folder; every worker must see it under this path"
    )
    parser.add_argument(
        "target", metavar="DST", help="output folder; every worker must see it under this path"
    )
    parser.add_argument("--format", choices=sorted(OUTPUT_FORMATS), help="format of the pictures (png)")
    parser.add_argument(
        "--model", metavar="NAME", help="use these weights, whatever the containers name (BBMR_MODEL)"
    )
    parser.add_argument("--encode", action="store_true", help="encode photos into containers instead")
    parser.add_argument(
        "--quality", type=int, metavar="Q", help=f"with --encode: the quality, 0 to 100 ({DEFAULT_QUALITY})"
    )
    parser.add_argument(
        "--rate", type=float, metavar="R", help="with --encode: lossless planes with this overall rate"
    )
    parser.add_argument("--device", metavar="NAME", help="auto, cpu or cuda (BBMR_DEVICE, auto)")
    parser.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="workers (one for each GPU, else for each machine)",
    )
    parser.add_argument(
        "--threads", type=_count, metavar="N", help="CPU cores of each worker (all, divided among them)"
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="address of a cluster (RAY_ADDRESS, else this machine alone)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results that exist and differ")
    parser.add_argument("--report", metavar="FILE", help="write a row for each input, as .csv or .json")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON on standard output")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary")
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 100_000):
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, not {text[:32]!r}")
    return int(text)
