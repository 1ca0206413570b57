"""Reading photos: every mode becomes upright 8-bit RGB, metadata is carried, and what is no photo is refused."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from bbmr_client.photo import load_photo
from bbmr_client.photo.jxl import jxl_size
from bbmr_shared.errors import LimitExceededError, PictureError
from bbmr_shared.limits import DEFAULT_LIMITS

ORIENTATION, MAKE = 0x0112, 0x010F
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def coded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def grey(width: int = 40, height: int = 24) -> Image.Image:
    return Image.fromarray(np.linspace(0, 255, width * height).reshape(height, width).astype(np.uint8))


def forged_png(width: int, height: int) -> bytes:
    """A few dozen bytes that claim a picture of any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def png_with_16_bits(colour_type: int, clear: tuple[int, ...], samples: list[int]) -> bytes:
    """One row of big-endian samples with one transparent grey (type 0) or colour (type 2)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", len(samples) // len(clear), 1, 16, colour_type, 0, 0, 0)
    row = b"\0" + struct.pack(f">{len(samples)}H", *samples)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear))
        + chunk(b"IDAT", zlib.compress(row))
        + chunk(b"IEND", b"")
    )


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[MAKE] = "a maker"
    exif.get_ifd(0x8769)[0x927C] = b"maker note with offsets"
    return exif


class TestModes:
    def test_16_bit_grey_keeps_its_transparent_grey(self) -> None:
        data = png_with_16_bits(0, (40_000,), [40_000, 40_001, 100])
        photo = load_photo(data)
        assert photo.rgb[0, :, 0].tolist() == [156, 156, 0], "which only the full samples tell apart"
        assert photo.alpha is not None
        assert photo.alpha.tolist() == [[0, 255, 255]]

    def test_16_bit_rgb_keeps_its_transparent_colour(self) -> None:
        photo = load_photo(png_with_16_bits(2, (40_000, 300, 1), [40_000, 300, 1, 1, 2, 3]))
        assert photo.alpha is not None
        assert photo.alpha.tolist() == [[0, 255]]

    @pytest.mark.parametrize(("mode", "premultiplied"), [("LA", "La"), ("RGBA", "RGBa")])
    def test_premultiplied_alpha(self, mode: str, premultiplied: str) -> None:
        straight = Image.new(mode, (3, 2), (200, 100) if mode == "LA" else (200, 120, 40, 100))
        photo, expected = load_photo(straight.convert(premultiplied)), load_photo(straight)
        assert np.abs(photo.rgb.astype(int) - expected.rgb).max() <= 2
        assert photo.alpha is not None
        assert np.array_equal(photo.alpha, expected.alpha)

    def test_rgb_is_kept_bit_for_bit(self, rgb: Callable[..., np.ndarray]) -> None:
        picture = rgb(127, 129)
        photo = load_photo(coded(Image.fromarray(picture)))
        assert np.array_equal(photo.rgb, picture)
        assert (photo.width, photo.height) == (127, 129)
        assert photo.alpha is None
        assert photo.rgb.dtype == np.uint8

    @pytest.mark.parametrize("mode", ["L", "1", "P"])
    def test_modes_that_pillow_shows_as_rgb(self, mode: str) -> None:
        image = grey().convert(mode)
        assert np.array_equal(load_photo(coded(image)).rgb, np.asarray(image.convert("RGB")))

    def test_rgba_gives_colour_and_alpha_apart(self, rgb: Callable[..., np.ndarray]) -> None:
        samples = np.dstack([rgb(40, 24), np.asarray(grey())])
        photo = load_photo(coded(Image.fromarray(samples)))
        assert np.array_equal(photo.rgb, samples[..., :3])
        assert photo.alpha is not None
        assert np.array_equal(photo.alpha, samples[..., 3])

    def test_alpha_that_hides_nothing_is_dropped(self, rgb: Callable[..., np.ndarray]) -> None:
        assert load_photo(Image.fromarray(rgb(20, 20)).convert("RGBA")).alpha is None

    def test_grey_with_alpha(self) -> None:
        image = grey().convert("LA")
        image.putalpha(grey().transpose(Image.Transpose.ROTATE_180))
        photo = load_photo(coded(image))
        assert np.array_equal(photo.rgb[..., 1], np.asarray(grey()))
        assert photo.alpha is not None
        assert np.array_equal(photo.alpha, np.asarray(grey())[::-1, ::-1])

    def test_palette_with_a_transparent_entry(self) -> None:
        image = Image.new("P", (8, 8), 0)
        image.putpalette([255, 0, 0, 0, 255, 0])
        image.putpixel((3, 4), 1)
        photo = load_photo(coded(image, transparency=1))
        assert photo.alpha is not None
        assert photo.alpha[4, 3] == 0
        assert photo.alpha.sum() == 255 * 63
        assert tuple(photo.rgb[0, 0]) == (255, 0, 0)

    def test_one_transparent_colour_of_rgb(self) -> None:
        image = Image.new("RGB", (4, 4), (1, 2, 3))
        image.putpixel((0, 0), (9, 9, 9))
        photo = load_photo(coded(image, transparency=(9, 9, 9)))
        assert photo.alpha is not None
        assert photo.alpha[0, 0] == 0
        assert photo.alpha[1, 1] == 255
        assert tuple(photo.rgb[1, 1]) == (1, 2, 3)

    def test_16_bit_grey_keeps_its_full_scale(self) -> None:
        samples = np.array([[0, 128, 129, 32768, 65535]], np.uint16)
        photo = load_photo(coded(Image.fromarray(samples)))
        assert photo.rgb[0, :, 0].tolist() == [0, 0, 1, 128, 255]

    def test_cmyk_without_a_profile(self) -> None:
        image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
        photo = load_photo(coded(image, "TIFF"))
        assert tuple(photo.rgb[8, 8]) == (255, 0, 0)

    def test_a_grey_profile_is_used_and_not_put_on_rgb(self) -> None:
        profile = gray_gamma_profile(1.0)  # linear light: 50 % grey is 188 in sRGB
        photo = load_photo(coded(Image.new("L", (8, 8), 128), icc_profile=profile))
        assert photo.icc is None
        assert abs(int(photo.rgb[0, 0, 0]) - 188) <= 1

    def test_floating_point_is_refused(self) -> None:
        with pytest.raises(PictureError, match="mode F"):
            load_photo(Image.new("F", (4, 4)))

    def test_1_by_1(self) -> None:
        assert load_photo(coded(Image.new("RGB", (1, 1), (7, 8, 9)))).rgb.tolist() == [[[7, 8, 9]]]

    def test_first_picture_of_an_animation(self) -> None:
        frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue")]
        data = coded(frames[0], "GIF", save_all=True, append_images=frames[1:])
        assert tuple(load_photo(data).rgb[0, 0]) == (255, 0, 0)


class TestArrays:
    def test_shapes_and_types(self, rgb: Callable[..., np.ndarray]) -> None:
        assert np.array_equal(load_photo(rgb(9, 7)).rgb, rgb(9, 7))
        assert load_photo(np.full((2, 3), 65535, np.uint16)).rgb.tolist() == np.full((2, 3, 3), 255).tolist()
        assert load_photo(np.array([[True, False]])).rgb[0, :, 2].tolist() == [255, 0]
        alpha = load_photo(np.zeros((2, 2, 4), np.uint8)).alpha
        assert alpha is not None
        assert alpha.shape == (2, 2)

    @pytest.mark.parametrize(
        "array",
        [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros(4)],
    )
    def test_what_is_no_picture(self, array: np.ndarray) -> None:
        with pytest.raises(PictureError, match="an array"):
            load_photo(array)

    def test_too_large(self) -> None:
        limits = replace(DEFAULT_LIMITS, max_pixels=10)
        with pytest.raises(LimitExceededError):
            load_photo(np.zeros((4, 4, 3), np.uint8), limits)


class TestOrientation:
    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_applied_once_and_rewritten(
        self, format: str, orientation: int, rgb: Callable[..., np.ndarray]
    ) -> None:
        image = Image.fromarray(np.kron(rgb(6, 4), np.ones((8, 8, 1), np.uint8)))
        data = coded(
            image, format, exif=exif_with(orientation), **({"lossless": True} if format == "WEBP" else {})
        )
        with Image.open(io.BytesIO(data)) as stored:
            upright = ImageOps.exif_transpose(stored).convert("RGB")
        photo = load_photo(data)
        assert np.array_equal(photo.rgb, np.asarray(upright))
        again = Image.fromarray(photo.rgb)
        again.info["exif"] = photo.exif
        assert again.getexif().get(ORIENTATION, 1) == 1
        assert again.getexif()[MAKE] == "a maker"

    def test_alpha_turns_with_the_picture(self) -> None:
        image = Image.new("RGBA", (3, 2), (0, 0, 0, 255))
        image.putpixel((0, 0), (0, 0, 0, 0))
        photo = load_photo(coded(image, exif=exif_with(6)))
        assert photo.alpha is not None
        assert photo.alpha.shape == (3, 2)
        assert photo.alpha[0, 1] == 0

    def test_maker_notes_stay_byte_for_byte(self) -> None:
        exif = load_photo(coded(grey().convert("RGB"), "JPEG", exif=exif_with(8))).exif
        assert exif is not None
        assert b"maker note with offsets" in exif
        assert exif[:4] in (b"II*\0", b"MM\0*")

    @pytest.mark.parametrize("kind", [1, 3, 4, 6, 8, 9, 13])
    def test_the_tag_is_rewritten_whatever_type_of_number_it_has(self, kind: int) -> None:
        value = b"\6" + bytes(3)
        block = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHI", ORIENTATION, kind, 1) + value + bytes(4)
        photo = load_photo(coded(Image.new("RGB", (3, 2)), exif=b"Exif\0\0" + block))
        assert photo.exif is not None
        left = Image.Exif()
        left.load(photo.exif)
        turned = photo.rgb.shape == (3, 2, 3)
        assert left.get(ORIENTATION) == 1
        assert turned or kind in {1, 13}

    def test_xmp_orientation_is_rewritten_with_it(self) -> None:
        packet = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
        photo = load_photo(coded(Image.new("RGB", (3, 2)), "JPEG", exif=exif_with(6), xmp=packet))
        assert photo.rgb.shape == (3, 2, 3)
        assert photo.xmp == packet.replace(b'"6"', b'"1"')

    @pytest.mark.parametrize("orientation", [0, 9, 77])
    def test_a_value_that_means_nothing_is_no_turn(self, orientation: int) -> None:
        assert load_photo(coded(Image.new("RGB", (3, 2)), exif=exif_with(orientation))).rgb.shape == (2, 3, 3)

    @pytest.mark.parametrize("cut", range(1, 40, 3))
    def test_a_damaged_exif_block_is_no_reason_to_fail(self, cut: int) -> None:
        block = exif_with(1).tobytes()[:-cut]
        photo = load_photo(coded(Image.new("RGB", (3, 2)), exif=block))
        assert photo.rgb.shape == (2, 3, 3)


class TestMetadata:
    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
    def test_icc_is_carried(self, format: str) -> None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        assert load_photo(coded(Image.new("RGB", (32, 32)), format, icc_profile=profile)).icc == profile

    @pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF"])
    def test_xmp_is_carried(self, format: str) -> None:
        packet = b"<x:xmpmeta>something</x:xmpmeta>"
        assert load_photo(coded(Image.new("RGB", (32, 32)), format, xmp=packet)).xmp == packet

    def test_too_much_of_it_is_left_out(self) -> None:
        limits = replace(DEFAULT_LIMITS, max_xmp_bytes=10)
        photo = load_photo(coded(Image.new("RGB", (32, 32)), "JPEG", xmp=b"x" * 11), limits)
        assert photo.xmp is None
        assert photo.notes == ("its XMP packet has 11 bytes, at most 10 are kept: it is left out",)


class TestLimitsOfAPhoto:
    """A photo that was read with wider limits is treated as if it were read with the limits given now."""

    DATA = coded(Image.new("RGB", (60, 40)), "PNG", exif=exif_with(1), icc_profile=SRGB)

    def test_within_them_it_stays_as_it_is(self) -> None:
        photo = load_photo(self.DATA)
        assert load_photo(photo) is photo

    @pytest.mark.parametrize("limits", [{"max_pixels": 2399}, {"max_side": 59}, {"max_photo_bytes": 99}])
    def test_over_them_it_is_refused(self, limits: dict[str, int]) -> None:
        photo = load_photo(self.DATA)
        with pytest.raises(LimitExceededError):
            load_photo(photo, replace(DEFAULT_LIMITS, **limits))

    @pytest.mark.parametrize("limits", [{"max_exif_bytes": 5}, {"max_xmp_bytes": 5}, {"max_icc_bytes": 5}])
    def test_large_metadata_are_left_out_as_from_the_file(self, limits: dict[str, int]) -> None:
        small = replace(DEFAULT_LIMITS, **limits)
        expected, actual = load_photo(self.DATA, small), load_photo(load_photo(self.DATA), small)
        assert np.array_equal(actual.rgb, expected.rgb)
        assert replace(actual, rgb=expected.rgb) == expected


class TestRefused:
    def test_not_a_picture(self) -> None:
        with pytest.raises(PictureError, match="not a picture"):
            load_photo(b"just some words, and no picture at all")

    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "GIF"])
    @pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
    def test_truncated(self, format: str, part: float, rgb: Callable[..., np.ndarray]) -> None:
        data = coded(Image.fromarray(rgb(200, 160)), format)
        with pytest.raises(PictureError) as caught:
            load_photo(data[: int(len(data) * part)])
        assert "\n" not in str(caught.value)

    def test_empty_folder_missing_and_forbidden(self, tmp_path: Path) -> None:
        empty = tmp_path / "empty.jpg"
        empty.touch()
        with pytest.raises(PictureError, match=r"empty\.jpg is empty: 0 bytes"):
            load_photo(empty)
        with pytest.raises(PictureError, match="is a folder"):
            load_photo(tmp_path)
        with pytest.raises(PictureError, match="does not exist"):
            load_photo(str(tmp_path / "none.png"))
        with pytest.raises(PictureError):
            load_photo("a\0b")
        with pytest.raises(PictureError, match="empty"):
            load_photo(b"")

    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    @pytest.mark.parametrize("size", [(20_000, 20_000), (65_536, 1), (13_000, 11_000)])
    def test_a_header_that_claims_too_much(self, size: tuple[int, int]) -> None:
        with pytest.raises(LimitExceededError):
            load_photo(forged_png(*size))

    def test_a_file_with_too_many_bytes_is_not_read_to_its_end(self, tmp_path: Path) -> None:
        path = tmp_path / "large.png"
        path.write_bytes(bytes(100))
        with pytest.raises(LimitExceededError, match="more than the 99 bytes"):
            load_photo(path, replace(DEFAULT_LIMITS, max_photo_bytes=99))

    def test_pillow_settings_are_left_alone(self) -> None:
        before = Image.MAX_IMAGE_PIXELS
        with pytest.raises(LimitExceededError):
            load_photo(forged_png(20_000, 20_000))
        assert before == Image.MAX_IMAGE_PIXELS


def gray_gamma_profile(gamma: float) -> bytes:
    """The smallest grey ICC profile (ICC.1:2022, 8.4.2): D50 white and one curve."""

    def text(words: bytes) -> bytes:
        return b"desc\0\0\0\0" + struct.pack(">I", len(words) + 1) + words + b"\0" + bytes(78)

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {
        b"desc": text(b"grey"),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"kTRC": curve,
        b"cprt": b"text\0\0\0\0free\0\0\0\0",
    }
    body, table, offset = b"", struct.pack(">I", len(tags)), 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", offset + len(body), len(value))
        body += value
    header = struct.pack(
        ">I4sI4s4s4s", 132 + 12 * len(tags) + len(body), b"\0\0\0\0", 0x02100000, b"mntr", b"GRAY", b"XYZ "
    )
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return header + bytes(128 - len(header)) + table + body


def _in_boxes(stream: bytes, *cuts: int) -> bytes:
    """A JPEG XL codestream in boxes that end at `cuts`."""

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(body), kind) + body

    ends = [*cuts, len(stream)]
    parts = zip([0, *cuts], ends, range(len(ends)), strict=True)
    boxes = (
        box(b"jxlp", struct.pack(">I", number | (1 << 31) * (end == len(stream))) + stream[begin:end])
        for begin, end, number in parts
    )
    return box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ") + b"".join(boxes)


@pytest.mark.parametrize("cuts", [(0,), (1,), (3,), (1, 2, 3), tuple(range(1, 40))])
def test_the_size_of_a_jpeg_xl_is_found_however_it_is_cut(cuts: tuple[int, ...]) -> None:
    """Its plugin decodes on opening, so a size that is not found first is not checked first."""
    pytest.importorskip("pillow_jxl", reason="needs the extra `formats`")
    stream = coded(Image.new("RGB", (300, 200)), "JXL", lossless=True)
    stream = stream[stream.index(b"\xff\x0a") :]
    assert jxl_size(_in_boxes(stream, *cuts)) == (300, 200)
    with pytest.raises(LimitExceededError, match="300×200"):
        load_photo(_in_boxes(stream, *cuts), replace(DEFAULT_LIMITS, max_pixels=100))


def test_a_jpeg_xl_without_a_size_is_not_opened() -> None:
    pytest.importorskip("pillow_jxl", reason="needs the extra `formats`")
    with pytest.raises(PictureError, match="its size cannot be read"):
        load_photo(_in_boxes(b"\xff", 0))


@pytest.mark.parametrize("tail", [b"\n", b"\0" * 7, b"\0" * 100, b"x" * 100])
def test_what_follows_a_png_is_nobody_s_business(tail: bytes) -> None:
    assert load_photo(coded(Image.new("RGB", (20, 10)), "PNG") + tail).rgb.shape == (10, 20, 3)


def test_a_picture_without_pixels() -> None:
    with pytest.raises(LimitExceededError, match="0×5: it has no pixels"):
        load_photo(Image.new("RGB", (0, 5)))
