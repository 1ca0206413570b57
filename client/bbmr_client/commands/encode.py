"""`bbmr-client encode`: a photo in, a container out."""

from __future__ import annotations

import os
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bbmr_client.batch.inputs import PICTURES, expand, is_batch
from bbmr_client.commands.batch_options import Jobs, Json, Overwrite, Quiet, ReportFile, RunOptions, Verbose
from bbmr_client.commands.common import check_target, plane_lines, read_photo, report, say, shown
from bbmr_client.config import EncodeDefaults, load_config
from bbmr_client.encoding.budget import BUDGETS, DEFAULT_QUALITY, parse_bytes
from bbmr_client.files import STDIO, write_file
from bbmr_shared.errors import UsageError
from bbmr_shared.images.names import (
    DEFAULT_CODEC,
    DEFAULT_LOSSY_CODEC,
    KNOWN_BUT_ABSENT,
    LOSSLESS_CODECS,
    LOSSY_CODECS,
    CodecName,
)

if TYPE_CHECKING:
    from bbmr_client.reports.encode_report import EncodeReport

DEFAULTS = {
    "rates": "1,2,4,8,16",
    "effort": 4,
    "metadata": "all",
    "keep_smaller": False,
}
"""What an option is if neither the command line nor the settings file has it."""


class Metadata(StrEnum):
    """What of a photo's metadata is kept."""

    ALL = "all"
    ICC = "icc"
    NONE = "none"


def encode(
    photo: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO", help="The photo, or several, folders, patterns; - is standard input."
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Where to write; default: beside the photo, .bbmr. For many: the folder. - is stdout.",
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            "-q",
            "--quality",
            min=0,
            max=100,
            metavar="0..100",
            help="The quality, on AVIF's scale.",
            show_default=str(DEFAULT_QUALITY),
        ),
    ] = None,
    bpp: Annotated[
        float | None, typer.Option(metavar="X", help="The best picture of at most X bits per pixel.")
    ] = None,
    max_bytes: Annotated[
        str | None, typer.Option(metavar="N", help="The best picture of at most N bytes, such as 200k.")
    ] = None,
    target_psnr: Annotated[
        float | None,
        typer.Option(metavar="DB", help="A small file whose picture has this PSNR without the network."),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="S", help="Lossless planes with at most 1/S² of the pixels; S is 1-16."),
    ] = None,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Keep every pixel: rate 1 for all blocks, lossless alpha.")
    ] = False,
    rates: Annotated[
        str | None,
        typer.Option(
            metavar="1,2,4,8,16",
            help="The palette of rates that blocks may have.",
            show_default=str(DEFAULTS["rates"]),
        ),
    ] = None,
    uniform: Annotated[bool, typer.Option("--uniform", help="Every block at the overall rate.")] = False,
    codec: Annotated[
        CodecName | None,
        typer.Option(
            metavar=f"<{'|'.join(LOSSY_CODECS + LOSSLESS_CODECS)}>",
            help=f"How planes are coded: {' or '.join(LOSSLESS_CODECS)} with --rate or --lossless.",
            show_default=f"{DEFAULT_LOSSY_CODEC}; {DEFAULT_CODEC} with --rate or --lossless",
        ),
    ] = None,
    effort: Annotated[
        int | None,
        typer.Option(
            min=0, max=9, metavar="0..9", help="Codec effort, 0 fastest, 9 smallest.", show_default="4"
        ),
    ] = None,
    metadata: Annotated[
        Metadata | None,
        typer.Option(
            help="What is kept: all, only the colour profile, or none (colours become sRGB).",
            show_default="all",
        ),
    ] = None,
    no_network: Annotated[
        bool, typer.Option("--no-network", help="A file that is shown as it is, without the network.")
    ] = False,
    alpha_quality: Annotated[
        int | None,
        typer.Option(
            min=0, max=100, metavar="0..100", help="Lossy alpha of this quality; default: lossless."
        ),
    ] = None,
    keep_smaller: Annotated[
        bool | None,
        typer.Option(
            "--keep-smaller/--no-keep-smaller",
            help="Store the photo's own file if that is smaller.",
            show_default=False,
        ),
    ] = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    report_file: ReportFile = None,
    json: Json = False,
) -> None:
    """Cut photos into blocks of different rates and pack each into a container."""
    run = RunOptions(jobs, overwrite, quiet, verbose, report_file, json)
    names = expand(photo)
    many = is_batch(names, output)
    config = load_config()
    chosen = {
        "quality": quality,
        "bpp": bpp,
        "max_bytes": None if max_bytes is None else parse_bytes(max_bytes),
        "target_psnr": target_psnr,
        "rate": rate,
        "rates": None if rates is None else _palette(rates),
        "codec": None if codec is None else codec.value,
        "effort": effort,
        "metadata": None if metadata is None else metadata.value,
        "alpha_quality": alpha_quality,
        "keep_smaller": keep_smaller,
    }
    options = _options(chosen, config.encode, uniform, lossless)
    options["network"] = not no_network
    _check_codec(options)
    if many:
        assert output is not None
        _check_ending(output)
        _many(names, output, options, run)
        return
    run.check_single()
    target = output if output is not None else _beside(names[0])
    check_target(target, names[0])
    _check_ending(target)
    _one(names[0], target, options, run)


def _options(
    chosen: dict[str, Any], defaults: EncodeDefaults, uniform: bool, lossless: bool
) -> dict[str, Any]:
    """Returns keyword arguments of `bbmr_client.encode`. `chosen` wins over `defaults`, and these over `DEFAULTS`."""
    budgets = [name for name in BUDGETS if chosen[name] is not None]
    if len(budgets) > 1:
        raise UsageError(f"{_flag(budgets[0])} and {_flag(budgets[1])} exclude each other: leave out one")
    if lossless:
        for name in (*BUDGETS, "rates", "alpha_quality"):
            if chosen[name] is not None:
                raise UsageError(f"--lossless and {_flag(name)} exclude each other")
        defaults = defaults.lossless()
    elif budgets:
        defaults = defaults.without_budget()
    options: dict[str, Any] = {**DEFAULTS, "rates": _palette(str(DEFAULTS["rates"])), "alpha_quality": None}
    for values in (defaults.values(), chosen):
        options |= {name: value for name, value in values.items() if value is not None}
    options["uniform"] = uniform or lossless
    return options


def _one(name: str, target: str, options: dict[str, Any], run: RunOptions) -> None:
    from bbmr_client.batch.encoding import encoding_warnings
    from bbmr_client.encoding.encoder import encode as encode_photo
    from bbmr_client.reports.encode_report import encode_report, info_report

    picture = read_photo(name)
    started = time.perf_counter()
    container = encode_photo(picture, **options)
    data = container.to_bytes()
    seconds = time.perf_counter() - started
    warnings = encoding_warnings(picture, container, len(data), options)
    result = encode_report(container, len(data), seconds, warnings=warnings)
    write_file(target, data)
    if run.json:
        report(result.model_dump_json(indent=2), target)
    elif not run.quiet:
        for warning in warnings:
            say(f"{shown(name, 'input')}: warning: {warning}")
        say(_line(shown(target), result))
        for line in plane_lines(info_report(container, len(data))) if run.verbose else ():
            say(line)


def _line(name: str, result: EncodeReport) -> str:
    blocks = ", ".join(f"{count} at {rate}" for rate, count in result.rates.items() if count)
    what = f"overall rate {result.overall_rate:.3f} (blocks: {blocks})"
    if result.original:
        what = "the photo's file as it is"
    return (
        f"{name}: {result.width}×{result.height}, {result.bytes} bytes, {result.bpp:.3f} bpp, "
        f"{what}, {result.seconds:.2f} s"
    )


def _many(names: list[str], output: str, options: dict[str, Any], run: RunOptions) -> None:
    from bbmr_client.batch.run import run as run_batch
    from bbmr_client.commands.batch_options import encoder_pool

    run_batch(run.batch(names, output, PICTURES, ".bbmr", "photo"), encoder_pool(options, run.jobs))


def _check_codec(options: dict[str, Any]) -> None:
    """Raises `UsageError` in the words of the command line if the codec does not fit the budget."""
    codec = options.get("codec")
    use = f"use --codec {' or '.join(LOSSLESS_CODECS)}"
    if codec in KNOWN_BUT_ABSENT:
        raise UsageError(f"the codec {codec} is not built into this release: {use}, or leave it out")
    lossless = options["uniform"] or options.get("rate") is not None
    if lossless and codec in LOSSY_CODECS:
        budget = "--rate" if options.get("rate") is not None else "an overall rate"
        raise UsageError(f"{budget} keeps planes lossless and {codec} does not: {use}")
    if not lossless and codec in LOSSLESS_CODECS:
        raise UsageError(f"{codec} planes are lossless: add --rate S or --lossless, or leave out --codec")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_ending(target: str) -> None:
    """Raises `UsageError` if the name of the output is that of a picture: encode writes containers."""
    ending = os.path.splitext(target)[1].lower()
    if ending in PICTURES and not os.path.isdir(target):
        raise UsageError(
            f"{target}: encode writes containers, not {ending} pictures: name an OUT.bbmr "
            "(reconstruct and preview write pictures)"
        )


def _palette(text: str) -> tuple[int, ...]:
    from bbmr_shared.grid import RATES

    try:
        palette = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        palette = ()
    if not palette or not set(palette) <= set(RATES):
        raise UsageError(f"--rates is a list out of {','.join(map(str, RATES))}, not {text}")
    return palette


def _beside(name: str) -> str:
    if name == STDIO:
        return STDIO
    return os.path.splitext(name)[0] + ".bbmr"
