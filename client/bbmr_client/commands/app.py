"""The parser of the command line. The module of a command is imported when that command is used.

`bbmr-client encode --help` takes half the time that it would take with all commands loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.main import get_command

from bbmr_client.commands.help import Group
from bbmr_client.commands.reserved_options import CheckedCommand
from bbmr_shared.errors import UsageError

PROGRAM = "bbmr-client"


@dataclass(frozen=True)
class Entry:
    """Where the function of a command is (a module of `bbmr_client.commands`), and its line in the list of commands."""

    module: str
    function: str
    summary: str


COMMANDS = {
    "encode": Entry("encode", "encode", "Photos in, containers (.bbmr) out."),
    "reconstruct": Entry(
        "reconstruct", "reconstruct", "Containers in, pictures out: by a server, or here with --local."
    ),
    "decode": Entry("reconstruct", "reconstruct", "The same as reconstruct."),
    "preview": Entry("inspect", "preview", "The picture in a container without the network, in any size."),
    "info": Entry("inspect", "info", "What is inside a container."),
    "verify": Entry("inspect", "verify", "Whether containers are undamaged."),
    "ratemap": Entry("inspect", "ratemap", "The rates of the blocks, drawn over the picture."),
    "compare": Entry("compare", "compare", "How much two pictures differ, and where."),
    "demo": Entry("demo", "demo", "Encode, reconstruct and measure one photo."),
}

_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
_PARSER_ERROR: type[Exception] = typer.BadParameter.__bases__[0]
"""The parser's own usage error. Some releases of typer use click's, others have a copy of it."""


def run(words: Sequence[str]) -> int:
    """Run the command line `words` (at least one). Returns its exit status.

    Raises:
        UsageError: the parser refuses the words. Otherwise as the command.
        KeyboardInterrupt: Ctrl-C.
    """
    try:
        if words[0] in COMMANDS:
            command, program, rest = load_command(words[0]), f"{PROGRAM} {words[0]}", list(words[1:])
        else:
            command, program, rest = make_parser(), PROGRAM, list(words)
        status = command.main(rest, prog_name=program, standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except _PARSER_ERROR as error:
        raise UsageError(error.format_message()) from error  # type: ignore[attr-defined]
    return status if isinstance(status, int) else 0


@cache
def load_command(name: str) -> Any:
    """Returns the parser of one command."""
    entry = COMMANDS[name]
    function = getattr(import_module(f"bbmr_client.commands.{entry.module}"), entry.function)
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single.command(name, cls=CheckedCommand, short_help=entry.summary, context_settings=_SETTINGS)(function)
    return get_command(single)


@cache
def make_parser() -> Any:
    """Returns the parser of the whole command line."""
    app = typer.Typer(
        cls=Group, rich_markup_mode=None, pretty_exceptions_enable=False, context_settings=_SETTINGS
    )
    app.callback()(_options)
    group: Any = get_command(app)
    group.commands = _Commands()
    group.summaries = {name: entry.summary for name, entry in COMMANDS.items()}
    return group


class _Commands(Mapping[str, Any]):
    """The parsers of all commands by name, each made when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        return load_command(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure; allowed at any place.")
    ] = False,
) -> None:
    """Store photos as blocks of different rates, and restore them with one super-resolution network."""
