"""Checks the headers of AV1 data (AV1 specification, 5.3 to 5.9) before a decoder sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bbmr_shared.errors import PlaneError
from bbmr_shared.limits import AVIF_MAX_BOXES, AVIF_MAX_FRAMES

from .bits import BitReader
from .info import Size

SEQUENCE_HEADER, FRAME_HEADER, FRAME = 1, 3, 6
LONGEST_SEQUENCE = 512
"""The frame size of a sequence header lies within so many bytes."""
DAMAGED = "an avif plane is damaged"


class Obu(NamedTuple):
    """One OBU: the first byte of its header, and where its content starts and ends."""

    head: int
    start: int
    end: int

    @property
    def kind(self) -> int:
        """Its obu_type."""
        return self.head >> 3 & 15


def obus(data: memoryview) -> Iterator[Obu]:
    """Yields the OBUs that fill `data`.

    Raises:
        PlaneError: an OBU is longer than the data, or its length has no end.
        IndexError: an OBU ends early.
    """
    at = 0
    while at < len(data):
        head = data[at]
        at += 2 if head & 4 else 1
        length = len(data) - at
        if head & 2:
            length, at = _leb128(data, at)
        if at + length > len(data):
            raise PlaneError(f"{DAMAGED} (its AV1 data ends early)")
        yield Obu(head, at, at + length)
        at += length


def check_av1(data: memoryview, size: Size, most: int) -> int:
    """Check the OBUs of one item of an AVIF file; returns how many there are.

    Args:
        data: the OBUs.
        size: (width, height) that the boxes declare for the item.
        most: OBUs that it may have.

    Raises:
        PlaneError: a sequence header allows larger frames than `size`, or there are too many OBUs or frames.
        IndexError: an OBU ends early.
    """
    count = frames = sequences = 0
    for obu in obus(data):
        if count == most:
            raise PlaneError(f"an avif plane has more than {AVIF_MAX_BOXES} OBUs")
        count += 1
        if obu.kind == SEQUENCE_HEADER:
            sequences += 1
            _check_sequence(bytes(data[obu.start : min(obu.end, obu.start + LONGEST_SEQUENCE)]), size)
        frames += obu.kind in (FRAME_HEADER, FRAME)
    if not sequences or frames > AVIF_MAX_FRAMES:
        raise PlaneError(f"{DAMAGED} (its AV1 data holds no picture, or more than {AVIF_MAX_FRAMES} frames)")
    return count


def _check_sequence(data: bytes, size: Size) -> None:
    """Frames may name any size of as many bits as the sequence header says: so those bits are checked, too."""
    bits = BitReader(data, "big")
    bits.take(3 + 1)
    if bits.take(1):  # reduced_still_picture_header
        bits.take(5)
    else:
        _skip_operating_points(bits)
    wide, high = bits.take(4) + 1, bits.take(4) + 1
    declared = bits.take(wide) + 1, bits.take(high) + 1
    if declared[0] > size[0] or declared[1] > size[1]:
        raise PlaneError(
            f"an avif plane is coded as {declared[0]}×{declared[1]} where {size[0]}×{size[1]} is declared"
        )
    if 1 << wide > 2 * declared[0] or 1 << high > 2 * declared[1]:
        raise PlaneError("an avif plane leaves room for frames above its size")


def _skip_operating_points(bits: BitReader) -> None:
    """AV1 5.5.1, up to frame_width_bits_minus_1."""
    decoder_model = 0
    delay_bits = 0
    if bits.take(1):  # timing_info
        bits.take(64)
        if bits.take(1):  # equal_picture_interval: uvlc
            zeros = 0
            while not bits.take(1):
                zeros += 1
            bits.take(zeros)
        decoder_model = bits.take(1)
        if decoder_model:
            delay_bits = bits.take(5) + 1
            bits.take(32 + 5 + 5)
    initial_display = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if decoder_model and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if initial_display and bits.take(1):
            bits.take(4)


def _leb128(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        byte = data[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise PlaneError(f"{DAMAGED} (a length has no end)")
