"""EXIF blocks whose entries claim more bytes than the block has are not given to Pillow's parser."""

from __future__ import annotations

import struct
import warnings

import pytest
from PIL import Image

from bbmr_shared.images.exif import is_bounded
from bbmr_shared.images.output import OUTPUT_FORMATS, encode_picture


def _real() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "a camera with a name that is longer than four bytes"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 12:00:00"
    exif.get_ifd(0x8825)[1] = "N"
    return exif.tobytes().removeprefix(b"Exif\0\0")


def _bomb(order: str = "<", entries: int = 2000, size: int = 30_000) -> bytes:
    """Entries that share one value: 54 kB that name 60 MB."""
    data = 8 + 2 + 12 * entries + 4
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, entries)
    return (
        head
        + b"".join(struct.pack(order + "HHII", tag, 7, size, data) for tag in range(1, entries + 1))
        + bytes(4 + size)
    )


def test_what_cameras_write_is_bounded() -> None:
    assert is_bounded(_real())


@pytest.mark.parametrize("order", ["<", ">"])
def test_shared_values_are_not(order: str) -> None:
    assert is_bounded(_bomb(order, entries=1))
    assert not is_bounded(_bomb(order))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II+\0\x08\0\0\0\0\0\0\0",
        b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 0x8769, 4, 1, 8) + bytes(4),
        b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 0x8769, 4, 1, 1 << 31) + bytes(4),
    ],
    ids=["empty", "head", "outside", "big", "itself", "far"],
)
def test_damage_is_not(block: bytes) -> None:
    assert not is_bounded(block)


@pytest.mark.parametrize("format", OUTPUT_FORMATS)
def test_a_bomb_is_left_out_without_a_word(format: str) -> None:
    picture = Image.new("RGB", (8, 8))
    picture.info["exif"] = _bomb()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(encode_picture(picture, format)) < 2000
    picture.info["exif"] = _real()
    assert b"a camera" in encode_picture(picture, format)
