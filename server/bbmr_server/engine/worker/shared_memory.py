"""Memory that the server and a worker share, so that tiles are not sent through the socket.

It has slots of one size, one for each batch in the worker. Both sides see the same arrays in a slot. Without memfd
(macOS) it is an unlinked file.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from math import prod

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bbmr_models.config import BACKBONE_GRID
from bbmr_models.inference.tile_input import TileInput
from bbmr_shared.grid import ALIGN

BYTES_A_PIXEL = 3 + 3 + 6 / 4 + 6 / BACKBONE_GRID**2 + 3 / ALIGN**2
"""Of a tile: the base, the result, the half and quarter levels (`light` reads neither), and three maps of cells."""


class SharedTiles:
    """`slots` slots of at least `slot_bytes` each. Pages that are never touched take no memory.

    Args:
        fd: file descriptor of the memory, made by another process; without it, new memory is made.
    """

    def __init__(self, slots: int, slot_bytes: int, fd: int | None = None) -> None:
        self.slots = slots
        self.slot_bytes = -(-slot_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        size = self.slots * self.slot_bytes
        self.fd = _shared_file() if fd is None else fd
        try:
            if fd is None:
                os.ftruncate(self.fd, size)
            self._memory = mmap.mmap(self.fd, size)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; the memory is freed with the last array over it. A second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def views(
        self, slot: int, count: int, shape: tuple[int, int], levels: bool
    ) -> tuple[list[TileInput], NDArray[np.uint8]]:
        """`count` tiles of `shape` (H, W), with or without coarser levels, and their result in a slot.

        The result is `uint8 [count, H, W, 3]`.
        """
        height, width = shape
        at = slot * self.slot_bytes

        def take(dtype: DTypeLike, *dimensions: int) -> NDArray[np.generic]:
            nonlocal at
            array = np.frombuffer(self._memory, dtype, prod(dimensions), at).reshape(dimensions)
            at += array.nbytes
            return array

        def level(at: int) -> NDArray[np.int16] | None:
            return take(np.int16, height // at, width // at, 3) if levels else None  # type: ignore[return-value]

        def cells() -> NDArray[np.uint8]:
            return take(np.uint8, height // ALIGN, width // ALIGN)  # type: ignore[return-value]

        tiles = [
            TileInput(
                base=take(np.uint8, height, width, 3),  # type: ignore[arg-type]
                half=level(2),
                quarter=level(BACKBONE_GRID),
                rate=cells(),
                error=cells(),
                strength=cells(),
            )
            for _ in range(count)
        ]
        result = take(np.uint8, count, height, width, 3)
        return tiles, result  # type: ignore[return-value]

    def holds(self, count: int, shape: tuple[int, int]) -> bool:
        """Whether `count` tiles of `shape` (H, W) fit a slot."""
        return bytes_of(count, shape) <= self.slot_bytes


def bytes_of(count: int, shape: tuple[int, int]) -> int:
    """Bytes that `count` tiles of `shape` (H, W) and their result take in a slot."""
    return int(count * prod(shape) * BYTES_A_PIXEL)


def _shared_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("bbmr-tiles")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
