"""Where an answer goes: into memory, or to its place on disk once it is whole and right.

In: a target, and pieces of a body. Out: a `Sink`. On disk a temporary file beside the target takes the pieces.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, cast

from anyio import to_thread

from bbmr_client.files import FileAccessError, is_special, reason, replacement
from bbmr_shared.errors import BbmrError, UsageError
from bbmr_shared.images.output import format_of_name
from bbmr_shared.limits import SPOOLED_BYTES

Target = str | Path | BinaryIO
"""The name of a file, which is replaced in one step, or a file that was opened for writing bytes."""

GATHERED_BYTES = 1 << 20


class Sink:
    """Takes the body of an answer, once for every try. `file` holds it afterwards; `total` is its length."""

    def __init__(self, file: BinaryIO, *, in_memory: bool = False) -> None:
        self.file, self.total = file, 0
        self._gathered: list[bytes] = []
        self._waiting = 0
        self._most_waiting = 0 if in_memory else GATHERED_BYTES

    def restart(self) -> None:
        """Forget what a try before this one brought."""
        self._gathered, self._waiting, self.total = [], 0, 0
        self.file.seek(0)
        self.file.truncate()

    async def write(self, piece: bytes) -> None:
        self.total += len(piece)
        if not self._most_waiting:
            self.file.write(piece)
            return
        self._gathered.append(piece)
        self._waiting += len(piece)
        if self._waiting >= self._most_waiting:
            await self.flush()

    async def flush(self) -> None:
        """Hand on what has gathered, in another thread: a disk may be slow, and other requests are on their way."""
        data = b"".join(self._gathered)
        self._gathered, self._waiting = [], 0
        if data:
            await to_thread.run_sync(self.file.write, data)


def memory() -> tuple[Sink, io.BytesIO]:
    """(a sink, the memory that it fills)."""
    data = io.BytesIO()
    return Sink(data, in_memory=True), data


def format_of(target: Target) -> str:
    """The format that the ending of a file's name says; PNG for a file that is open already.

    Raises:
        UsageError: it says none.
    """
    if hasattr(target, "write"):
        return "png"
    row = format_of_name(os.fspath(cast(str, target)))
    if row is None:
        raise UsageError(f"{target}: its ending names no picture format: say which is meant")
    return row.name


@asynccontextmanager
async def landing(target: Target) -> AsyncIterator[Sink]:
    """A sink whose content is at `target` after the block; after an error there, `target` stays as it was.

    Raises:
        FileAccessError: it cannot be written.
    """
    shown = getattr(target, "name", "the given file") if hasattr(target, "write") else target
    try:
        if not hasattr(target, "write") and not is_special(Path(cast(str, target))):
            with replacement(Path(os.path.realpath(cast(str, target)))) as file:
                yield Sink(file)
            return
        with tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as spooled:
            file = cast(BinaryIO, spooled)
            yield Sink(file)
            await to_thread.run_sync(_copy, file, target, abandon_on_cancel=True)
    except (BbmrError, BrokenPipeError):
        raise
    except (OSError, ValueError) as error:
        raise FileAccessError(f"{shown} cannot be written: {reason(error)}") from error


def _copy(file: BinaryIO, target: Target) -> None:
    file.seek(0)
    if isinstance(target, str | os.PathLike):
        with open(target, "wb") as opened:
            shutil.copyfileobj(file, opened, GATHERED_BYTES)
        return
    shutil.copyfileobj(file, target, GATHERED_BYTES)
    target.flush()
