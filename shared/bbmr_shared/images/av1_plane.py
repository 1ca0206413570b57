"""AV1 planes: the AV1 data of an AVIF picture without its boxes, which are about 270 bytes.

`boxed` builds the AVIF file again from the AV1 sequence header (AV1 specification, 5.5); docs/container.md has the
template. What is read is exactly two OBUs, a sequence header of the reduced form for still pictures and one frame: so
there is one frame, and it has the size that the sequence header says.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from itertools import islice

from PIL import AvifImagePlugin

from bbmr_shared.errors import PlaneError

from .av1 import obus
from .avif import only_picture, probe_avif
from .bits import BitReader
from .info import ImageInfo, Size

HEADS = (0x0A, 0x32)
"""First bytes of the two OBUs, a sequence header and a frame: each has a length and no extension."""
LONGEST_HEADER = 12
"""Bytes of a sequence header of the reduced form with sides of 16 bits."""
TEMPORAL_DELIMITER = b"\x12\0"
UNSPECIFIED = (2, 2, 2)
SRGB_IDENTITY = (1, 13, 0)
HALVED_OF_PROFILE = ((1, 1), (0, 0), (1, 0))


@dataclass(frozen=True)
class StillHeader:
    """What the boxes repeat of a sequence header.

    Attributes:
        size: (width, height) of the frame.
        profile, level, position: seq_profile, seq_level_idx[0], chroma_sample_position.
        grey: there is no chroma.
        halved: whether chroma has half of the columns, and of the rows.
        colours: colour_primaries, transfer_characteristics, matrix_coefficients.
        full_range: 1 if samples are 0 … 255.
    """

    size: Size
    profile: int
    level: int
    grey: bool
    halved: tuple[int, int]
    position: int
    colours: tuple[int, int, int]
    full_range: int


def probe_av1(data: bytes) -> ImageInfo:
    """Returns what an AV1 plane declares.

    Raises `PlaneError` unless it is a sequence header and one frame of 8 bits in a file that libavif can parse.
    """
    return probe_avif(boxed(data))


def open_av1(file: io.BytesIO) -> AvifImagePlugin.AvifImageFile:
    """Returns the picture in an AV1 plane, opened as AVIF. Raises: as `probe_av1`."""
    return AvifImagePlugin.AvifImageFile(io.BytesIO(boxed(file.read())))


def unboxed(avif: bytes) -> bytes | None:
    """Returns the AV1 plane that decodes to the same samples as an AVIF file of libavif, or None if there is none.

    Nothing is decoded: the only picture in the file must have the same AV1 data (but for a temporal delimiter, which
    does nothing) and the same properties, byte for byte, as the one in the file that is built again.
    """
    try:
        picture = only_picture(avif)
        data = bytes(picture.payload).removeprefix(TEMPORAL_DELIMITER)
        same = only_picture(boxed(data)).properties == picture.properties
    except PlaneError:
        return None
    return data if same else None


def boxed(data: bytes) -> bytes:
    """Returns the AVIF file of an AV1 plane.

    Raises:
        PlaneError: it is no sequence header of a still picture and one frame, or has more than 8 bits per sample.
    """
    header = _header_of(data)
    start = _box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")
    before = len(start) + len(_meta(header, 0, 0)) + 8
    return start + _meta(header, before, len(data)) + _box(b"mdat", data)


def subsampling_of(data: bytes) -> str:
    """Returns the chroma format of an AV1 plane, such as "4:2:0". Raises: as `boxed`."""
    header = _header_of(data)
    return "4:0:0" if header.grey else {(1, 1): "4:2:0", (1, 0): "4:2:2"}.get(header.halved, "4:4:4")


def _header_of(data: bytes) -> StillHeader:
    try:
        found = list(islice(obus(memoryview(data)), len(HEADS) + 1))
        if tuple(obu.head for obu in found) != HEADS:
            raise PlaneError("an av1 plane is not a sequence header and one frame")
        if found[0].end - found[0].start > LONGEST_HEADER:
            raise PlaneError(f"an av1 plane has a sequence header of more than {LONGEST_HEADER} bytes")
        return _still_header(data[found[0].start : found[0].end])
    except IndexError:
        raise PlaneError("an av1 plane is damaged (a header ends early)") from None


def _still_header(data: bytes) -> StillHeader:
    """AV1 5.5.1 and 5.5.2 with reduced_still_picture_header."""
    bits = BitReader(data, "big")
    profile = bits.take(3)
    if profile > 2 or bits.take(2) != 3:  # still_picture, reduced_still_picture_header
        raise PlaneError("an av1 plane has no header of a still picture")
    level, wide, high = bits.take(5), bits.take(4) + 1, bits.take(4) + 1
    size = bits.take(wide) + 1, bits.take(high) + 1
    bits.take(6)  # the tools that the frame may use
    if bits.take(1):
        raise PlaneError("an av1 plane has more than 8 bits per sample")
    grey = profile != 1 and bool(bits.take(1))
    colours = (bits.take(8), bits.take(8), bits.take(8)) if bits.take(1) else UNSPECIFIED
    position, full_range = 0, 1
    if grey:
        halved, full_range = (1, 1), bits.take(1)
    elif colours == SRGB_IDENTITY:
        halved = (0, 0)
    else:
        full_range, halved = bits.take(1), HALVED_OF_PROFILE[profile]
        position = bits.take(2) if halved == (1, 1) else 0
    return StillHeader(size, profile, level, grey, halved, position, colours, full_range)


def _meta(header: StillHeader, offset: int, length: int) -> bytes:
    """The box "meta": one picture whose AV1 data lies at `offset`."""
    channels = 1 if header.grey else 3
    configuration = (
        header.grey << 4 | header.halved[0] << 3 | header.halved[1] << 2 | header.position  # 8 bits, tier 0
    )
    properties = (
        _box(b"ispe", struct.pack(">III", 0, *header.size)),
        _box(b"pixi", bytes([0, 0, 0, 0, channels]) + b"\x08" * channels),
        _box(b"av1C", bytes([0x81, header.profile << 5 | header.level, configuration, 0])),
        _box(b"colr", b"nclx" + struct.pack(">HHHB", *header.colours, header.full_range << 7)),
    )
    entry = _box(b"infe", struct.pack(">IHH4sx", 2 << 24, 1, 0, b"av01"))
    return _box(
        b"meta",
        bytes(4),
        _box(b"hdlr", bytes(8) + b"pict" + bytes(13)),
        _box(b"pitm", struct.pack(">IH", 0, 1)),
        _box(b"iloc", struct.pack(">IBBHHHHII", 0, 0x44, 0, 1, 1, 0, 1, offset, length)),
        _box(b"iinf", struct.pack(">IH", 0, 1), entry),
        _box(
            b"iprp",
            _box(b"ipco", *properties),
            _box(b"ipma", struct.pack(">IIHB", 0, 1, 1, 4), b"\x01\x02\x83\x04"),
        ),
    )


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, kind) + body
