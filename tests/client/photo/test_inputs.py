"""The table of input files: what `docs/inputs.md` says happens to each of them is what happens."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from bbmr_client.encoding.encoder import encode
from bbmr_client.photo import load_photo
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.errors import LimitExceededError, PictureError
from tests.client.photo.inputs.parts import ORIENTATION
from tests.client.photo.inputs.table import ANY, Kept, Refused, Row
from tests.client.photo.inputs.write import GROUPS, PAGE, page

ROWS = [row for rows in GROUPS.values() for row in rows]
REFUSED = [row for row in ROWS if isinstance(row.expected, Refused)]
KEPT = [row for row in ROWS if isinstance(row.expected, Kept)]


def made(row: Row, folder: Path) -> Path:
    if row.needs is not None and importlib.util.find_spec(row.needs) is None:
        pytest.skip(f"{row.needs} is not installed (extra 'formats')")
    path = folder / row.file
    data = row.make()
    if data is None:
        path.mkdir()
    else:
        path.write_bytes(data)
    return path


def as_pillow_reads_it(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGBA").convert("RGB"))


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.client.photo.inputs.write"
    assert len(ROWS) >= 100
    assert len({row.file for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.file)
def test_refused(row: Row, tmp_path: Path) -> None:
    expected = row.expected
    assert isinstance(expected, Refused)
    with pytest.raises(LimitExceededError if expected.limit else PictureError) as caught:
        load_photo(made(row, tmp_path))
    words = str(caught.value).removeprefix(f"{tmp_path / row.file}")
    assert words.startswith(expected.says) if expected.partial else words == expected.says
    assert words.count("\n") == 0
    assert len(words) < 250


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("row", KEPT, ids=lambda row: row.file)
def test_kept(row: Row, tmp_path: Path) -> None:
    expected = row.expected
    assert isinstance(expected, Kept)
    path = made(row, tmp_path)
    photo = load_photo(path)
    options = dict(expected.options)
    container = encode(photo, rate=expected.rate, uniform=True, codec="png", effort=0, **options)
    picture = preview(Container.from_bytes(container.to_bytes()))
    colours = np.asarray(picture.convert("RGB"))
    wanted = as_pillow_reads_it(path) if expected.rgb is None else expected.rgb()

    assert photo.notes == expected.notes
    assert picture.mode == expected.mode
    assert expected.size in (None, picture.size)
    assert colours.shape == wanted.shape
    if expected.tolerance:
        assert np.abs(colours.astype(int) - wanted).max() <= expected.tolerance
    else:
        assert np.array_equal(colours, wanted)
    if picture.mode.endswith("A"):
        alpha = np.asarray(picture.getchannel("A")).astype(int)
        lossy = 12 if "alpha_quality" in options else 0
        assert expected.alpha is None or np.abs(alpha - expected.alpha()).max() <= lossy
    check_metadata(picture, expected)


def check_metadata(picture: Image.Image, expected: Kept) -> None:
    info = picture.info
    assert info.get("icc_profile") == expected.icc or (expected.icc is ANY and info["icc_profile"])
    assert info.get("xmp") == expected.xmp
    assert info.get("dpi") == expected.dpi
    block = info.get("exif")
    if expected.exif:
        assert all(part in block for part in expected.exif)
    if block is not None:
        assert picture.getexif().get(ORIENTATION, 1) == 1
