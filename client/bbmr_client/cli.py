"""The command line, `bbmr-client`: arguments in, an exit status out.

0: done. 1: failed, with one line on standard error that says what is wrong and what to do. 2: wrong usage. 130: Ctrl-C.
143: SIGTERM. A traceback is shown with `--debug` only.
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
from typing import NoReturn

from bbmr_client.files import print_message, print_out
from bbmr_client.text import printable
from bbmr_shared.errors import BbmrError, UsageError
from bbmr_shared.release import release

DONE, FAILED, WRONG_USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

_MOST = 4000
"""Characters of a message: enough for the longest possible path."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words[: words.index("--") if "--" in words else None]
    if debug:
        words.remove("--debug")
    _prepare_process()
    try:
        return _run(words or ["--help"])
    except SystemExit as leaving:  # some releases of typer turn Ctrl-C into one
        return leaving.code if isinstance(leaving.code, int) else FAILED
    except BrokenPipeError:
        return FAILED  # whoever read the output has ended: nobody is left to read a message
    except KeyboardInterrupt:
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
    """Returns (exit status, one line) for any exception."""
    if isinstance(error, BbmrError):
        return WRONG_USAGE if isinstance(error, UsageError) else FAILED, printable(str(error), _MOST)
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


def _run(words: list[str]) -> int:
    if words[0] == "--version":  # without the parser, whose import takes longer than all the rest
        print_out(f"bbmr-client {release()}")
        return DONE
    from bbmr_client.commands.app import run

    status = run(words)
    if sys.stdout is not None:
        sys.stdout.flush()
    return status


def _prepare_process() -> None:
    """Set up standard streams, warnings and signals."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without × must not end a command
    # Pillow's warnings and log records about large and broken photos would add lines to our one.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit", category=RuntimeWarning)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    with contextlib.suppress(ValueError):  # not the main thread, which alone gets signals
        signal.signal(signal.SIGTERM, _end)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell ignores it for background jobs
            signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    # timeout(1) sends a signal twice; the second must not interrupt the clean-up. Not SIG_IGN: Python complains about
    # a signal that was already on its way.
    signal.signal(number, lambda *_: None)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(TERMINATED)  # so that temporary files and servers are removed


def _flush() -> None:
    """Flush the streams. One that fails is replaced by the null device: Python would try and complain at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
