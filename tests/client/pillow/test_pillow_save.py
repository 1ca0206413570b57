"""The Pillow plugin: `Image.save` writes what `encode` makes, with its options and Pillow's own for metadata."""

from __future__ import annotations

import io
from collections.abc import Callable
from inspect import Parameter, signature
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bbmr_client.pillow as plugin
from bbmr_client.encoding.encoder import encode
from bbmr_shared.container.signature import SIGNATURE
from tests.client.pillow.pillow_parts import SRGB, XMP, exif, opened, saved

Rgb = Callable[..., np.ndarray]


def test_it_is_what_encode_makes(photo: Path, tmp_path: Path) -> None:
    with Image.open(photo) as picture:
        picture.save(tmp_path / "out.bbmr", rate=2, codec="png", effort=1, rates=[1, 2, 4])
    expected = encode(str(photo), rate=2, codec="png", effort=1, rates=[1, 2, 4])
    assert (tmp_path / "out.bbmr").read_bytes() == expected.to_bytes()


def test_the_options_are_those_of_encode() -> None:
    known = signature(encode).parameters.values()
    names = {one.name for one in known if one.kind is Parameter.KEYWORD_ONLY}
    assert {"rate", "rates", "uniform", "codec", "effort", "model"} <= names
    assert set(plugin.save_options()) == names | {"icc_profile", "exif", "xmp", "dpi"}


def test_an_unknown_option_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"qualtiy.*rate"):
        Image.new("RGB", (8, 8)).save(tmp_path / "x.bbmr", qualtiy=3)
    assert not list(tmp_path.iterdir())


def test_a_wrong_value_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 to 16"):
        Image.new("RGB", (8, 8)).save(tmp_path / "x.bbmr", rate=17)
    assert not list(tmp_path.iterdir())


def test_a_mode_that_is_not_read_is_an_os_error() -> None:
    with pytest.raises(OSError, match="mode F"):
        saved(Image.new("F", (8, 8)))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "I;16"]
)
def test_every_mode(mode: str) -> None:
    picture = Image.new(mode, (40, 24))
    assert saved(picture, rate=1) == encode(picture, rate=1)


def test_file_objects(rgb: Rgb) -> None:
    file = io.BytesIO(b"before")
    file.seek(6)
    Image.fromarray(rgb(64, 48)).save(file, "BBMR")
    assert file.getvalue().startswith(b"before" + SIGNATURE)


def test_metadata_is_kept_from_the_picture(rgb: Rgb) -> None:
    file = io.BytesIO()
    Image.fromarray(rgb(64, 48)).save(file, "PNG", icc_profile=SRGB, exif=exif(), dpi=(200, 100))
    container = saved(Image.open(file))
    assert container.icc == SRGB
    assert opened(container).getexif()[315] == "someone"


@pytest.mark.parametrize("as_bytes", [False, True])
def test_arguments_win(rgb: Rgb, as_bytes: bool) -> None:
    file = io.BytesIO()
    Image.fromarray(rgb(64, 48)).save(file, "PNG", exif=exif(artist="first"))
    tags = exif(artist="second")
    given = tags.tobytes() if as_bytes else tags
    with Image.open(file) as picture:
        made = saved(picture, exif=given, icc_profile=SRGB, xmp=XMP.decode())
        assert picture.getexif()[315] == "first", "the picture itself is as it was"
    assert opened(made).getexif()[315] == "second"
    assert (made.icc, made.xmp) == (SRGB, XMP)


def test_none_takes_it_off(rgb: Rgb) -> None:
    file = io.BytesIO()
    Image.fromarray(rgb(64, 48)).save(file, "PNG", exif=exif(), icc_profile=SRGB)
    made = saved(Image.open(file), exif=None, icc_profile=None)
    assert (made.exif, made.icc) == (None, None)


def test_orientation_is_applied_once(rgb: Rgb) -> None:
    upright = Image.fromarray(rgb(64, 48))
    made = saved(upright, exif=exif(6), rate=1)
    assert (made.width, made.height) == (48, 64)
    again = saved(opened(made), rate=1)
    assert (again.width, again.height) == (48, 64)
    assert opened(again).getexif()[274] == 1
    assert np.array_equal(np.asarray(opened(made)), np.asarray(upright.transpose(Image.Transpose.ROTATE_270)))


def test_tags_of_a_tiff_file_survive_another_profile(rgb: Rgb) -> None:
    file = io.BytesIO()
    Image.fromarray(rgb(64, 48)).save(file, "TIFF", exif=exif())
    made = saved(Image.open(file), icc_profile=SRGB)
    assert opened(made).getexif()[315] == "someone"
    assert 256 not in opened(made).getexif(), "no tag says how the pixels of the TIFF file lay"


def test_pixels_per_inch(rgb: Rgb, tmp_path: Path) -> None:
    Image.fromarray(rgb(64, 48)).save(tmp_path / "x.jpg", dpi=(300, 150))
    with Image.open(tmp_path / "x.jpg") as picture:
        assert opened(saved(picture)).info["dpi"] == (300, 150)
        assert opened(saved(picture, dpi=72)).info["dpi"] == (72, 72)
        assert opened(saved(picture, dpi=(300, 150), exif=exif(6))).info["dpi"] == (150, 300)
        assert "dpi" not in opened(saved(picture, dpi=None)).info
        assert "dpi" not in opened(saved(picture, metadata="icc")).info
        for wrong in ((0, 1), (1,), "much", (float("nan"), 1), (1e9, 1)):
            with pytest.raises(ValueError, match="dpi"):
                saved(picture, dpi=wrong)


def test_grey_stays_grey(rgb: Rgb) -> None:
    grey = Image.fromarray(rgb(64, 48)).convert("L")
    again = opened(saved(grey, rate=1))
    assert again.mode == "L"
    assert np.array_equal(np.asarray(again), np.asarray(grey))
    grey.putalpha(Image.linear_gradient("L").resize(grey.size))
    assert opened(saved(grey, alpha_quality=90)).mode == "LA"


def test_over_the_file_it_came_from(rgb: Rgb, tmp_path: Path) -> None:
    path = tmp_path / "x.bbmr"
    Image.fromarray(rgb(64, 48)).save(path, rate=1)
    picture = Image.open(path)
    picture.save(path, rate=1)
    assert np.array_equal(np.asarray(Image.open(path)), rgb(64, 48))


def test_there_is_no_second_picture(tmp_path: Path) -> None:
    one = Image.new("RGB", (8, 8))
    one.save(tmp_path / "one.bbmr", save_all=True)
    with pytest.raises(ValueError, match="one picture"):
        one.save(tmp_path / "two.bbmr", save_all=True, append_images=[one])
    assert not (tmp_path / "two.bbmr").exists()


def test_what_is_lost_is_warned_of(recwarn: pytest.WarningsRecorder) -> None:
    saved(Image.new("L", (8, 8)))
    assert not recwarn
    with pytest.warns(UserWarning, match="16 bits a sample are reduced to 8") as caught:
        saved(Image.new("I;16", (8, 8)))
    assert caught[0].filename.endswith("pillow_parts.py"), "it points to the line that called save"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"exif": b"junk"}, ValueError, "no EXIF block"),
        ({"exif": "text"}, TypeError, "exif is bytes"),
        ({"icc_profile": 3}, TypeError, "icc_profile is bytes"),
        ({"limits": 3}, TypeError, "limits is a"),
        ({"model": "no such name"}, ValueError, "is not a name"),
        ({"rate": "four"}, ValueError, "'four'"),
    ],
)
def test_arguments_that_make_no_sense(
    options: dict[str, object], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        Image.new("RGB", (8, 8)).save(tmp_path / "x.bbmr", **options)
    assert not list(tmp_path.iterdir())
