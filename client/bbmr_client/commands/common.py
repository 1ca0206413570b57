"""What several commands share: messages, JSON, reading one container, the format of a picture.

Messages go to standard error. A report goes to standard output, or to standard error if the data goes there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bbmr_client.files import STDIO, check_output, print_message, print_out, read_file
from bbmr_client.text import printable
from bbmr_shared.errors import ContainerError, PictureError, UsageError

if TYPE_CHECKING:
    from bbmr_client.photo import Photo
    from bbmr_client.reports.encode_report import InfoReport
    from bbmr_shared.container import Container


def say(message: str) -> None:
    """Print one message on standard error."""
    print_message(printable(message, 4000))


def report(text: str, data_goes_to: str | None = None) -> None:
    """Print the result of a command on standard output, or on standard error if `data_goes_to` is "-"."""
    (print_message if data_goes_to == STDIO else print_out)(text)


def as_json(values: Mapping[str, Any]) -> str:
    """Returns one JSON object. Infinities become null, because JSON has none."""
    from bbmr_client.reports.encode_report import finite

    return json.dumps({key: finite(value) for key, value in values.items()}, indent=2, allow_nan=False)


def read_container(name: str) -> tuple[Container, int]:
    """Returns (the container in file `name`, size of the file in bytes). Planes are checked, not decoded.

    Raises:
        ContainerError: the file is no readable container; the message names it.
    """
    from bbmr_shared.container import Container
    from bbmr_shared.limits import DEFAULT_LIMITS

    data = read_file(name, limit=DEFAULT_LIMITS.max_container_bytes, error=ContainerError)
    with naming(name):
        return Container.from_bytes(data), len(data)


def check_target(target: str, *inputs: str) -> None:
    """Check before the work that `target` can be written.

    Raises:
        UsageError: it would replace one of the inputs.
        FileAccessError: as `check_output`.
    """
    check_output(target)
    for name in inputs:
        there = STDIO not in (name, target) and os.path.exists(name) and os.path.exists(target)
        if there and os.path.samefile(name, target):
            raise UsageError(f"the output would replace the input {name}: name another with -o")


def warn_of_lost_alpha(container: Container, format: str) -> None:
    """Print a warning if the format cannot hold the picture's alpha channel."""
    from bbmr_shared.images.output import get_format

    if container.alpha is not None and not get_format(format).alpha:
        say(f"warning: {format} has no transparency: the picture is laid on white")


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the name of a container in front of the message of its `ContainerError`."""
    try:
        yield
    except ContainerError as error:
        raise type(error)(f"{shown(name, 'input')}: {error}") from error


def shown(name: str, stream: str = "output") -> str:
    """Returns a file as messages call it: its name, or the standard stream for "-"."""
    return f"standard {stream}" if name == STDIO else name


def picture_format(output: str, format: str | None) -> str:
    """Returns the format to write: `format`, else that of the ending of `output`; PNG for standard output.

    Raises:
        UsageError: the ending is not that of a format.
    """
    if format is not None:
        return format
    if output == STDIO:
        return "png"
    from bbmr_shared.images.output import format_of_name

    row = format_of_name(output)
    if row is None:
        raise UsageError(f"{output}: its ending names no picture format: add --format png")
    return row.name


def plane_lines(info: InfoReport) -> list[str]:
    """Returns a line for each plane of a container."""
    counts = [str(info.rates[str(plane.rate)]) for plane in info.planes]
    sizes = [str(plane.bytes) for plane in info.planes]
    wide, long = max(map(len, counts)), max(map(len, sizes))
    lines = []
    for plane, count, size in zip(info.planes, counts, sizes, strict=True):
        error = info.coding_errors[str(plane.rate)]
        exact = "lossless" if error == 0 else f"coding error {error}"
        if plane.quality is not None:
            exact = f"quality {plane.quality}, {exact}"
        if info.original:
            exact = "the source file itself"
        lines.append(
            f"plane 1/{plane.rate:<5} {count:>{wide}} blocks, {printable(plane.codec)}, {size:>{long}} bytes, {exact}"
        )
    return lines


def read_photo(name: str) -> Photo:
    """Returns the photo in file `name` ("-": standard input). Raises as `load_photo` does."""
    from bbmr_client.photo import load_photo
    from bbmr_shared.limits import DEFAULT_LIMITS

    if name != STDIO:
        return load_photo(name)
    data = read_file(STDIO, limit=DEFAULT_LIMITS.max_photo_bytes, error=PictureError)
    return load_photo(data, name="standard input")
