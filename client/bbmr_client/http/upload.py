"""What is sent: a container from memory or from disk, in pieces, as often as a request is tried.

In: a container, its bytes, the name of its file, or an open file. Out: an `Upload`. A file is never held in memory as a
whole; what cannot be rewound (a pipe) is first copied to a temporary file.
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

Packed = bytes | bytearray | memoryview
"""A container as the bytes of its file."""

Source = Container | Packed | str | Path | BinaryIO
"""A container, its bytes, the name of its file, or a binary file that is read from where it stands."""

PIECE_BYTES = 256 << 10


@dataclass(frozen=True)
class Upload:
    """`total`: bytes. `size`: width and height of the picture by the container's header; None where that cannot be
    read, which is the server's to say."""

    total: int
    size: tuple[int, int] | None
    shown: str
    data: memoryview | None = None
    file: BinaryIO | None = None
    start: int = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """Everything, from the start.

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
                # A file may lie on a disk that hangs: then the deadline leaves this thread behind.
                piece = await to_thread.run_sync(
                    self.file.read, min(PIECE_BYTES, left), abandon_on_cancel=True
                )
                if not piece:
                    raise FileAccessError(f"{self.shown} became shorter while it was sent")
                left -= len(piece)
                yield piece
        except (OSError, ValueError) as error:  # ValueError: closed
            raise FileAccessError(f"{self.shown} cannot be read: {reason(error)}") from error


@asynccontextmanager
async def open_upload(source: Source, limits: Limits) -> AsyncIterator[Upload]:
    """Make `source` ready to be sent; what is opened here is closed here.

    Raises:
        FileAccessError: the file cannot be read.
        LimitExceededError: it is larger than a container may be.
        UsageError: it is none of the things that a source can be.
    """
    with ExitStack() as opened:
        yield await to_thread.run_sync(_open, source, limits, opened, abandon_on_cancel=True)


def _open(source: Source, limits: Limits, opened: ExitStack) -> Upload:
    if isinstance(source, Container):
        return _from_memory(source.to_bytes(), limits, (source.width, source.height))
    if isinstance(source, Packed):
        return _from_memory(source, limits)
    try:
        if isinstance(source, str | os.PathLike):
            return _from_file(opened.enter_context(open(source, "rb")), str(source), limits, opened)
        if not hasattr(source, "read"):
            raise UsageError(f"a container, its bytes, or its file can be sent, not {type(source).__name__}")
        return _from_file(source, str(getattr(source, "name", "the given file")), limits, opened)
    except FileNotFoundError:
        raise FileAccessError(f"{source} does not exist") from None
    except IsADirectoryError:
        raise FileAccessError(f"{source} is a folder: name one file") from None
    except (OSError, ValueError) as error:
        raise FileAccessError(f"{source} cannot be read: {reason(error)}") from error


def _from_memory(data: Packed, limits: Limits, size: tuple[int, int] | None = None) -> Upload:
    view = memoryview(data)
    view = view.cast("B") if view.contiguous else memoryview(bytes(view))
    limits.check_bytes("the container", len(view), limits.max_container_bytes)
    return Upload(len(view), size or _size(view, limits), "the container", data=view)


def _from_file(file: BinaryIO, shown: str, limits: Limits, opened: ExitStack) -> Upload:
    if not file.seekable():
        spooled = opened.enter_context(tempfile.SpooledTemporaryFile(SPOOLED_BYTES))  # noqa: SIM115
        most = limits.max_container_bytes + 1
        while most > 0 and (piece := file.read(min(PIECE_BYTES, most))):
            most -= len(_as_bytes(piece, shown))
            spooled.write(piece)
        spooled.seek(0)
        file = spooled  # type: ignore[assignment] # it has all that is used of a BinaryIO
    start = file.tell()
    total = file.seek(0, os.SEEK_END) - start
    limits.check_bytes(shown, total, limits.max_container_bytes)
    if total < 1:
        raise FileAccessError(f"{shown} is empty: 0 bytes")
    _as_bytes(file.read(0), shown)
    file.seek(start)
    size = _size(file, limits)
    return Upload(total, size, shown, file=file, start=start)


def _as_bytes(piece: bytes, shown: str) -> bytes:
    if not isinstance(piece, bytes):
        raise UsageError(f"{shown} was opened as text: open it with 'rb'")
    return piece


def _size(source: memoryview | BinaryIO, limits: Limits) -> tuple[int, int] | None:
    try:
        header = read_header(source, limits)
    except BbmrError:
        return None
    return header.width, header.height
