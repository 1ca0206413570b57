"""`bbmr-client compare`: two pictures in, figures out, and if wanted a picture of how they differ."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bbmr_client.commands.batch_options import Json
from bbmr_client.commands.common import as_json, check_target, picture_format, report, say, shown
from bbmr_client.files import STDIO, read_file, write_file
from bbmr_client.text import printable
from bbmr_shared.container.signature import SIGNATURE
from bbmr_shared.errors import BbmrError, PictureError, UsageError
from bbmr_shared.images.names import FormatName
from bbmr_shared.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from bbmr_client.photo import Photo

_UNITS = {
    "psnr_rgb": "PSNR-RGB dB",
    "psnr_y": "PSNR-Y dB",
    "ssim": "SSIM",
    "max_difference": "largest difference",
}


class View(StrEnum):
    """What picture of the difference is drawn."""

    SHEET = "sheet"
    MAP = "map"


def compare(
    reference: Annotated[
        str, typer.Argument(metavar="REF", help="The picture to measure against; - is standard input.")
    ],
    test: Annotated[str, typer.Argument(metavar="TEST", help="The picture to measure; - is standard input.")],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIFF",
            help="Draw the difference, too; - is stdout.",
            show_default=False,
        ),
    ] = None,
    view: Annotated[
        View,
        typer.Option(
            help="sheet: both pictures, the difference and its worst places; map: the difference, pixel for pixel."
        ),
    ] = View.SHEET,
    format: Annotated[
        FormatName | None,
        typer.Option(help="Default: what DIFF's ending says, else png.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Measure a picture against another of the same size: PSNR-RGB, PSNR-Y, SSIM. Alpha is not measured.

    A container counts as its preview.
    """
    if reference == STDIO and test == STDIO:
        raise UsageError("only one of the two pictures can come from standard input")
    if output is None and (format is not None or view is not View.SHEET):
        raise UsageError("--view and --format are for a picture of the difference: name it with -o DIFF.png")
    written_as = None
    if output is not None:
        written_as = picture_format(output, format)
        check_target(output, reference, test)

    from bbmr_shared.metrics import compare as measure

    first, second = _load(reference), _load(test)
    names = (shown(reference, "input"), shown(test, "input"))
    _check_sizes(first, second, names)
    notes = _notes(first, second, names)
    figures = measure(first.rgb, second.rgb)
    if output is not None and written_as is not None:
        from bbmr_client.reports.difference import difference_map, difference_sheet
        from bbmr_shared.images.output import encode_picture

        titles = (_title(names[0]), _title(names[1]))
        if view is View.SHEET:
            drawn = difference_sheet(first.rgb, second.rgb, titles, figures)
        else:
            drawn = difference_map(first.rgb, second.rgb)
        write_file(output, encode_picture(drawn, written_as))
    if json:
        report(as_json({**figures, "notes": notes}), output)
        return
    for note in notes:
        say(note)
    report("\n".join(f"{_UNITS.get(key, key):<20}{_figure(value)}" for key, value in figures.items()), output)


def _load(name: str) -> Photo:
    """Returns a picture file, or the preview of a container."""
    from bbmr_client.photo import load_photo

    most = max(DEFAULT_LIMITS.max_photo_bytes, DEFAULT_LIMITS.max_container_bytes)
    data = read_file(name, limit=most, error=PictureError)
    if not data.startswith(SIGNATURE):
        return load_photo(data, name=shown(name, "input"))

    from bbmr_shared.compositing.composite import preview
    from bbmr_shared.container import Container

    try:
        picture = preview(Container.from_bytes(data))
    except BbmrError as error:
        raise type(error)(f"{shown(name, 'input')}: {error}") from error
    return load_photo(picture, name=shown(name, "input"))


def _check_sizes(first: Photo, second: Photo, names: tuple[str, str]) -> None:
    sizes = (first.width, first.height), (second.width, second.height)
    if sizes[0] == sizes[1]:
        return
    why = ""
    if sizes[0] == sizes[1][::-1]:
        why = ": one is turned by 90°; has it lost its EXIF orientation?"
    raise PictureError(
        f"the sizes differ: {names[0]} is {sizes[0][0]}×{sizes[0][1]}, {names[1]} is {sizes[1][0]}×{sizes[1][1]}{why}"
    )


def _notes(first: Photo, second: Photo, names: tuple[str, str]) -> list[str]:
    """Returns lines about differences that the figures do not include: alpha and colour profiles."""
    notes = []
    if first.alpha is not None and second.alpha is not None:
        from bbmr_client.reports.difference import largest

        most = largest(first.alpha, second.alpha)
        differs = f"differs by at most {most}" if most else "is equal"
        notes.append(f"alpha {differs} and is not measured: hidden pixels count as they are stored")
    elif first.alpha is not None or second.alpha is not None:
        only = names[0] if second.alpha is None else names[1]
        notes.append(f"only {only} has alpha, which is not measured: hidden pixels count as they are stored")
    if first.icc != second.icc:
        notes.append(
            "the colour profiles differ: the samples are compared as they are, without converting them"
        )
    return notes


def _title(name: str) -> str:
    """Returns the last part of a name in ASCII, which the font of the sheet has, at most 40 characters."""
    plain = printable(os.path.basename(name)).encode("ascii", "replace").decode()
    return plain if len(plain) <= 40 else "..." + plain[-37:]


def _figure(value: float | None) -> str:
    return "equal" if value is None else f"{value:.6g}"
