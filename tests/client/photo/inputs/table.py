"""Rows of the table of input files: how a file is made, what it is, and what encoding does with it.

`docs/inputs.md` is written from the rows, and `tests/client/photo/test_inputs.py` checks each of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

ANY = b"any profile"


@dataclass(frozen=True)
class Refused:
    """The file is refused.

    Attributes:
        says: the message without the name of the file.
        limit: a limit is the reason.
        partial: `says` is only the start of the message; the rest comes from a decoder.
    """

    says: str
    limit: bool = False
    partial: bool = False


@dataclass(frozen=True)
class Kept:
    """The file is read. The fields describe the preview of its container.

    Attributes:
        mode: Pillow's mode.
        rgb: returns the expected picture; None: what Pillow reads, set upright.
        tolerance: of the samples.
        alpha: returns the expected alpha channel.
        icc: the profile; ANY if the file's writer makes its own.
        exif: bytes that the EXIF block must contain.
        xmp, dpi, notes: as in `Photo`.
        size: (width, height), if it matters.
        rate: of all blocks.
        options: of `encode`.
    """

    mode: str = "RGB"
    rgb: Callable[[], np.ndarray] | None = None
    tolerance: int = 0
    alpha: Callable[[], np.ndarray] | None = None
    icc: bytes | None = None
    exif: tuple[bytes, ...] = ()
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    rate: int = 1
    options: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One file: its name, what it is, what happens to it, how to make it, and the expected result."""

    file: str
    what: str
    happens: str
    make: Callable[[], bytes | None]
    expected: Kept | Refused
    needs: str | None = None

    @property
    def sentence(self) -> str:
        """What happens, with the words of the notes; N stands for a number of bytes or pictures of one file."""
        notes = self.expected.notes if isinstance(self.expected, Kept) else ()
        words = [f"“{re.sub(r'[0-9]+(?= (bytes|pictures))', 'N', note)}”" for note in notes]
        return f"{self.happens}; {'; '.join(words)}" if words else self.happens
