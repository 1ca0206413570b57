"""`bbmr-client encode`: a photo in, a container out."""

from __future__ import annotations

import os
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bbmr_client.batch.inputs import PICTURES, expand, is_batch
from bbmr_client.commands.batch_options import Jobs, Overwrite, Quiet, ReportFile
from bbmr_client.commands.common import check_target, no_report, report, say, shown
from bbmr_client.files import STDIO, write_file
from bbmr_shared.errors import UsageError

if TYPE_CHECKING:
    from bbmr_client.reports.encode_report import EncodeReport

DEFAULT_EFFORT = 4


class Codec(StrEnum):
    """How planes are coded."""

    WEBP = "webp"
    PNG = "png"
    AVIF = "avif"
    JXL = "jxl"


class Metadata(StrEnum):
    """What of a photo's metadata is kept."""

    ALL = "all"
    ICC = "icc"
    NONE = "none"


class Downscaler(StrEnum):
    """What makes the planes."""

    BICUBIC = "bicubic"
    LEARNED = "learned"


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
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Overall downscale rate 1-16: at most 1/S² of the pixels.", show_default="4"
        ),
    ] = None,
    quality: Annotated[
        float | None, typer.Option(metavar="0..100", help="Budget: quality. Not in this release.")
    ] = None,
    bpp: Annotated[
        float | None, typer.Option(metavar="X", help="Budget: bits per pixel. Not in this release.")
    ] = None,
    max_bytes: Annotated[
        str | None, typer.Option(metavar="200k", help="Budget: file size. Not in this release.")
    ] = None,
    target_psnr: Annotated[
        float | None, typer.Option(metavar="DB", help="Budget: PSNR. Not in this release.")
    ] = None,
    rates: Annotated[
        str, typer.Option(metavar="1,2,4,8,16", help="The palette of rates that blocks may have.")
    ] = "1,2,4,8,16",
    uniform: Annotated[bool, typer.Option("--uniform", help="Every block at the overall rate.")] = False,
    codec: Annotated[
        Codec, typer.Option(help="How planes are coded; --rate keeps them lossless.")
    ] = Codec.WEBP,
    downscaler: Annotated[
        Downscaler, typer.Option(help="What makes the planes; learned: not in this release.")
    ] = Downscaler.BICUBIC,
    effort: Annotated[
        int, typer.Option(min=0, max=9, metavar="0..9", help="Codec effort, 0 fastest, 9 smallest.")
    ] = DEFAULT_EFFORT,
    metadata: Annotated[
        Metadata,
        typer.Option(help="What is kept: all, only the colour profile, or none (colours become sRGB)."),
    ] = Metadata.ALL,
    alpha_quality: Annotated[
        int | None,
        typer.Option(
            min=0, max=100, metavar="0..100", help="Lossy alpha of this quality; default: lossless."
        ),
    ] = None,
    keep_smaller: Annotated[
        bool, typer.Option("--keep-smaller", help="A photo file that is smaller goes in as it is.")
    ] = False,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    report_file: ReportFile = None,
    json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Cut photos into blocks of different rates and pack each into a container."""
    names = expand(photo)
    many = is_batch(names, output)
    _check_budget(
        {"--quality": quality, "--bpp": bpp, "--max-bytes": max_bytes, "--target-psnr": target_psnr}, rate
    )
    _check_codec(codec, rate)
    if downscaler is not Downscaler.BICUBIC:
        raise UsageError("the learned downscaler is not available yet: use --downscaler bicubic")
    # The keyword arguments of `bbmr_client.encode`, here the only place that knows which options they are.
    options: dict[str, Any] = {
        "rates": _palette(rates),
        "uniform": uniform,
        "codec": codec.value,
        "effort": effort,
        "metadata": metadata.value,
        "alpha_quality": alpha_quality,
        "keep_smaller": keep_smaller,
    }
    if rate is not None:
        options["rate"] = rate
    if many:
        assert output is not None
        _many(names, output, options, jobs, overwrite, quiet, report_file, json)
        return
    no_report(report_file)
    target = output if output is not None else _beside(names[0])
    check_target(target, names[0])
    _one(names[0], target, options, quiet, json)


def _one(name: str, target: str, options: dict[str, Any], quiet: bool, json: bool) -> None:
    from bbmr_client.batch.encoding import encoding_warnings
    from bbmr_client.encoding.encoder import encode as encode_photo
    from bbmr_client.photo import load_photo
    from bbmr_client.reports.encode_report import encode_report

    picture = load_photo(name)
    started = time.perf_counter()
    container = encode_photo(picture, **options)
    data = container.to_bytes()
    seconds = time.perf_counter() - started
    warnings = encoding_warnings(picture, container, len(data), options)
    result = encode_report(container, len(data), seconds, warnings=warnings)
    write_file(target, data)
    if json:
        report(result.model_dump_json(indent=2), target)
    elif not quiet:
        for warning in warnings:
            say(f"{shown(name, 'input')}: warning: {warning}")
        say(_line(shown(target), result))


def _line(name: str, result: EncodeReport) -> str:
    blocks = ", ".join(f"{count} at {rate}" for rate, count in result.rates.items() if count)
    what = f"overall rate {result.overall_rate:.3f} (blocks: {blocks})"
    if result.original:
        what = "the photo's file as it is"
    return (
        f"{name}: {result.width}×{result.height}, {result.bytes} bytes, {result.bpp:.3f} bpp, "
        f"{what}, {result.seconds:.2f} s"
    )


def _many(
    names: list[str],
    output: str,
    options: dict[str, Any],
    jobs: int | None,
    overwrite: bool,
    quiet: bool,
    report_file: str | None,
    json: bool,
) -> None:
    from bbmr_client.batch.run import Batch, run
    from bbmr_client.commands.batch_options import encoder_pool

    batch = Batch(names, output, PICTURES, ".bbmr", "photo", overwrite, quiet, report_file, json)
    run(batch, encoder_pool(options, jobs))


def _check_budget(others: dict[str, float | str | None], rate: float | None) -> None:
    given = [name for name, value in others.items() if value is not None]
    if len(given) + (rate is not None) > 1:
        names = " and ".join([*(["--rate"] if rate is not None else []), *given])
        raise UsageError(f"one budget at a time: {names} were given")
    if given:
        raise UsageError(
            f"{given[0]} comes with the rate–distortion encoder, which is not here yet: use --rate S"
        )


def _check_codec(codec: Codec, rate: float | None) -> None:
    from bbmr_client.encoding.encoder import LOSSLESS_CODECS
    from bbmr_shared.images.codecs import KNOWN_BUT_ABSENT

    use = f"use --codec {' or '.join(LOSSLESS_CODECS)}"
    if codec in KNOWN_BUT_ABSENT:
        raise UsageError(f"the codec {codec} is not built into this release: {use}")
    if codec not in LOSSLESS_CODECS:
        budget = "an overall rate" if rate is None else "--rate"
        raise UsageError(f"{budget} keeps planes lossless and {codec} does not: {use}")


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
