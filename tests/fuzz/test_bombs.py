"""Pictures and headers that are made to cost much are refused or read at low cost; the kernel counts the memory."""

from __future__ import annotations

import io
import random
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from bbmr_shared import Container, Plane
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container.frame import SIGNATURE, write_frame
from bbmr_shared.errors import LimitExceededError, MalformedContainerError, PlaneError
from bbmr_shared.images.av1_plane import unboxed
from bbmr_shared.images.info import ImageInfo
from bbmr_shared.images.png import check_png_stream
from bbmr_shared.limits import DEFAULT_LIMITS, MIB
from tests.fuzz import bombs
from tests.fuzz.exhaust import measured
from tests.fuzz.recipes import png_of
from tests.shared import parts

SECONDS = 0.5
MEGABYTES = 100
CHEAP = ("PlaneError", "LimitExceededError", "decoded")
SIZE = (64, 48)


def _file(format: str, size: tuple[int, int] = SIZE, **options: Any) -> bytes:
    out = io.BytesIO()
    picture = Image.new("RGB", size, 90) if max(size) > 256 else Image.fromarray(parts.picture(*size))
    picture.save(out, format, **options)
    return out.getvalue()


def _bare(size: tuple[int, int] = SIZE, **options: Any) -> bytes:
    data = unboxed(_file("AVIF", size, **options))
    assert data is not None
    return data


def _container(codec: str, data: bytes, size: tuple[int, int] = SIZE) -> bytes:
    rates = np.ones((-(-size[1] // 128), -(-size[0] // 128)), np.uint8)
    plane = Plane(1, codec, data)
    return Container(*size, rates, (plane,), strength=0, original=codec == "jpeg").to_bytes()


def _cost(data: bytes) -> str:
    """The outcome, after asserting that it was cheap."""
    Image.init()
    outcome, seconds, megabytes = measured(data)
    assert seconds < SECONDS
    assert megabytes < MEGABYTES
    return outcome


BOMBS: dict[str, Callable[[], bytes]] = {
    "avif of 4096² in a box of 64×48": lambda: _container(
        "avif", bombs.avif_with_size(_file("AVIF", (4096, 4096), quality=1, speed=10), *SIZE)
    ),
    "av1 of 4096² where 64×48 is declared": lambda: _container(
        "av1", _bare((4096, 4096), quality=1, speed=10)
    ),
    "av1 of 5,000 frames": lambda: _container("av1", _bare() * 5000),
    "avif of 60,000 items": lambda: _container("avif", bombs.avif_with_items(_file("AVIF"), 60_000)),
    "jpeg of 40 MB of filling": lambda: _container("jpeg", bombs.jpeg_with_filling(_file("JPEG"), 40 << 20)),
    "jpeg of 20 MB of filling in its scan": lambda: _container(
        "jpeg", bombs.jpeg_with_filled_scan(_file("JPEG"), 20 << 20)
    ),
    "jpeg of a million segments": lambda: _container("jpeg", bombs.jpeg_with_segments(_file("JPEG"), 10**6)),
    "jpeg of 5,000 scans of 2048²": lambda: _container(
        "jpeg", bombs.jpeg_with_scans(_file("JPEG", (2048, 2048), progressive=True), 5000), (2048, 2048)
    ),
    "png of 2,000 profiles of a MiB": lambda: _container(
        "png", bombs.png_with_chunks(_file("PNG"), b"iCCP", bombs.png_profile(MIB), 2000)
    ),
    "png of a text of 1 GiB": lambda: _container(
        "png", bombs.png_with_chunks(_file("PNG"), b"iTXt", bombs.png_text(256 * MIB) * 4)
    ),
    "png of a million chunks": lambda: _container(
        "png", bombs.png_with_chunks(_file("PNG"), b"tEXt", b"", 10**6)
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_picture_costs_no_more_than_it_shows(name: str) -> None:
    assert _cost(BOMBS[name]()) in CHEAP


def _header(**changes: object) -> bytes:
    fields, pictures = parts.fields_of(parts.container(40, 24, block=16, rates=[1]).to_bytes())
    return write_frame({**fields, **changes}, pictures)


@pytest.mark.parametrize(
    "value",
    [[[1] * 4096] * 1000, [["ab"] * 4096] * 300, [{f"{key:03x}": 1 for key in range(4096)}] * 200],
    ids=["integers", "texts", "maps"],
)
def test_a_header_of_millions_of_values_is_refused(value: object) -> None:
    data = _header(later=value)
    assert len(data) < DEFAULT_LIMITS.max_header_bytes
    assert _cost(data) == "MalformedContainerError"
    with pytest.raises(MalformedContainerError, match="too many values"):
        Container.from_bytes(data)


@pytest.mark.parametrize("name", ["icc", "exif", "xmp"])
def test_metadata_has_its_limit(name: str) -> None:
    assert len(getattr(Container.from_bytes(_header(**{name: bytes(MIB)})), name)) == MIB
    with pytest.raises(LimitExceededError, match=f"is {MIB + 1} bytes"):
        Container.from_bytes(_header(**{name: bytes(MIB + 1)}))


@pytest.mark.parametrize("name", ["downscaler", "k" * 4_000_000, "!" + "k" * 4_000_000])
def test_a_message_stays_short_whatever_a_name_is(name: str) -> None:
    data = _header(**{name: "k" * 30_000})
    assert _cost(data) in ("decoded", "MalformedContainerError", "UnsupportedContainerError")


def test_a_quarter_of_a_gigabyte_of_rubbish_is_refused_at_once() -> None:
    rubbish = random.Random(1).randbytes(MIB) * 256
    for data in (rubbish, SIGNATURE + rubbish[:-8], parts.sealed(rubbish[:-24])):
        outcome, seconds, megabytes = measured(data)
        assert outcome.endswith("Error")
        assert seconds < 2  # a digest of all of it
        assert megabytes < 16


def test_reading_holds_no_more_than_twice_the_file() -> None:
    """The file itself and its planes, which are copies; decoding comes later."""
    noise = np.random.default_rng(1).integers(0, 256, (2000, 3000, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG", compress_level=0)
    data = _container("png", out.getvalue(), (3000, 2000))
    _, _, megabytes = measured(data, decode=False)
    assert megabytes < 1.2 * len(data) / 1e6


def test_a_png_of_one_chunk_takes_time_by_its_length() -> None:
    """zlib copies what it has not read with every step: 192 MB in one chunk took 8 s."""
    noise = np.random.default_rng(1).integers(0, 256, (2500, 1 + 3 * 5000), np.uint8)
    noise[:, 0] = 0
    stream = zlib.compress(noise.tobytes(), 0)
    head = struct.pack(">IIBBBBB", 5000, 2500, 8, 2, 0, 0, 0)
    plane = png_of(head, stream)
    began = time.process_time()
    check_png_stream(plane, ImageInfo(5000, 2500, "RGB"))
    assert time.process_time() - began < SECONDS


class TestSettingsOfTheApplication:
    """Pillow's settings are of the whole process; an application may have set them for its own pictures."""

    @pytest.fixture(autouse=True)
    def careless(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 1 << 40)
        monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 1 << 40)

    @pytest.mark.parametrize("name", BOMBS)
    def test_bombs_stay_cheap(self, name: str) -> None:
        assert _cost(BOMBS[name]()) in CHEAP

    @pytest.mark.parametrize(
        ("codec", "options"),
        [
            ("png", {}),
            ("webp", {"lossless": True}),
            ("avif", {}),
            ("av1", {}),
            ("jpeg", {}),
            ("jpeg", {"progressive": True}),
        ],
    )
    def test_a_truncated_plane_is_refused(self, codec: str, options: dict[str, Any]) -> None:
        data = _bare() if codec == "av1" else _file(codec.upper(), **options)
        for length in range(0, len(data), 97):
            with pytest.raises(PlaneError):
                preview(Container.from_bytes(_container(codec, data[:length] or b"\0")))

    def test_a_picture_over_the_limits_is_refused(self) -> None:
        data = _container("png", _file("PNG", (1, 1)), (1, 1))
        fields, pictures = parts.fields_of(data)
        with pytest.raises(LimitExceededError):
            Container.from_bytes(write_frame({**fields, "width": 65_535, "height": 65_535}, pictures))


def test_a_low_limit_of_the_application_is_a_declared_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for codec in ("png", "webp", "avif", "jpeg"):
        assert _cost(_container(codec, _file(codec.upper()))) in ("decoded", "LimitExceededError")


def test_nine_bytes_cannot_ask_for_gigabytes() -> None:
    for head in (b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"):
        outcome, _, megabytes = measured(parts.sealed(head + struct.pack(">I", 0xFFFFFFFF)))
        assert outcome in ("MalformedContainerError", "TruncatedContainerError")
        assert megabytes < 16
