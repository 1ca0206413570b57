"""The source file as a plane: a photo that is already smaller than its container would be stays as it is.

In: a photo and what of its metadata is kept. Out: the plane that is the file itself, byte for byte, or the reason
why there is none.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from bbmr_shared.codecs import check_plane
from bbmr_shared.container import Container, Plane
from bbmr_shared.errors import ContainerError
from bbmr_shared.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from .photo import Photo

CODECS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp", "AVIF": "avif"}
"""Pillow's format → the codec whose plane such a file can be."""

_BARE: dict[str, set[int | bytes]] = {
    "jpeg": {0xC0, 0xC1, 0xC2, 0xC4, 0xC9, 0xCA, 0xCC, 0xDA, 0xDB, 0xDD, 0xE0, 0xEE},
    "png": {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"sRGB", b"gAMA", b"cHRM", b"sBIT"},
    "webp": {b"VP8X", b"VP8 ", b"VP8L"},
    "avif": {b"av01", b"grid"},
}
"""What a file of that codec consists of where it carries nothing but a picture."""

_ICC: dict[str, int | bytes] = {"jpeg": 0xE2, "png": b"iCCP", "webp": b"ICCP"}


@dataclass(frozen=True)
class SourceFile:
    """The file a photo was read from. `obstacle`: why its picture is not the photo as it is, None where it is."""

    data: bytes = field(repr=False)
    codec: str | None
    obstacle: str | None = None


def smaller(photo: Photo, container: Container, metadata: str = "all") -> Container:
    """`container`, or one that carries the file of `photo` as it is where that has fewer bytes."""
    plane = original_plane(photo.source, (photo.width, photo.height), metadata, photo.icc is not None)
    if isinstance(plane, str):
        return container
    kept = replace(
        container,
        rate_map=np.ones_like(container.rate_map),
        planes=(plane,),
        strength=0,
        strength_map=None,
        model=None,
        original=True,
    )
    return kept if len(kept.to_bytes()) < len(container.to_bytes()) else container


def notes(photo: Photo, container: Container, size: int, metadata: str = "all") -> tuple[str, ...]:
    """Why the file of `photo`, smaller than the `size` bytes of its container, was not kept; empty where it was.

    For encodings with `keep_smaller`; the arguments are those of `smaller`.
    """
    if container.original or photo.source is None or len(photo.source.data) >= size:
        return ()
    plane = original_plane(photo.source, (photo.width, photo.height), metadata, photo.icc is not None)
    why = plane if isinstance(plane, str) else "a container with it would not be smaller"
    return (f"the photo's file has only {len(photo.source.data)} bytes and is not kept: {why}",)


def original_plane(source: SourceFile | None, size: tuple[int, int], metadata: str, icc: bool) -> Plane | str:
    """The plane that is the source file, or in words why it cannot be kept.

    Args:
        source: the file, where the photo comes from one.
        size: (width, height) of the photo.
        metadata: "all", "icc" or "none": a file that carries more than that is not kept.
        icc: the photo has an ICC profile, which the file then carries too.
    """
    if source is None:
        return "it was not read from a file"
    if source.obstacle is not None:
        return source.obstacle
    if source.codec is None:
        return "its format is not one that planes have"
    if len(source.data) > DEFAULT_LIMITS.max_plane_bytes:
        return "it is too large for a plane"
    try:
        check_plane(source.data, source.codec, size)
    except ContainerError as error:
        return str(error)
    if metadata != "all" and not _is_bare(source.data, source.codec, icc and metadata == "icc"):
        return f"it carries more than metadata={metadata} allows"
    if metadata == "none" and icc:
        return "its colours are brought to sRGB"
    return Plane(1, source.codec, source.data)


def _is_bare(data: bytes, codec: str, icc: bool) -> bool:
    """Whether a file consists of a picture alone, and of a profile where that is allowed."""
    allowed = set(_BARE[codec])
    if icc and codec in _ICC:
        allowed.add(_ICC[codec])
    walk = {"jpeg": _jpeg_segments, "png": _png_chunks, "webp": _webp_chunks, "avif": _avif_items}[codec]
    try:
        return all(part in allowed for part in walk(data))
    except struct.error:
        return False


def _jpeg_segments(data: bytes) -> Iterator[int | bytes]:
    """The markers of a JPEG file but those without a body; whatever follows its end counts as one of its own."""
    at = 2
    while True:
        marker_start, marker = struct.unpack_from(">BB", data, at)
        if marker_start != 0xFF:
            yield b"?"
            return
        if marker == 0xD9:
            if at + 2 != len(data):
                yield b"behind the end"
            return
        if marker == 0xFF:
            at += 1
            continue
        (size,) = struct.unpack_from(">H", data, at + 2)
        yield marker
        at += 2 + size
        if marker == 0xDA:
            following = _JPEG_NEXT.search(data, at)
            if following is None:
                yield b"without an end"
                return
            at = following.start()


_JPEG_NEXT = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""The next marker behind entropy-coded data: stuffed zeros and restart markers belong to it (T.81, B.1.1.5)."""


def _png_chunks(data: bytes) -> Iterator[int | bytes]:
    at = 8
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind
        at += 12 + size


def _webp_chunks(data: bytes) -> Iterator[int | bytes]:
    at = 12
    while at < len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        yield kind
        at += 8 + size + (size & 1)


def _avif_items(data: bytes) -> Iterator[int | bytes]:
    """The types of all items (ISO/IEC 14496-12, 8.11.6): EXIF and XMP are items."""
    for found in re.finditer(rb"infe(.)...", data, re.DOTALL):
        at = found.end() + (2 if found.group(1) == b"\2" else 4) + 2
        yield data[at : at + 4]
