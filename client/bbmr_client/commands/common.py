"""What the commands share: where messages and JSON go, reading one container, picking an output format.

Messages go to standard error. A report goes to standard output, or to standard error where the data is there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bbmr_client.files import STDIO, check_output, print_message, print_out, read_file
from bbmr_client.text import printable
from bbmr_shared.errors import ContainerError, UsageError

if TYPE_CHECKING:
    from bbmr_shared.container import Container


def say(message: str) -> None:
    """One message for a person, on standard error."""
    print_message(printable(message, 4000))


def report(text: str, data_goes_to: str | None = None) -> None:
    """The result of a command: on standard output, unless that carries the data ("-")."""
    (print_message if data_goes_to == STDIO else print_out)(text)


def as_json(values: Mapping[str, Any]) -> str:
    """One JSON object with indentation; infinities become null, as JSON has none."""
    from bbmr_client.reports.encode_report import finite

    return json.dumps({key: finite(value) for key, value in values.items()}, indent=2, allow_nan=False)


def no_report(report_file: str | None) -> None:
    """Raise `UsageError` where a report is asked for that only a run over many files has."""
    if report_file is not None:
        raise UsageError("--report is for many files: name the folder for the results with -o DIR/")


def read_container(name: str) -> tuple[Container, int]:
    """(the container in file `name`, checked and not decoded; the size of the file in bytes)."""
    from bbmr_shared.container import Container
    from bbmr_shared.limits import DEFAULT_LIMITS

    data = read_file(name, limit=DEFAULT_LIMITS.max_container_bytes, error=ContainerError)
    with named(name):
        return Container.from_bytes(data), len(data)


def check_target(target: str, *inputs: str) -> None:
    """Find out before the work that `target` cannot be written, or would replace one of the inputs.

    Raises:
        UsageError: it would. FileAccessError: as `check_output`.
    """
    check_output(target)
    for name in inputs:
        there = STDIO not in (name, target) and os.path.exists(name) and os.path.exists(target)
        if there and os.path.samefile(name, target):
            raise UsageError(f"the output would replace the input {name}: name another with -o")


def warn_of_alpha(container: Container, format: str) -> None:
    """Say so where a format cannot hold the alpha channel of a picture."""
    from bbmr_shared.images.output import get_format

    if container.alpha is not None and not get_format(format).alpha:
        say(f"warning: {format} has no transparency: the picture is laid on white")


@contextmanager
def named(name: str) -> Iterator[None]:
    """Let what goes wrong with the container of that name say so."""
    try:
        yield
    except ContainerError as error:
        raise type(error)(f"{shown(name, 'input')}: {error}") from error


def shown(name: str, stream: str = "output") -> str:
    """A file as messages call it: its name, or the standard stream that "-" stands for."""
    return f"standard {stream}" if name == STDIO else name


def picture_format(output: str, format: str | None) -> str:
    """The format to write: `format`, or what the extension of `output` says; PNG for standard output.

    Raises:
        UsageError: the extension says nothing.
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
