"""Reading and writing files for every command. `-` is standard input or output.

A file is written beside its target and renamed, so it is there whole or not at all. Every failure is a `BbmrError`
with a message of one line.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bbmr_shared.errors import BbmrError, LimitExceededError, UsageError

STDIO = "-"


class FileAccessError(BbmrError):
    """A file cannot be read or written."""

    slug = "file"


def read_file(name: str | Path, *, limit: int, error: type[BbmrError] = FileAccessError) -> bytes:
    """Returns the content of file `name` ("-": standard input), at most `limit` bytes.

    Raises:
        error: the file does not exist, is a folder, cannot be read, or is empty.
        LimitExceededError: the file is larger. At most `limit` + 1 bytes were read.
    """
    shown = "standard input" if name == STDIO else str(name)
    _check_name(name)
    try:
        if name == STDIO:
            if sys.stdin is None:
                raise error("standard input is closed")
            data = _read(sys.stdin.buffer, limit, shown)
        else:
            with open(name, "rb") as file:
                data = _read(file, limit, shown)
    except FileNotFoundError:
        raise error(f"{shown} does not exist") from None
    except IsADirectoryError:
        raise error(f"{shown} is a folder: name one file") from None
    except PermissionError:
        raise error(f"{shown} may not be read: permission denied") from None
    except (OSError, ValueError) as problem:  # ValueError: a name with a zero byte
        raise error(f"{shown} cannot be read: {reason(problem)}") from problem
    if not data:
        raise error(f"{shown} is empty: 0 bytes")
    return data


def check_output(name: str) -> None:
    """Check before the work that `name` can be written.

    Raises:
        UsageError: binary data would go to a terminal.
        FileAccessError: its folder does not exist, it is a folder, its name is too long, or access is denied.
    """
    _check_name(name)
    if name == STDIO:
        if sys.stdout is None:
            raise FileAccessError("standard output is closed")
        if sys.stdout.isatty():
            raise UsageError("binary data is not written to a terminal: redirect it, or name a file with -o")
        return
    path = Path(name)
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as problem:  # ValueError: a name with a zero byte
        raise FileAccessError(f"{name} cannot be written: {reason(problem)}") from problem
    if path.is_dir():
        raise FileAccessError(f"{name} is a folder: name a file in it")
    if not path.absolute().parent.is_dir():
        raise FileAccessError(f"{name} cannot be written: the folder {path.parent} does not exist")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise FileAccessError(f"{name} cannot be written: permission denied")


def write_file(name: str | Path, data: bytes) -> None:
    """Write `data` to file `name` ("-": standard output).

    A regular file is replaced in one step. On any failure, Ctrl-C included, it stays as it was, and no temporary file
    is left. Pipes and devices are written directly.

    Raises:
        FileAccessError: it cannot be written. BrokenPipeError: whoever read the pipe has ended.
    """
    try:
        if name == STDIO:
            check_output(STDIO)
            _write_all(sys.stdout.buffer, data)
        elif is_special(Path(name)):
            with open(name, "wb") as file:
                _write_all(file, data)
        else:
            _replace(Path(os.path.realpath(name)), data)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as problem:
        shown = "standard output" if name == STDIO else name
        raise FileAccessError(f"{shown} cannot be written: {reason(problem)}") from problem


@contextlib.contextmanager
def replacement(path: Path) -> Iterator[BinaryIO]:
    """Yields a new file, open for writing and reading, which replaces `path` if the block ends without an exception.

    Otherwise it is removed and `path` stays as it was.
    """
    temporary = path.with_name(f".bbmr-{secrets.token_hex(8)}.part")
    try:
        with new_file(temporary) as file:
            yield file
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def new_file(path: str | Path) -> BinaryIO:
    """Returns a new file, open for writing and reading. Raises FileExistsError if `path` exists.

    Not made with tempfile, because only their owner may read tempfile's files; here the umask decides.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return open(os.open(path, flags, 0o666), "w+b")


def print_out(text: str) -> None:
    """Print `text` on standard output.

    Raises:
        FileAccessError: it is closed or full. BrokenPipeError: whoever read it has ended.
    """
    if sys.stdout is None:
        raise FileAccessError("standard output is closed")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as problem:
        raise FileAccessError(f"standard output cannot be written: {reason(problem)}") from problem


def print_message(text: str) -> None:
    """Print `text` on standard error. Does nothing if that is closed or full."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)


def is_special(path: Path) -> bool:
    """Returns whether `path` exists and is no regular file: a pipe, a device, a folder."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def reason(problem: BaseException) -> str:
    """Returns the message of a foreign exception in one line, to end a message with."""
    text = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return " ".join(text.split()).lower() if isinstance(problem, OSError) else " ".join(text.split())


def _check_name(name: str | Path) -> None:
    if name == "":
        raise UsageError("a file name is empty")


def _read(file: BinaryIO, limit: int, shown: str) -> bytes:
    data = file.read(limit + 1)
    if len(data) > limit:
        raise LimitExceededError(f"{shown} has more than the {limit} bytes that are accepted")
    return data


def _write_all(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()


def _replace(path: Path, data: bytes) -> None:
    with replacement(path) as file:
        _write_all(file, data)
