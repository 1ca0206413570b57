"""The command line, `bbmr-client`: arguments in, an exit status out.

0: done. 1: it failed, and one line on standard error says what is wrong and what to do. 2: wrong usage. 130: Ctrl-C.
A traceback is shown with `--debug` only.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, NoReturn

import typer

from bbmr_client.commands.compare import compare
from bbmr_client.commands.demo import demo
from bbmr_client.commands.encode import encode
from bbmr_client.commands.help import Command, Group
from bbmr_client.commands.inspect import info, preview, ratemap, verify
from bbmr_client.commands.reconstruct import reconstruct
from bbmr_client.files import print_message, print_out
from bbmr_client.text import printable
from bbmr_shared.errors import BbmrError, UsageError
from bbmr_shared.release import release

DONE, FAILED, WRONG_USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

app = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, command, short_help in (
    ("encode", encode, "Photos in, containers (.bbmr) out."),
    ("reconstruct", reconstruct, "Containers in, pictures out: by a server, or here with --local."),
    ("decode", reconstruct, "The same as reconstruct."),
    ("preview", preview, "The picture in a container without the network, in any size."),
    ("info", info, "What is inside a container."),
    ("verify", verify, "Whether containers are whole."),
    ("ratemap", ratemap, "The rates of the blocks, drawn over the picture."),
    ("compare", compare, "How much two pictures differ, and where."),
    ("demo", demo, "The whole way, on one photo."),
):
    app.command(name, cls=Command, short_help=short_help)(command)

_MOST = 4000
"""Characters of a message: room for a path of the greatest length."""

_ParserError: type[Exception] = typer.BadParameter.__bases__[0]
"""The parser's own usage error, wherever this release of typer keeps it (click's, or its own copy)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given[: given.index("--") if "--" in given else None]
    if debug:
        given.remove("--debug")
    if not given:
        given = ["--help"]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without × is no reason to fail
    _quiet_pillow()
    with contextlib.suppress(ValueError):  # not the main thread: nobody sends it signals
        signal.signal(signal.SIGTERM, _ended)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell starts what runs behind it
            signal.signal(signal.SIGINT, _ended)
    try:
        result = app(given, prog_name="bbmr-client", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return result if isinstance(result, int) else DONE
    except SystemExit as leaving:  # some releases of typer turn Ctrl-C into one
        return leaving.code if isinstance(leaving.code, int) else FAILED
    except BrokenPipeError:
        return FAILED  # the reader has gone: nothing to say
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        status, message = explain(error)
        print_message(f"bbmr-client: {message}")
        return status
    finally:
        _flush()


def explain(error: Exception) -> tuple[int, str]:
    """(exit status, one line) for whatever went wrong."""
    if isinstance(error, _ParserError):
        return WRONG_USAGE, printable(getattr(error, "format_message", error.__str__)(), _MOST)
    if isinstance(error, UsageError):
        return WRONG_USAGE, printable(str(error), _MOST)
    if isinstance(error, BbmrError):
        return FAILED, printable(str(error), _MOST)
    if isinstance(error, MemoryError):
        return FAILED, "not enough memory for a picture of this size"
    if (
        isinstance(error, OSError)
        and error.errno in {errno.EBADF, errno.ENOSPC, errno.EIO}
        and not error.filename
    ):
        return FAILED, f"standard output cannot be written: {(error.strerror or 'it is closed').lower()}"
    text = printable(str(error), _MOST)
    return FAILED, f"unexpected {type(error).__name__}: {text} (please report it; --debug shows where)"


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=lambda wanted: _show_version(wanted), help="Show it."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure; allowed at any place.")
    ] = False,
) -> None:
    """Photos as blocks of different rates, restored by one joint super-resolution network."""


def _flush() -> None:
    """What a stream did not take would be tried, and complained about, once more at the end: let it go nowhere."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    print_out(f"bbmr-client {release()}")
    raise typer.Exit


def _quiet_pillow() -> None:
    """Large and broken photos get one line of our own; what Pillow warns and logs on the way there is noise."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit", category=RuntimeWarning)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _ended(number: int, frame: FrameType | None) -> NoReturn:
    # timeout(1) sends it twice, and the second would break the clearing up. Not SIG_IGN: Python complains of a signal
    # that was on its way by then.
    signal.signal(number, lambda *_: None)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(TERMINATED)  # so that temporary files and servers go, too


if __name__ == "__main__":
    sys.exit(main())
