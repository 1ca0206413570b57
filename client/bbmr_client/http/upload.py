"""The body of a request: a container from memory or from disk. Every retry sends it again from the start, in pieces.

A file is never held in memory as a whole. An input that cannot be rewound, such as a pipe, is first copied to a
temporary file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from anyio import to_thread

from bbmr_client.files import FileAccessError, reason
from bbmr_shared.container import Container
from bbmr_shared.container.frame import read_header
from bbmr_shared.errors import BbmrError, UsageError
from bbmr_shared.limits import SPOOLED_BYTES, Limits

BytesLike = bytes | bytearray | memoryview
"""The bytes of a container file."""

ContainerSource = Container | BytesLike | str | Path | BinaryIO
"""A container, its bytes, the name of its file, or an open binary file, which is read from its current position."""

PIECE_BYTES = 256 << 10


@dataclass(frozen=True)
class RequestBody:
    """A container that is ready to be sent.

    total: its length in bytes.
    size: width and height of the picture by the container's header; None if that cannot be read. Then the server says
        what is wrong with it.
    name: what messages call it.
    data, file, start: the bytes, or the file and the position in it where they start.
    """

    total: int
    size: tuple[int, int] | None
    name: str
    data: memoryview | None = None
    file: BinaryIO | None = None
    start: int = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yields all of it, from the start.

        Raises:
            FileAccessError: the file cannot be read any more, or has become shorter.
        """
        if self.data is not None:
            for at in range(0, self.total, PIECE_BYTES):
                yield bytes(self.data[at : at + PIECE_BYTES])
            return
        assert self.file is not None
        left = self.total
        try:
            self.file.seek(self.start)
            while left:
                # The file may be on a disk that hangs. At the deadline this thread is then left behind.
                piece = await to_thread.run_sync(
                    self.file.read, min(PIECE_BYTES, left), abandon_on_cancel=True
                )
                if not piece:
                    raise FileAccessError(f"{self.name} became shorter while it was sent")
                left -= len(piece)
                yield piece
        except (OSError, ValueError) as error:  # ValueError: the file is closed
            raise FileAccessError(f"{self.name} cannot be read: {reason(error)}") from error


@asynccontextmanager
async def open_body(source: ContainerSource, limits: Limits) -> AsyncIterator[RequestBody]:
    """The request body for `source`. A file that is opened here is closed after the block.

    Raises:
        FileAccessError: the file cannot be read.
        LimitExceededError: it is larger than a container may be.
        UsageError: `source` has another type.
    """
    with ExitStack() as opened:
        yield await to_thread.run_sync(_open, source, limits, opened, abandon_on_cancel=True)


def _open(source: ContainerSource, limits: Limits, opened: ExitStack) -> RequestBody:
    if isinstance(source, Container):
        return _from_memory(source.to_bytes(), limits, (source.width, source.height))
    if isinstance(source, BytesLike):
        return _from_memory(source, limits)
    try:
        if isinstance(source, str | os.PathLike):
            return _from_file(opened.enter_context(open(source, "rb")), str(source), limits, opened)
        if not hasattr(source, "read"):
            raise UsageError(f"a container, its bytes, or its file can be sent, not {type(source).__name__}")
        return _from_file(source, str(getattr(source, "name", "the file")), limits, opened)
    except FileNotFoundError:
        raise FileAccessError(f"{source} does not exist") from None
    except IsADirectoryError:
        raise FileAccessError(f"{source} is a folder: name one file") from None
    except (OSError, ValueError) as error:
        raise FileAccessError(f"{source} cannot be read: {reason(error)}") from error


def _from_memory(data: BytesLike, limits: Limits, size: tuple[int, int] | None = None) -> RequestBody:
    view = memoryview(data)
    view = view.cast("B") if view.contiguous else memoryview(bytes(view))
    limits.check_bytes("the container", len(view), limits.max_container_bytes)
    return RequestBody(len(view), size or _picture_size(view, limits), "the container", data=view)


def _from_file(file: BinaryIO, name: str, limits: Limits, opened: ExitStack) -> RequestBody:
    if not file.seekable():
        file = _spooled(file, name, limits, opened)
    start = file.tell()
    total = file.seek(0, os.SEEK_END) - start
    limits.check_bytes(name, total, limits.max_container_bytes)
    if total < 1:
        raise FileAccessError(f"{name} is empty: 0 bytes")
    _check_binary(file.read(0), name)
    file.seek(start)
    size = _picture_size(file, limits)
    return RequestBody(total, size, name, file=file, start=start)


def _spooled(file: BinaryIO, name: str, limits: Limits, opened: ExitStack) -> BinaryIO:
    """A copy of `file` that can be rewound; at most one byte more than a container may have."""
    spooled = opened.enter_context(tempfile.SpooledTemporaryFile(SPOOLED_BYTES))  # noqa: SIM115
    most = limits.max_container_bytes + 1
    while most > 0 and (piece := file.read(min(PIECE_BYTES, most))):
        _check_binary(piece, name)
        most -= len(piece)
        spooled.write(piece)
    spooled.seek(0)
    return spooled  # type: ignore[return-value] # it has all methods of a BinaryIO that are used


def _check_binary(piece: bytes, name: str) -> None:
    if not isinstance(piece, bytes):
        raise UsageError(f"{name} was opened as text: open it with 'rb'")


def _picture_size(source: memoryview | BinaryIO, limits: Limits) -> tuple[int, int] | None:
    try:
        header = read_header(source, limits)
    except BbmrError:
        return None
    return header.width, header.height
