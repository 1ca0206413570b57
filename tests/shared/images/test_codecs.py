"""Plane codecs: exact where they say so, one format each, and never a picture that is not whole."""

from __future__ import annotations

import io
import math
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from bbmr_shared.errors import PlaneError, UnsupportedContainerError, UsageError
from bbmr_shared.images import codecs
from bbmr_shared.images.info import ImageInfo
from bbmr_shared.images.names import LOSSY_CODECS
from tests.shared import parts

SIZE = (50, 40)
RGB = parts.picture(*SIZE)
GREY = RGB[..., 0]
QUALITY = {"webp": None, "png": None, "avif": 80, "av1": 80}
CODECS = tuple(QUALITY)
FORMATS = ("webp", "png", "avif")
"""Codecs that are formats of Pillow."""


def coded(codec: str, samples: parts.Picture = RGB) -> bytes:
    return codecs.encode_plane(samples, codec, quality=QUALITY[codec])[1]


def saved(format: str, mode: str = "RGB", **arguments: Any) -> bytes:
    out = io.BytesIO()
    image = Image.fromarray(RGB).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(90)
    image.save(out, format, **arguments)
    return out.getvalue()


class TestRoundTrip:
    @pytest.mark.parametrize("codec", ["webp", "png"])
    @pytest.mark.parametrize("effort", [0, 4, 9])
    def test_lossless_is_exact(self, codec: str, effort: int) -> None:
        noise = np.random.default_rng(3).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        for samples in (RGB, noise, np.zeros_like(RGB)):
            used, data = codecs.encode_plane(samples, codec, effort=effort)
            assert used == codec
            assert (codecs.decode(data, codec, SIZE) == samples).all()

    @pytest.mark.parametrize("codec", ["webp", "png"])
    def test_alpha_is_exact(self, codec: str) -> None:
        assert (codecs.decode_grey(coded(codec, GREY), codec, SIZE) == GREY).all()

    @pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
    def test_avif_gets_nearer_with_quality(self, subsampling: str) -> None:
        errors, sizes = [], []
        for quality in (20, 60, 95):
            _, data = codecs.encode_plane(RGB, "avif", quality=quality, subsampling=subsampling)
            difference = codecs.decode(data, "avif", SIZE).astype(float) - RGB
            errors.append(float((difference**2).mean()))
            sizes.append(len(data))
        assert errors == sorted(errors, reverse=True)
        assert sizes == sorted(sizes)

    @pytest.mark.parametrize("codec", LOSSY_CODECS)
    @pytest.mark.parametrize("tune", codecs.TUNES)
    @pytest.mark.parametrize("subsampling", codecs.SUBSAMPLINGS)
    def test_every_tune_goes_with_every_subsampling_and_quality(
        self, codec: str, tune: str, subsampling: str
    ) -> None:
        for quality in (0, 50, 99, 100):
            used, data = codecs.encode_plane(RGB, codec, quality=quality, subsampling=subsampling, tune=tune)
            assert used == codec
            assert codecs.decode(data, codec, SIZE).shape == RGB.shape

    def test_tunes_differ_and_iq_is_the_default(self) -> None:
        made = {tune: codecs.encode_plane(RGB, "avif", quality=50, tune=tune)[1] for tune in codecs.TUNES}
        assert len(set(made.values())) == len(made)
        assert codecs.encode_plane(RGB, "avif", quality=50)[1] == made["iq"]

    def test_luma_alone_is_kept_as_grey(self) -> None:
        _, data = codecs.encode_plane(RGB, "avif", quality=90, subsampling="4:0:0")
        decoded = codecs.decode(data, "avif", SIZE)
        assert (decoded == decoded[..., :1]).all()
        assert np.abs(decoded[..., 0] - RGB.astype(float) @ [0.299, 0.587, 0.114]).mean() < 4

    @pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are given by affinity")
    @pytest.mark.parametrize("tune", codecs.TUNES)
    def test_the_bytes_are_the_same_with_any_number_of_cores(self, tune: str) -> None:
        samples = parts.picture(640, 480)
        cores = os.sched_getaffinity(0)
        many = codecs.encode_plane(samples, "avif", quality=50, speed=8, tune=tune)
        try:
            os.sched_setaffinity(0, {min(cores)})
            assert codecs.encode_plane(samples, "avif", quality=50, speed=8, tune=tune) == many
        finally:
            os.sched_setaffinity(0, cores)

    def test_a_grey_plane_stands_for_three_channels(self) -> None:
        decoded = codecs.decode(coded("png", GREY), "png", SIZE)
        assert (decoded == GREY[:, :, None]).all()

    @pytest.mark.parametrize("codec", CODECS)
    def test_the_size_of_one_sample(self, codec: str) -> None:
        one = np.full((1, 1, 3), 128, np.uint8)
        assert codecs.decode(coded(codec, one), codec, (1, 1)).shape == (1, 1, 3)

    @pytest.mark.parametrize("codec", CODECS)
    def test_threads_give_what_one_thread_gives(self, codec: str) -> None:
        data = coded(codec)
        expected = codecs.decode(data, codec, SIZE)
        with ThreadPoolExecutor(4) as pool:
            for again, decoded in pool.map(
                lambda _: (coded(codec), codecs.decode(data, codec, SIZE)), range(12)
            ):
                assert again == data
                assert (decoded == expected).all()


class TestOptions:
    @pytest.mark.parametrize(("codec", "limit"), [("webp", 16_383), ("avif", 32_768), ("av1", 32_768)])
    def test_a_side_over_the_limit_falls_back_to_png(self, codec: str, limit: int) -> None:
        quality = QUALITY[codec]
        for wide, expected in ((limit, codec), (limit + 1, "png")):
            samples = np.full((1, wide, 3), 77, np.uint8)
            used, data = codecs.encode_plane(samples, codec, quality=quality)
            assert used == expected
            assert codecs.decode(data, used, (wide, 1)).shape == (1, wide, 3)

    @pytest.mark.parametrize(
        ("codec", "arguments"),
        [
            ("jxl", {}),
            ("gif", {}),
            ("avif", {}),
            ("av1", {}),
            ("webp", {"quality": 50}),
            ("png", {"quality": 50}),
            ("avif", {"quality": 101}),
            ("avif", {"quality": 50, "subsampling": "4:1:1"}),
            ("avif", {"quality": 50, "speed": 11}),
            ("avif", {"quality": 50, "tune": "vmaf"}),
            ("webp", {"effort": 10}),
        ],
    )
    def test_options_that_make_no_sense(self, codec: str, arguments: dict[str, Any]) -> None:
        with pytest.raises(UsageError):
            codecs.encode_plane(RGB, codec, **arguments)

    @pytest.mark.parametrize(("name", "why"), [("jxl", "not built into"), ("gif", "not known to")])
    def test_codecs_that_cannot_be_read(self, name: str, why: str) -> None:
        with pytest.raises(UnsupportedContainerError, match=why):
            codecs.probe(b"", name)


class TestProbe:
    @pytest.mark.parametrize("codec", CODECS)
    def test_headers_say_what_is_inside(self, codec: str) -> None:
        assert codecs.probe(coded(codec), codec) == ImageInfo(*SIZE, "RGB")

    @pytest.mark.parametrize("codec", CODECS)
    @pytest.mark.parametrize("other", ["WEBP", "PNG", "AVIF", "JPEG", "GIF", "BMP", "TIFF", "PPM"])
    def test_a_plane_is_opened_as_its_own_format_only(self, codec: str, other: str) -> None:
        if codec.upper() == other:
            assert codecs.probe(saved(other), codec).mode == "RGB"
            return
        with pytest.raises(PlaneError):
            codecs.probe(saved(other), codec)

    @pytest.mark.parametrize(
        ("codec", "data"),
        [
            ("webp", saved("WEBP", "RGBA", lossless=True)),
            ("webp", saved("WEBP", "RGBA", quality=50)),
            ("avif", saved("AVIF", "RGBA")),
            ("png", saved("PNG", "RGBA")),
            ("png", saved("PNG", "P")),
            ("png", saved("PNG", "1")),
            ("png", saved("PNG", "I;16")),
            ("png", saved("PNG", "LA")),
        ],
    )
    def test_only_rgb_and_grey_of_eight_bits(self, codec: str, data: bytes) -> None:
        with pytest.raises(PlaneError):
            codecs.check_plane(data, codec, SIZE)

    @pytest.mark.parametrize("codec", FORMATS)
    def test_no_animation(self, codec: str) -> None:
        frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1])]
        out = io.BytesIO()
        frames[0].save(out, codec.upper(), save_all=True, append_images=frames[1:])
        assert codecs.probe(out.getvalue(), codec).frames > 1
        with pytest.raises(PlaneError, match="animated"):
            codecs.check_plane(out.getvalue(), codec, SIZE)

    @pytest.mark.parametrize("codec", CODECS)
    def test_another_size_than_declared(self, codec: str) -> None:
        with pytest.raises(PlaneError, match="50×40 where 40×50"):
            codecs.decode(coded(codec), codec, (40, 50))

    def test_a_lossy_webp_with_metadata_is_a_plane_too(self) -> None:
        data = saved("WEBP", quality=80, icc_profile=b"p" * 10, exif=b"Exif\0\0II*\0")
        assert data[12:16] == b"VP8X"
        assert codecs.decode(data, "webp", SIZE).shape == (40, 50, 3)

    def test_a_webp_canvas_that_claims_gigabytes_is_not_allocated(self) -> None:
        canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16_382).to_bytes(3, "little") * 2
        body = b"WEBP" + canvas + coded("webp")[12:]
        bomb = b"RIFF" + struct.pack("<I", len(body)) + body
        with pytest.raises(PlaneError):
            codecs.check_plane(bomb, "webp", (16_383, 16_383))


class TestDamage:
    @pytest.mark.parametrize("codec", CODECS)
    @pytest.mark.parametrize("lenient", [False, True])
    def test_no_truncated_plane_decodes(
        self, codec: str, lenient: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
        data = coded(codec)
        for end in range(0, len(data), 7):
            with pytest.raises(PlaneError):
                codecs.decode(data[:end], codec, SIZE)

    @pytest.mark.parametrize("codec", CODECS)
    def test_bytes_after_a_plane_s_end(self, codec: str) -> None:
        if codec == "avif":  # a box of an unknown type would be legal; these eight bytes are none
            assert codecs.decode(coded(codec), codec, SIZE).any()
            return
        with pytest.raises(PlaneError):
            codecs.decode(coded(codec) + b"\0\0", codec, SIZE)

    @pytest.mark.parametrize("codec", CODECS)
    def test_random_damage_is_a_plane_error_or_a_picture(self, codec: str) -> None:
        data = coded(codec)
        rng = np.random.default_rng(11)
        for _ in range(300):
            damaged = bytearray(data)
            for at in rng.integers(0, len(data), rng.integers(1, 6)):
                damaged[at] = rng.integers(256)
            with suppress(PlaneError):
                assert codecs.decode(bytes(damaged), codec, SIZE).shape == (40, 50, 3)

    @pytest.mark.parametrize("rows", [0, 39, 41])
    def test_a_png_must_hold_exactly_its_rows(self, rows: int) -> None:
        stream = zlib.compress(b"".join(b"\0" + bytes(150) for _ in range(rows)))
        with pytest.raises(PlaneError, match="exactly 50×40"):
            codecs.decode(_png_with(stream), "png", SIZE)

    def test_a_png_that_inflates_without_end_is_stopped(self) -> None:
        with pytest.raises(PlaneError, match="exactly"):
            codecs.decode(_png_with(zlib.compress(bytes(1 << 26), 9)), "png", SIZE)

    def test_a_png_in_many_chunks_is_read(self) -> None:
        stream = zlib.compress(b"".join(b"\0" + bytes([9]) * 150 for _ in range(40)))
        pieces = [stream[at : at + 3] for at in range(0, len(stream), 3)]
        assert (codecs.decode(_png_with(*pieces), "png", SIZE) == 9).all()

    def test_a_large_flat_png_is_whole(self) -> None:
        flat = np.full((2500, 2000, 3), 128, np.uint8)
        assert (codecs.decode(coded("png", flat), "png", (2000, 2500)) == 128).all()

    def test_an_endless_row_of_chunks_is_stopped(self) -> None:
        with pytest.raises(PlaneError, match="chunks"):
            codecs.probe(_png_with(*[b""] * 70_000), "png")

    def test_pillow_s_own_limit_is_a_declared_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = coded("png")

        def bomb(_: object) -> None:
            raise Image.DecompressionBombError("too many pixels")

        monkeypatch.setattr(ImageFile.ImageFile, "load", bomb)
        with pytest.raises(Exception, match="too many pixels") as caught:
            codecs.decode(data, "png", SIZE)
        assert caught.type.__name__ == "LimitExceededError"


class TestCodingError:
    def test_the_byte_is_tenths_of_log2(self) -> None:
        assert codecs.coding_error_byte(0) == 0
        for mse in (0.01, 0.5, 1.0, 3.7, 64.0, 65_025.0):
            log2 = (codecs.coding_error_byte(mse) - 81) / 10
            assert abs(log2 - math.log2(mse)) <= 0.05 + 1e-9
        assert codecs.coding_error_byte(1.0) == 81

    def test_it_is_monotonic_and_one_byte(self) -> None:
        found = [codecs.coding_error_byte(2.0**e) for e in np.arange(-20, 16, 0.05)]
        assert found == sorted(found)
        assert (found[0], max(found)) == (1, codecs.coding_error_byte(65_025))
        assert all(1 <= byte <= 255 for byte in found)

    @pytest.mark.parametrize("mse", [-1.0, float("nan")])
    def test_no_error_is_below_zero(self, mse: float) -> None:
        with pytest.raises(ValueError, match="not negative"):
            codecs.coding_error_byte(mse)


def _png_with(*streams: bytes) -> bytes:
    """A PNG of 50×40 RGB samples with these IDAT chunks."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *SIZE, 8, 2, 0, 0, 0))
    idat = b"".join(chunk(b"IDAT", stream) for stream in streams)
    return b"\x89PNG\r\n\x1a\n" + header + idat + chunk(b"IEND", b"")
