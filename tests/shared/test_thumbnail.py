"""Small pictures: the size that was asked for, what the whole picture shows, and no more compositing than needed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bbmr_shared import RATES, Container
from bbmr_shared.composite import coarse_levels, preview, reduced
from bbmr_shared.metrics import psnr_rgb
from bbmr_shared.thumbnail import at_level, fitted, level_for, thumbnail
from tests.shared import parts


@pytest.fixture(scope="module")
def made() -> Container:
    return parts.container(601, 403)


@pytest.mark.parametrize("finest", RATES[1:])
@pytest.mark.parametrize("rates", [(1, 2, 4, 8, 16), (4, 16), (1,), (16,)])
def test_stopping_early_changes_no_level(rates: tuple[int, ...], finest: int) -> None:
    made = parts.container(300, 200, rates=list(rates))
    planes = made.decode_planes()
    whole = coarse_levels(planes, made.rate_map, made.grid)
    some = coarse_levels(planes, made.rate_map, made.grid, finest)
    assert set(some) == {level for level in whole if level >= finest}
    assert all((some[level] == whole[level]).all() for level in some)
    rounded = np.floor(whole[finest] / 32 + 0.5)
    assert (reduced(planes, made.rate_map, made.grid, finest) == rounded).all()


@pytest.mark.parametrize("level", RATES)
def test_a_level_is_the_picture_at_that_part_of_its_size(made: Container, level: int) -> None:
    picture = at_level(made, level)
    assert picture.size == (-(-601 // level), -(-403 // level))
    mean = preview(made).reduce(level)
    # Half a level apart at most where means of means are taken; coarser blocks are interpolated on the way up.
    assert psnr_rgb(np.asarray(picture)[:-1, :-1], np.asarray(mean)[:-1, :-1]) > 30


@pytest.mark.parametrize("side", [1, 7, 20, 37, 100, 150, 300, 600])
def test_a_thumbnail_is_the_preview_scaled_down(made: Container, side: int) -> None:
    small = thumbnail(made, side)
    expected = preview(made)
    expected.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=None)
    assert small.size == expected.size
    assert psnr_rgb(np.asarray(small), np.asarray(expected)) > 33


def test_it_is_never_scaled_up_and_carries_what_the_photo_carried() -> None:
    made = parts.container(101, 67, icc=b"i", exif=b"e", xmp=b"x")
    for side in (101, 5000):
        same = thumbnail(made, side)
        assert np.array_equal(np.asarray(same), np.asarray(preview(made)))
    assert thumbnail(made, 20).info == {"icc_profile": b"i", "exif": b"e", "xmp": b"x"}


def test_a_region_is_scaled_down_by_itself(made: Container) -> None:
    region = (33, 21, 320, 200)
    small = thumbnail(made, 40, region)
    whole = preview(made).crop((33, 21, 353, 221)).resize((40, 25), Image.Resampling.LANCZOS)
    assert small.size == (40, 25)
    assert psnr_rgb(np.asarray(small), np.asarray(whole)) > 33
    assert np.array_equal(
        np.asarray(thumbnail(made, 320, region)), np.asarray(preview(made).crop((33, 21, 353, 221)))
    )


def test_hidden_colours_do_not_run_into_the_visible_ones() -> None:
    made = parts.container(300, 200, alpha=True)
    assert level_for(made, (300, 200), (10, 10)) == 1
    assert thumbnail(made, 50).mode == "RGBA"
    with pytest.raises(ValueError, match="level 2"):
        at_level(made, 2)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (17, 16)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    made = parts.container(*size, rates=[4])
    for side in (1, 3, 16):
        small = thumbnail(made, side)
        assert 1 <= max(small.size) <= side
        assert small.size == fitted(*size, side)


def test_the_shape_is_kept_as_pillow_keeps_it() -> None:
    for width, height, side in [
        (2560, 1440, 1000),
        (1440, 2560, 999),
        (3, 1000, 10),
        (101, 67, 13),
        (5, 5, 2),
    ]:
        blank = Image.new("L", (width, height))
        blank.thumbnail((side, side))
        assert fitted(width, height, side) == blank.size
