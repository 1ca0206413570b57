"""JPEG is read as an original only: whole files of the kinds that every decoder knows, found out without decoding."""

from __future__ import annotations

import io
import time
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from bbmr_shared.errors import PlaneError
from bbmr_shared.images import codecs
from bbmr_shared.images.info import ImageInfo
from bbmr_shared.limits import JPEG_MAX_SCANS
from tests.shared import parts

SIZE = (50, 40)
RGB = Image.fromarray(parts.picture(*SIZE))


def saved(mode: str = "RGB", **arguments: Any) -> bytes:
    out = io.BytesIO()
    RGB.convert(mode).save(out, "JPEG", **arguments)
    return out.getvalue()


def segment(kind: int, body: bytes = b"") -> bytes:
    return bytes([0xFF, kind]) + (len(body) + 2).to_bytes(2, "big") + body


def frame(kind: int = 0xC0, depth: int = 8, components: int = 3) -> bytes:
    sizes = SIZE[1].to_bytes(2, "big") + SIZE[0].to_bytes(2, "big")
    return segment(kind, bytes([depth]) + sizes + bytes([components]) + b"\1\x11\0" * components)


SCAN = segment(0xDA, bytes(10)) + b"\x12\xff\x00\x34\xff\xd0\x56\xff\xff\x00"
START, END = b"\xff\xd8", b"\xff\xd9"


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (saved(), "RGB"),
        (saved("L"), "L"),
        (saved(progressive=True), "RGB"),
        (saved(subsampling="4:2:0", restart_marker_blocks=1), "RGB"),
        (saved(keep_rgb=True), "RGB"),
        (
            saved(icc_profile=b"p" * 200_000, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", xmp=b"x" * 999),
            "RGB",
        ),
        (saved(comment=b"\xff\xd9 not the end \xff\xc0"), "RGB"),
        (START + b"\xff\xff\xff" + frame()[1:] + SCAN + END, "RGB"),
    ],
)
def test_headers_say_what_is_inside(data: bytes, mode: str) -> None:
    assert codecs.check_plane(data, "jpeg", SIZE) == ImageInfo(*SIZE, mode)


def test_it_decodes_as_pillow_does_and_orientation_is_not_obeyed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(exif=exif)
    assert (codecs.decode(data, "jpeg", SIZE) == np.asarray(Image.open(io.BytesIO(data)))).all()
    grey = saved("L")
    assert (codecs.decode(grey, "jpeg", SIZE)[..., 2] == np.asarray(Image.open(io.BytesIO(grey)))).all()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "does not start"),
        (b"\xff\xd8", "truncated"),
        (b"\xff\xd8\xff", "no marker"),
        (START + END, "no picture"),
        (START + frame() + END, "no picture"),
        (START + SCAN + END, "scan before"),
        (START + frame() + frame() + SCAN + END, "more than one"),
        (START + frame() + SCAN, "truncated"),
        (START + frame() + SCAN + END + b"\0", "after its end"),
        (START + b"\0" + frame() + SCAN + END, "no marker"),
        (START + START + frame() + SCAN + END, "D8 has no place"),
        (START + b"\xff\xd0" + frame() + SCAN + END, "D0 has no place"),
        (START + b"\xff\x01" + frame() + SCAN + END, "01 has no place"),
        (START + b"\xff\xe0\0\1" + frame() + SCAN + END, "shorter"),
        (START + b"\xff\xe0\xff\xff" + frame() + SCAN + END, "truncated"),
        (START + segment(0xC0, b"\x08\0") + SCAN + END, "short"),
        (START + frame(0xC3) + SCAN + END, "lossless"),
        (START + frame(0xC9) + SCAN + END, "arithmetic"),
        (START + frame(depth=12) + SCAN + END, "8-bit"),
        (START + frame(components=4) + SCAN + END, "8-bit grey or of three"),
        (saved("CMYK"), "three colours"),
        (START + frame(0xC2) + SCAN * (JPEG_MAX_SCANS + 1) + END, f"more than {JPEG_MAX_SCANS}"),
        (START + segment(0xFE) * 70_000 + frame() + SCAN + END, "segments"),
    ],
)
def test_what_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(PlaneError, match=why):
        codecs.check_plane(data, "jpeg", SIZE)


@pytest.mark.parametrize("lenient", [False, True])
def test_no_truncated_file_decodes(lenient: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    for data in (saved(), saved(progressive=True)):
        for end in range(0, len(data), 5):
            with pytest.raises(PlaneError):
                codecs.decode(data[:end], "jpeg", SIZE)


def test_random_damage_is_a_plane_error_or_a_picture() -> None:
    rng = np.random.default_rng(12)
    for data in (saved(), saved(progressive=True)):
        for _ in range(300):
            damaged = bytearray(data)
            for at in rng.integers(0, len(data), rng.integers(1, 6)):
                damaged[at] = rng.integers(256)
            with suppress(PlaneError):
                assert codecs.decode(bytes(damaged), "jpeg", SIZE).shape == (40, 50, 3)


@pytest.mark.parametrize("filler", [b"\xff", b"\xff\x00", b"\x00", b"\xff\xd0"])
def test_long_runs_cost_no_time(filler: bytes) -> None:
    began = time.perf_counter()
    for data in (START + filler * (8 << 20), START + frame() + SCAN + filler * (8 << 20)):
        with pytest.raises(PlaneError):
            codecs.check_plane(data, "jpeg", SIZE)
    assert time.perf_counter() - began < 5


def test_two_pictures_in_one_file_are_not_one() -> None:
    out = io.BytesIO()
    RGB.save(out, "MPO", save_all=True, append_images=[RGB])
    with pytest.raises(PlaneError, match="after its end"):
        codecs.check_plane(out.getvalue(), "jpeg", SIZE)
