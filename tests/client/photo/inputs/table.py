"""One row of the table of input files: how the file is made, what it is, and what becomes of it.

`docs/inputs.md` is written from the rows and `tests/client/photo/test_inputs.py` checks each of them, so that what the
page says is what is tested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

ANY = b"any profile"


@dataclass(frozen=True)
class Refused:
    """The file is not read.

    says: the message without the name of the file; `partial`: only its start, the rest is a decoder's.
    limit: it is one of the limits that refuses it.
    """

    says: str
    limit: bool = False
    partial: bool = False


@dataclass(frozen=True)
class Kept:
    """The file is read. What the preview of its container, all blocks at rate 1, then is.

    rgb: gives the picture that is expected; None: what Pillow reads, set upright. tolerance: of its samples.
    alpha: likewise, where `mode` has one. exif: bytes that the block must contain. icc: ANY, where the file's writer
    makes one of its own. size: (width, height), where it says something about the row. rate: of all blocks.
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
    """`file`: its name, by which no decision is made. `what`: what it is. `happens`: what becomes of it."""

    file: str
    what: str
    happens: str
    make: Callable[[], bytes | None]
    expected: Kept | Refused
    needs: str | None = None

    @property
    def sentence(self) -> str:
        """What happens, with the words of the error (FILE for the name) or of the notes."""
        if isinstance(self.expected, Refused):
            return f"{self.happens}: “FILE{self.expected.says}{' …' if self.expected.partial else ''}”"
        words = [f"“{note}”" for note in self.expected.notes]
        return f"{self.happens}; {'; '.join(words)}" if words else self.happens
