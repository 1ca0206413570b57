"""Takes the metadata out of a JPEG or PNG file that cannot be opened because of them."""

from __future__ import annotations

from bbmr_shared.images.jpeg import END, EXIF_OR_XMP, NO_MARKER, SOI, JpegSegment, jpeg_segments
from bbmr_shared.images.png import SIGNATURE, png_chunks

PNG_METADATA = frozenset({b"zTXt", b"iTXt", b"tEXt", b"iCCP", b"eXIf"})


def strip_metadata(data: bytes, format: str) -> bytes:
    """Returns a JPEG without EXIF and XMP, or a PNG without texts, profile and EXIF; other files as they are.

    A JPEG that ends early, or a PNG that ends inside the head of a chunk, comes back as it is.
    """
    if format == "JPEG":
        return _strip_jpeg(data)
    return _strip_png(data) if format == "PNG" else data


def _strip_jpeg(data: bytes) -> bytes:
    parts = [data[: len(SOI)]]
    last = JpegSegment(0, 0, len(SOI), 0)
    for last in jpeg_segments(data):
        if last.marker != EXIF_OR_XMP:
            parts.append(data[last.start : last.end])
    if last.marker not in (END, NO_MARKER):
        return data
    return b"".join([*parts, data[last.end :]])


def _strip_png(data: bytes) -> bytes:
    chunks = list(png_chunks(data))
    if chunks and chunks[-1].kind != b"IEND" and chunks[-1].end < len(data):
        return data
    kept = (data[chunk.start : chunk.end] for chunk in chunks if chunk.kind not in PNG_METADATA)
    return data[: len(SIGNATURE)] + b"".join(kept)
