"""`bbmr-client encode`: a photo in, a container out."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bbmr_client.batch.inputs import PICTURES, expand, is_batch
from bbmr_client.commands import encode_options as options_of
from bbmr_client.commands.batch_options import Jobs, Json, Overwrite, Quiet, ReportFile, RunOptions, Verbose
from bbmr_client.commands.common import check_target, plane_lines, read_photo, report, say, shown
from bbmr_client.commands.encoding_progress import encoding_shown
from bbmr_client.config import load_config
from bbmr_client.encoding.budget import parse_bytes
from bbmr_client.files import STDIO, write_file
from bbmr_shared.errors import UsageError

if TYPE_CHECKING:
    from bbmr_client.reports.encode_report import EncodeReport


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
    quality: options_of.Quality = None,
    bpp: options_of.BitsPerPixel = None,
    max_bytes: options_of.MaxBytes = None,
    target_psnr: options_of.TargetPsnr = None,
    rate: options_of.Rate = None,
    lossless: options_of.Lossless = False,
    rates: options_of.Rates = None,
    uniform: options_of.Uniform = False,
    codec: options_of.Codec = None,
    effort: options_of.Effort = None,
    metadata: options_of.KeptMetadata = None,
    no_network: options_of.NoNetwork = False,
    alpha_quality: options_of.AlphaQuality = None,
    keep_smaller: options_of.KeepSmaller = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    report_file: ReportFile = None,
    json: Json = False,
) -> None:
    """Pack photos into containers: small at a quality, within a budget, or of blocks of different rates."""
    run = RunOptions(jobs, overwrite, quiet, verbose, report_file, json)
    names = expand(photo)
    many = is_batch(names, output)
    chosen = {
        "quality": quality,
        "bpp": bpp,
        "max_bytes": None if max_bytes is None else parse_bytes(max_bytes),
        "target_psnr": target_psnr,
        "rate": rate,
        "rates": None if rates is None else options_of.palette(rates),
        "codec": None if codec is None else codec.value,
        "effort": effort,
        "metadata": None if metadata is None else metadata.value,
        "alpha_quality": alpha_quality,
        "keep_smaller": keep_smaller,
    }
    options = options_of.merge(chosen, load_config(), uniform, lossless)
    options["network"] = not no_network
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


def _one(name: str, target: str, options: dict[str, Any], run: RunOptions) -> None:
    from bbmr_client.batch.encoding import encode_with, encoding_warnings
    from bbmr_client.reports.encode_report import encode_report, info_report

    picture = read_photo(name)
    started = time.perf_counter()
    with encoding_shown(shown(name, "input"), run.quiet) as step:
        encoded = encode_with(picture, options, step)
        data = encoded.container.to_bytes()
    seconds = time.perf_counter() - started
    warnings = encoding_warnings(picture, encoded, len(data), options)
    result = encode_report(
        encoded.container, len(data), seconds, encoded.quality, encoded.psnr, encoded.psnr_of, warnings
    )
    write_file(target, data)
    if run.json:
        report(result.model_dump_json(indent=2), target)
    elif not run.quiet:
        for warning in warnings:
            say(f"{shown(name, 'input')}: warning: {warning}")
        say(_line(shown(target), result))
        for line in plane_lines(info_report(encoded.container, len(data))) if run.verbose else ():
            say(line)


def _line(name: str, result: EncodeReport) -> str:
    parts = [f"{result.width}×{result.height}", f"{result.bytes} bytes", f"{result.bpp:.3f} bpp"]
    if result.quality is not None:
        parts.append(f"quality {result.quality}")
    if result.psnr is not None:
        parts.append(f"PSNR {result.psnr:.2f} dB ({result.psnr_of})")
    if result.original:
        parts.append("the photo's file as it is")
    else:
        blocks = ", ".join(f"{count} at {rate}" for rate, count in result.rates.items() if count)
        parts.append(f"overall rate {result.overall_rate:.3f} (blocks: {blocks})")
    return f"{name}: {', '.join(parts)}, {result.seconds:.2f} s"


def _many(names: list[str], output: str, options: dict[str, Any], run: RunOptions) -> None:
    from bbmr_client.batch.run import run as run_batch
    from bbmr_client.commands.batch_options import encoder_pool

    run_batch(run.batch(names, output, PICTURES, ".bbmr", "photo"), encoder_pool(options, run.jobs))


def _check_ending(target: str) -> None:
    """Raises `UsageError` if the name of the output is that of a picture: encode writes containers."""
    ending = os.path.splitext(target)[1].lower()
    if ending in PICTURES and not os.path.isdir(target):
        raise UsageError(
            f"{target}: encode writes containers, not {ending} pictures: name an OUT.bbmr "
            "(reconstruct and preview write pictures)"
        )


def _beside(name: str) -> str:
    if name == STDIO:
        return STDIO
    return os.path.splitext(name)[0] + ".bbmr"
