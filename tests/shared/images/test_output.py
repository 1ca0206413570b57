"""Reconstructed pictures as files: the pixels, the alpha channel and the metadata arrive."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bbmr_shared.errors import LimitExceededError, UsageError
from bbmr_shared.images.output import OUTPUT_FORMATS, encode_picture, get_format
from bbmr_shared.limits import DEFAULT_LIMITS
from tests.shared import parts

FORMATS = tuple(OUTPUT_FORMATS)
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>\xc3\xbc</x:xmpmeta>"
RGB = parts.picture(64, 48)


def exif(description: str = "a lake") -> bytes:
    block = Image.Exif()
    block[0x010E] = description
    return block.tobytes()


def picture(mode: str = "RGB", **info: object) -> Image.Image:
    image = Image.fromarray(RGB).convert("RGB")
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.linspace(0, 255, 64 * 48).astype(np.uint8).reshape(48, 64)))
    elif mode != "RGB":
        image = image.convert(mode)
    image.info.update(info)
    return image


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def opened(data: bytes, format: str) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=[format.upper()])
    image.load()
    return image


def test_png_is_exact_and_the_others_are_near(format: str) -> None:
    image = opened(encode_picture(picture(), format), format)
    difference = np.abs(np.asarray(image.convert("RGB")).astype(int) - RGB)
    assert image.size == (64, 48)
    assert difference.max() == 0 if format == "png" else difference.mean() < 6


@pytest.mark.parametrize("marker", [b"Exif\0\0", b""], ids=["with marker", "bare"])
def test_metadata_arrives(marker: bytes, format: str) -> None:
    block = marker + exif().removeprefix(b"Exif\0\0")
    image = opened(encode_picture(picture(icc_profile=b"profile", exif=block, xmp=XMP), format), format)
    assert image.info["icc_profile"] == b"profile"
    assert image.getexif()[0x010E] == "a lake"
    assert image.info["xmp"] == XMP


def test_nothing_is_added_where_there_is_no_metadata(format: str) -> None:
    image = opened(encode_picture(picture(comment=b"x"), format), format)
    assert not {"icc_profile", "exif", "xmp", "comment", "XML:com.adobe.xmp"} & set(image.info)
    assert image.info.get("dpi", (72, 72)) == (72, 72)


def test_pixels_per_inch_arrive_where_the_format_has_a_place_for_them(format: str) -> None:
    found = opened(encode_picture(picture(dpi=(300, 150)), format), format).info.get("dpi")
    assert (found == pytest.approx((300, 150), abs=0.1)) if format in {"png", "jpeg"} else found is None


def test_pixels_per_inch_that_jpeg_cannot_name_are_left_out() -> None:
    assert opened(encode_picture(picture(dpi=(90_000, 90_000)), "jpeg"), "jpeg").info.get("dpi") is None


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_stays_grey(mode: str, format: str) -> None:
    grey = Image.fromarray(RGB).convert("L").convert(mode)
    image = opened(encode_picture(grey, format), format)
    # WebP has no grey, AVIF none with alpha; and Pillow 11 and 12 open a grey AVIF as RGB.
    assert image.mode in {"L", "LA"} or format in {"webp", "avif"}
    if (format, mode) == ("avif", "L"):
        assert np.ptp(np.asarray(image.convert("RGB")), axis=2).max() == 0
    assert np.abs(np.asarray(image.convert("L")).astype(int) - np.asarray(grey.convert("L"))).mean() < 6


def test_damaged_metadata_does_not_cost_the_picture(format: str) -> None:
    broken = picture(icc_profile=b"?", exif=b"Exif\0\0MM\0*\xff\xff", xmp=b"\xff\xfe")
    assert opened(encode_picture(broken, format), format).size == (64, 48)


def test_metadata_over_jpeg_s_segment_is_left_out() -> None:
    large = picture(exif=exif("x" * 70_000), xmp=b"<x/>" * 20_000, icc_profile=b"p" * 200_000)
    image = opened(encode_picture(large, "jpeg"), "jpeg")
    assert "exif" not in image.info
    assert "xmp" not in image.info
    assert image.info["icc_profile"] == b"p" * 200_000
    assert len(opened(encode_picture(large, "png"), "png").info["exif"]) > 70_000


@pytest.mark.parametrize("format", [name for name, row in OUTPUT_FORMATS.items() if row.alpha])
def test_alpha_is_kept(format: str) -> None:
    image = opened(encode_picture(picture("RGBA"), format), format)
    assert image.mode == "RGBA"
    expected = np.asarray(picture("RGBA").getchannel("A")).astype(int)
    assert np.abs(np.asarray(image.getchannel("A")).astype(int) - expected).max() <= (
        0 if format == "png" else 8
    )


def test_jpeg_lays_alpha_on_white() -> None:
    clear = Image.new("RGBA", (16, 16), (10, 200, 30, 0))
    assert opened(encode_picture(clear, "jpeg"), "jpeg").getpixel((8, 8)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["L", "P", "LA", "CMYK", "1", "I;16"])
def test_every_mode_is_written(mode: str, format: str) -> None:
    assert opened(encode_picture(picture(mode), format), format).size == (64, 48)


@pytest.mark.parametrize(("format", "longest"), [("webp", 16_383), ("avif", 32_768), ("jpeg", 65_500)])
def test_the_longest_side_of_a_format_is_written_and_one_more_is_a_clear_error(
    format: str, longest: int
) -> None:
    for size in ((longest, 1), (1, longest)):
        assert opened(encode_picture(Image.new("RGB", size), format), format).size == size
    for size in ((longest + 1, 1), (1, longest + 1)):
        with pytest.raises(LimitExceededError, match=rf"{format} holds at most {longest} .* ask for png"):
            encode_picture(Image.new("RGB", size), format)


@pytest.mark.parametrize("size", [(65_535, 1), (1, 65_535)])
def test_png_holds_every_picture_within_the_limits(size: tuple[int, int]) -> None:
    DEFAULT_LIMITS.check_dimensions(*size)
    assert max(size) == DEFAULT_LIMITS.max_side
    assert opened(encode_picture(Image.new("RGB", size), "png"), "png").size == size


def test_names_of_formats() -> None:
    assert get_format("JPG") is get_format(".jpeg") is OUTPUT_FORMATS["jpeg"]
    assert [OUTPUT_FORMATS[name].mime for name in FORMATS] == [f"image/{name}" for name in FORMATS]
    with pytest.raises(UsageError, match="png, webp, avif, jpeg"):
        encode_picture(picture(), "gif")
