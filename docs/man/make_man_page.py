"""Writes the man page of `bbmr-client` from its parser: `python docs/man/make_man_page.py`, or `make man`.

A test compares docs/man/bbmr-client.1 with what this script would write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bbmr_client.commands.app import PROGRAM, make_parser
from bbmr_client.commands.examples import EXAMPLES, as_text
from bbmr_client.commands.help import ALIASES, records

PAGE = Path(__file__).with_name("bbmr-client.1")

EXIT_STATUS = (
    ("0", "done"),
    ("1", "failed, with one line on standard error; of many files, at least one failed"),
    ("2", "wrong usage; nothing was done"),
    ("130, 143", "ended by Ctrl-C, by SIGTERM"),
)
ENVIRONMENT = (
    ("BBMR_SERVER", "the server, or several, separated by spaces"),
    ("BBMR_API_KEY", "the key for it"),
    ("BBMR_CONFIG", "the settings file; empty: none is read"),
    ("BBMR_DEVICE", "what the network of demo runs on"),
)
FILES = (
    ("~/.config/bbmr/config.toml", "settings: defaults of options"),
    ("DIR/.bbmr-done.sqlite", "what is done in an output folder"),
)


def man_page() -> str:
    """Returns the page in roff."""
    parser = make_parser()
    context = parser.make_context(PROGRAM, [], resilient_parsing=True)
    lines = ['.TH BBMR-CLIENT 1 "" "bbmr" "User Commands"', ".SH NAME"]
    lines += [f"{_text(PROGRAM)} \\- photos to small containers of blocks, and back", ".SH SYNOPSIS"]
    lines += [f".B {_text(PROGRAM)}", "[OPTIONS] COMMAND [ARGS]...", ".SH DESCRIPTION", _text(parser.help)]
    lines += [".SH OPTIONS", *_definitions(records(parser, context, "option")), ".SH COMMANDS"]
    for name, command in parser.commands.items():
        lines += _command(name, command, context)
    for title, rows in (("EXIT STATUS", EXIT_STATUS), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)):
        lines += [f".SH {title}", *_definitions(rows)]
    lines += [".SH EXAMPLES", *_examples(PROGRAM)]
    return "\n".join(lines) + "\n"


def _command(name: str, command: Any, parent: Any) -> list[str]:
    context = command.make_context(name, [], parent, resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f".SS {_text(name)} {_text(usage)}"]
    if name in ALIASES:
        return [*lines, _text(f"The same as {ALIASES[name]}.")]
    arguments, options = (records(command, context, kind) for kind in ("argument", "option"))
    lines += [_text(" ".join(command.help.split())), *_definitions([*arguments, *options])]
    return [*lines, ".PP", "Examples:", *_examples(name)]


def _definitions(rows: Any) -> list[str]:
    return [line for term, text in rows for line in (".TP", f".B {_text(term)}", _text(text))]


def _examples(name: str) -> list[str]:
    return [".PP", ".nf", *map(_text, as_text(EXAMPLES[name]).splitlines()), ".fi"]


def _text(text: str) -> str:
    """Returns `text` so that roff prints it as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    PAGE.write_text(man_page(), encoding="utf-8")
