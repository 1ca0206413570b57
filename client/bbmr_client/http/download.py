"""Stores the body of a response in memory, or in a file that is replaced once the body is complete and checked."""

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
from bbmr_shared.arguments import check_type
from bbmr_shared.errors import BbmrError, UsageError
from bbmr_shared.images.output import format_of_name
from bbmr_shared.limits import SPOOLED_BYTES

OutputFile = str | Path | BinaryIO
"""The name of a file, which is replaced in one step, or a file that is open for writing bytes."""

BUFFER_BYTES = 1 << 20


class Sink:
    """Receives the body of a response, from the start again for every retry.

    file: holds the body. total: its length in bytes. buffer_bytes: how much is collected before it is written to `file`
    in another thread; 0 writes at once.
    """

    def __init__(self, file: BinaryIO, buffer_bytes: int = BUFFER_BYTES) -> None:
        self.file, self.total = file, 0
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._buffer_bytes = buffer_bytes

    def restart(self) -> None:
        """Discard what an earlier try wrote."""
        self._buffer, self._buffered, self.total = [], 0, 0
        self.file.seek(0)
        self.file.truncate()

    async def write(self, piece: bytes) -> None:
        self.total += len(piece)
        if not self._buffer_bytes:
            self.file.write(piece)
            return
        self._buffer.append(piece)
        self._buffered += len(piece)
        if self._buffered >= self._buffer_bytes:
            await self.flush()

    async def flush(self) -> None:
        """Write the buffer in another thread, because a slow disk must not delay other requests."""
        data = b"".join(self._buffer)
        self._buffer, self._buffered = [], 0
        if data:
            await to_thread.run_sync(self.file.write, data)


def memory_sink() -> tuple[Sink, io.BytesIO]:
    """Returns a sink and the memory that it writes to."""
    data = io.BytesIO()
    return Sink(data, buffer_bytes=0), data


def format_for_file(target: OutputFile) -> str:
    """Returns the format that the ending of a file's name means; PNG for an open file.

    Raises:
        UsageError: the ending is not that of a format.
    """
    if hasattr(target, "write"):
        return "png"
    check_type("the target", target, str, os.PathLike)
    row = format_of_name(os.fspath(cast(str, target)))
    if row is None:
        raise UsageError(f"{target}: its ending names no picture format: pass the format too")
    return row.name


@asynccontextmanager
async def open_sink(target: OutputFile) -> AsyncIterator[Sink]:
    """A sink whose content is in `target` after the block. If the block fails, `target` stays as it was.

    Raises:
        FileAccessError: `target` cannot be written.
    """
    if not hasattr(target, "write"):
        check_type("the target", target, str, os.PathLike)
    shown = getattr(target, "name", "the file") if hasattr(target, "write") else target
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


def _copy(file: BinaryIO, target: OutputFile) -> None:
    file.seek(0)
    if isinstance(target, str | os.PathLike):
        with open(target, "wb") as opened:
            shutil.copyfileobj(file, opened, BUFFER_BYTES)
        return
    shutil.copyfileobj(file, target, BUFFER_BYTES)
    target.flush()
