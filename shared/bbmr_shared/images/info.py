"""What the headers of a picture file declare, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass

Size = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(frozen=True)
class ImageInfo:
    """Size in pixels, Pillow's mode ("RGB", "L", "RGBA" …) and number of frames of a picture file."""

    width: int
    height: int
    mode: str
    frames: int = 1

    @property
    def size(self) -> Size:
        """(width, height) in pixels."""
        return self.width, self.height
