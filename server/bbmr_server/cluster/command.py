"""`bbmr-server bulk SRC DST` over Ray Data: a folder of containers becomes one of pictures, or photos containers.

In: flags, and the settings of the environment. Out: files, a report, the exit status: 0, 1 where files failed or are
left, 2 for wrong usage. Which output belongs to which input, what is done already, and how a file takes its place are
those of `bbmr-client`'s batches (docs/batch.md); this module only brings other workers.
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
from bbmr_models.cards import available
from bbmr_server.settings import Settings, load_settings
from bbmr_shared.errors import UnknownModelError, UsageError
from bbmr_shared.images.output import OUTPUT_FORMATS, get_format

from .bulk_worker import Errand

TERMINATED = 143


def main(arguments: Sequence[str]) -> int:
    """Run the command with the words after `bulk`; returns 0. `argparse` ends it with 2 on wrong flags.

    Raises:
        UsageError and other `BbmrError`s: as the settings and `bbmr_client.batch.run.run`.
        ModuleNotFoundError: Ray is not installed.
    """
    options = _parser().parse_args(arguments)
    if not os.path.isdir(options.source):
        raise UsageError(f"{options.source} is no folder: name the folder of the archive")
    if options.rate is not None and not options.encode:
        raise UsageError("--rate belongs to --encode")
    if options.encode and (options.format or options.model):
        raise UsageError("--format and --model do not belong to --encode")
    from .ray_pool import Pool  # needs Ray; the rest of the usage was checked without

    settings = load_settings(device=options.device, model=options.model)
    errand = _errand(options, settings)
    batch = Batch(
        names=[options.source],
        output=options.target if options.target.endswith("/") else options.target + "/",
        endings=PICTURES if options.encode else CONTAINERS,
        ending=".bbmr" if options.encode else get_format(errand.format).extension,
        noun="photo" if options.encode else "container",
        overwrite=options.overwrite,
        quiet=options.quiet,
        report=options.report,
        json=options.json,
    )

    def hire(inputs: int) -> Pool:
        pool = Pool(errand, options.workers, options.threads, options.ray, inputs)
        signal.signal(signal.SIGTERM, _ended)  # Ray has set its own
        return pool

    run(batch, hire)
    return 0


def _errand(options: argparse.Namespace, settings: Settings) -> Errand:
    if options.encode:
        wish = {} if options.rate is None else {"rate": options.rate}
        return Errand("encode", recipe_key("encode", wish), settings, encoding=wish)
    cards = available()
    for name in settings.model:
        if name not in cards:
            raise UnknownModelError(f"there are no weights {name!r}; there are {', '.join(cards) or 'none'}")
    form = options.format or "png"
    weights = {name: cards[name].sha256 for name in settings.model}
    key = recipe_key("bulk", {"format": form, "model": options.model, "weights": weights})
    return Errand("reconstruct", key, settings, format=form, model=options.model)


def _ended(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(TERMINATED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bbmr-server bulk",
        description="Reconstruct every container of a folder into another one, on one machine or a Ray cluster. "
        "A run that was ended goes on where it was: give the same command again.",
        epilog="Other settings are environment variables (BBMR_MAX_PIXELS, …). docs/cluster.md has more.",
    )
    parser.add_argument("source", metavar="SRC", help="folder of the archive; every worker must see it here")
    parser.add_argument("target", metavar="DST", help="folder for the results; every worker must see it here")
    parser.add_argument("--format", choices=sorted(OUTPUT_FORMATS), help="of the pictures (png)")
    parser.add_argument("--model", metavar="NAME", help="weights, whatever the containers name (BBMR_MODEL)")
    parser.add_argument("--encode", action="store_true", help="the other way: photos become containers")
    parser.add_argument("--rate", type=float, metavar="R", help="with --encode: the overall rate")
    parser.add_argument("--device", metavar="NAME", help="auto, cpu or cuda (BBMR_DEVICE, auto)")
    parser.add_argument("--workers", type=_count, metavar="N", help="one a GPU, else one a machine")
    parser.add_argument(
        "--threads", type=_count, metavar="N", help="CPU cores of one worker; all, shared out"
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="of a cluster (RAY_ADDRESS, else this machine alone)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there and differ")
    parser.add_argument("--report", metavar="FILE", help="a row for each input, as .csv or .json")
    parser.add_argument("--json", action="store_true", help="the summary as JSON on standard output")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary")
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 100_000):
        raise argparse.ArgumentTypeError(f"is a whole number from 1 on, not {text[:32]!r}")
    return int(text)
