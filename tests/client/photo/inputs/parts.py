"""What input files are made of: patterns, files written by Pillow, and files put together byte by byte."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 32
ORIENTATION, MAKE = 0x0112, 0x010F


@cache
def pattern(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture that no turn leaves as it is and that every codec can hold: 8×8 patches, uint8 [H, W, 3]."""
    random = np.random.default_rng(11)
    patches = random.integers(0, 256, (-(-height // 8), -(-width // 8), 3)).astype(np.uint8)
    samples = np.kron(patches, np.ones((8, 8, 1), np.uint8))[:height, :width]
    samples.setflags(write=False)
    return samples


def colour(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    return Image.fromarray(pattern(width, height))


def grey(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pattern(width, height)[..., 1]))


def ramp(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Alpha from 0 to 255, uint8 [H, W]."""
    return np.linspace(0, 255, width * height).reshape(height, width).astype(np.uint8)


def spread(samples: np.ndarray) -> np.ndarray:
    """Grey on three channels."""
    return np.repeat(samples[..., None], 3, axis=2)


def coded(image: Image.Image, format: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def exif(orientation: int | None = None, date: str | None = None, **tags: object) -> bytes:
    """EXIF of a camera: orientation, maker, maker note, and where it was (a date by GPS)."""
    block = Image.Exif()
    if orientation is not None:
        block[ORIENTATION] = orientation
    block[MAKE] = "a maker"
    block.get_ifd(0x8769)[0x927C] = b"maker note with offsets"
    for name, value in tags.items():
        block[int(name.removeprefix("t"), 16)] = value
    if date is not None:
        block.get_ifd(0x8825)[0x001D] = date
    return block.tobytes()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int,
    height: int,
    depth: int,
    colour_type: int,
    rows: bytes,
    *,
    before: bytes = b"",
    interlace: int = 0,
    stream: bytes | None = None,
) -> bytes:
    """A PNG from its unfiltered rows (each with its filter byte), with chunks `before` the image data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlace)
    body = zlib.compress(rows) if stream is None else stream
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def png_rows(samples: np.ndarray) -> bytes:
    """Rows of big-endian samples, unfiltered."""
    wide = samples.astype(samples.dtype.newbyteorder(">"))
    return b"".join(b"\0" + row.tobytes() for row in wide)


def adam7(samples: np.ndarray) -> bytes:
    """The passes of an interlaced PNG, unfiltered."""
    passes = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    return b"".join(png_rows(samples[top::down, left::across]) for left, top, across, down in passes)


def tiff(width: int, height: int, body: bytes, **tags: int | tuple[int, ...]) -> bytes:
    """An uncompressed little-endian TIFF in one strip; tags as t0102=(16, 16, 16), all written as LONG or SHORT."""
    entries: dict[int, int | tuple[int, ...]] = {
        0x0100: width,
        0x0101: height,
        0x0102: 8,
        0x0103: 1,
        0x0106: 2,
        0x0111: 8,
        0x0115: 3,
        0x0116: height,
        0x0117: len(body),
        **{int(name[1:], 16): value for name, value in tags.items()},
    }
    at = 8 + len(body) + len(body) % 2
    table, more = b"", b""
    after = at + 2 + 12 * len(entries) + 4
    for tag, value in sorted(entries.items()):
        if isinstance(value, tuple):
            packed = struct.pack(f"<{len(value)}H", *value)
            if len(packed) <= 4:
                table += struct.pack("<HHI", tag, 3, len(value)) + packed.ljust(4, b"\0")
            else:
                table += struct.pack("<HHII", tag, 3, len(value), after + len(more))
                more += packed + bytes(len(packed) % 2)
        else:
            table += struct.pack("<HHII", tag, 4, 1, value)
    head = b"II*\0" + struct.pack("<I", at) + body + bytes(len(body) % 2)
    return head + struct.pack("<H", len(entries)) + table + bytes(4) + more


def damaged(data: bytes, part: float) -> bytes:
    """The first part of a file."""
    return data[: int(len(data) * part)]
