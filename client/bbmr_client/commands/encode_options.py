"""The options of `encode` that say what the file may cost and how its planes are coded, and how they go together.

An option of the command line wins over the settings file, and that over `DEFAULTS`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from bbmr_client.config import Config
from bbmr_client.encoding.budget import BUDGETS, DEFAULT_QUALITY, given_budgets
from bbmr_shared.errors import UsageError
from bbmr_shared.images.names import (
    DEFAULT_CODEC,
    DEFAULT_LOSSY_CODEC,
    KNOWN_BUT_ABSENT,
    LOSSLESS_CODECS,
    LOSSY_CODECS,
    CodecName,
)

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


Quality = Annotated[
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
]
BitsPerPixel = Annotated[
    float | None,
    typer.Option("--bpp", metavar="X", help="The best picture of at most X bits per pixel."),
]
MaxBytes = Annotated[
    str | None,
    typer.Option("--max-bytes", metavar="N", help="The best picture of at most N bytes, such as 200k."),
]
TargetPsnr = Annotated[
    float | None,
    typer.Option("--target-psnr", metavar="DB", help="Few bytes with at least this PSNR over RGB; 10-60."),
]
Rate = Annotated[
    float | None,
    typer.Option("--rate", metavar="S", help="Lossless planes with at most 1/S² of the pixels; S is 1-16."),
]
Lossless = Annotated[
    bool, typer.Option("--lossless", help="Keep every pixel: rate 1 for all blocks, lossless alpha.")
]
Rates = Annotated[
    str | None,
    typer.Option(
        "--rates",
        metavar="1,2,4,8,16",
        help="The palette of rates that blocks may have.",
        show_default=str(DEFAULTS["rates"]),
    ),
]
Uniform = Annotated[bool, typer.Option("--uniform", help="With --rate: every block at that rate.")]
Codec = Annotated[
    CodecName | None,
    typer.Option(
        "--codec",
        metavar=f"<{'|'.join(LOSSY_CODECS + LOSSLESS_CODECS)}>",
        help=f"How planes are coded; {' and '.join(LOSSLESS_CODECS)} are lossless.",
        show_default=f"{DEFAULT_LOSSY_CODEC}, or {DEFAULT_CODEC} with --rate and --lossless",
    ),
]
Effort = Annotated[
    int | None,
    typer.Option(
        "--effort", min=0, max=9, metavar="0..9", help="0 is fastest, 9 smallest.", show_default="4"
    ),
]
KeptMetadata = Annotated[
    Metadata | None,
    typer.Option(
        "--metadata",
        help="What is kept: all, only the colour profile, or none (colours become sRGB).",
        show_default="all",
    ),
]
NoNetwork = Annotated[
    bool, typer.Option("--no-network", help="A file that is shown as it is, without the network.")
]
AlphaQuality = Annotated[
    int | None,
    typer.Option(
        "--alpha-quality",
        min=0,
        max=100,
        metavar="0..100",
        help="Lossy alpha of this quality; default: lossless.",
    ),
]
KeepSmaller = Annotated[
    bool | None,
    typer.Option(
        "--keep-smaller/--no-keep-smaller",
        help="Store the photo's own file if that is smaller.",
        show_default=False,
    ),
]


def merge(chosen: dict[str, Any], config: Config, uniform: bool, lossless: bool) -> dict[str, Any]:
    """Returns keyword arguments of `bbmr_client.encode`.

    Args:
        chosen: options of the command line, in the types of the settings file; None: not given.
        config: the settings.
        uniform, lossless: the options of these names.

    Raises:
        UsageError: options exclude each other, or the codec does not fit the budget.
    """
    _check_together(chosen, lossless)
    defaults = config.encode
    if lossless:
        defaults = defaults.lossless()
    elif given_budgets(chosen):
        defaults = defaults.without_budget()
    options: dict[str, Any] = {**DEFAULTS, "rates": palette(str(DEFAULTS["rates"])), "alpha_quality": None}
    for values in (defaults.values(), chosen):
        options |= {name: value for name, value in values.items() if value is not None}
    given = given_budgets(options)
    if len(given) > 1:
        first, second, *_ = given
        raise UsageError(f"{config.path}: encode.{first} and encode.{second} exclude each other")
    has_rate = options.get("rate") is not None
    if uniform and not lossless and not has_rate:
        raise UsageError("--uniform needs --rate S: only lossless planes have an overall rate")
    _check_codec(chosen, has_rate, lossless)
    if options.get("codec") not in (LOSSLESS_CODECS if has_rate else LOSSY_CODECS):
        options.pop("codec", None)  # the settings file's, for the other kind of planes
    options["uniform"] = uniform or lossless
    return options


def palette(text: str) -> tuple[int, ...]:
    """Returns the rates in a list with commas, ascending. Raises `UsageError` if one is no rate."""
    from bbmr_shared.grid import RATES

    try:
        rates = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        rates = ()
    if not rates or not set(rates) <= set(RATES):
        raise UsageError(f"--rates is a list out of {','.join(map(str, RATES))}, not {text}")
    return rates


def _check_together(chosen: dict[str, Any], lossless: bool) -> None:
    budgets = given_budgets(chosen)
    if len(budgets) > 1:
        raise UsageError(f"{_flag(budgets[0])} and {_flag(budgets[1])} exclude each other: leave out one")
    for name in (*BUDGETS, "rates", "alpha_quality") if lossless else ():
        if chosen[name] is not None:
            raise UsageError(f"--lossless and {_flag(name)} exclude each other")


def _check_codec(chosen: dict[str, Any], has_rate: bool, lossless: bool) -> None:
    """Raises `UsageError` if the codec that was named is not built in or does not fit the budget."""
    codec = chosen["codec"]
    use = f"use --codec {' or '.join(LOSSLESS_CODECS if has_rate else LOSSY_CODECS)}"
    if codec in KNOWN_BUT_ABSENT:
        raise UsageError(f"the codec {codec} is not built into this release: {use}")
    if has_rate and codec in LOSSY_CODECS:
        budget = "--lossless" if lossless else "--rate" if chosen["rate"] else "the rate of the settings file"
        raise UsageError(f"{budget} keeps planes lossless and {codec} does not: {use}")
    if not has_rate and codec in LOSSLESS_CODECS:
        raise UsageError(f"{codec} planes are lossless: add --rate S or --lossless, or {use}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
