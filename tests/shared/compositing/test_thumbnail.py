"""Small pictures: the size that was asked for, what the whole picture shows, and no more compositing than needed."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bbmr_shared import RATES, Container
from bbmr_shared.compositing.composite import DecodedPlanes, coarse_levels, preview, reduced
from bbmr_shared.compositing.region import Region
from bbmr_shared.compositing.thumbnail import GAP, at_level, fitted, level_for, thumbnail
from bbmr_shared.container import Plane
from bbmr_shared.grid import BlockGrid
from bbmr_shared.images.codecs import encode_plane
from bbmr_shared.metrics import psnr_rgb
from tests.hypothesis_profiles import examples
from tests.shared import parts
from tests.shared.parts import Picture


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


def of_the_whole(made: Container, side: int, region: Region) -> tuple[Image.Image, Image.Image]:
    """A part scaled down, from all planes and the whole level: cut to what a Lanczos filter sees, and not cut.

    Where it is scaled at all, both are the same filter over the same samples. They differ by rounding: Pillow begins
    with the rows or with the columns, as the size of what it is given says.
    """
    x, y, width, height = region
    target = fitted(width, height, side)
    level = level_for(made, (width, height), (GAP * target[0], GAP * target[1]))
    whole = at_level(made, level)
    if target == (width, height):
        part = whole.crop((x, y, x + width, y + height))
        return part, part
    wide, high = 3 * max(1, width / level / target[0]), 3 * max(1, height / level / target[1])
    left, top = max(0, math.floor(x / level - wide)), max(0, math.floor(y / level - high))
    right = min(whole.width, math.ceil((x + width) / level + wide))
    bottom = min(whole.height, math.ceil((y + height) / level + high))
    box = (x / level, y / level, (x + width) / level, (y + height) / level)
    moved = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    cut = whole.crop((left, top, right, bottom))
    lanczos = Image.Resampling.LANCZOS
    return cut.resize(target, lanczos, box=moved), whole.resize(target, lanczos, box=box)


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data())
def test_a_region_is_that_of_the_whole_composite(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 700)), data.draw(st.integers(1, 500))
    made = parts.container(
        width,
        height,
        block=data.draw(st.sampled_from([16, 32, 64, 128])),
        rates=data.draw(st.lists(st.sampled_from(RATES), min_size=1, unique=True)),
        codec="png",
        alpha=data.draw(st.sampled_from([False, False, False, True])),
        channels=data.draw(st.sampled_from([3, 3, 1])),
        seed=data.draw(st.integers(0, 1000)),
    )
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    region = (x, y, data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y)))
    side = data.draw(st.one_of(st.integers(1, 40), st.integers(1, 700)))
    small = np.asarray(thumbnail(made, side, region))
    given_planes = np.asarray(thumbnail(made, side, region, made.decode_planes()))
    cut, whole = (np.asarray(one) for one in of_the_whole(made, side, region))
    np.testing.assert_array_equal(small, cut)
    np.testing.assert_array_equal(small, given_planes)
    if made.alpha is None:  # otherwise a colour of almost no opacity may be divided by one more or less
        assert np.abs(small.astype(int) - whole).max() <= 2


@pytest.mark.parametrize("side", [40, 100, 10])
def test_only_the_planes_around_a_region_are_decoded_and_composited(
    monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    grid = BlockGrid(1024, 256, 32)
    rates = np.full(grid.shape, 8, np.uint8)
    rates[:, 16:] = 1
    rates[:, :2] = 2
    samples = parts.plane_samples(parts.picture(1024, 256), rates, grid)
    planes = tuple(Plane(rate, *encode_plane(plane, "png")) for rate, plane in samples.items())
    made = Container(1024, 256, rates, planes, block=32)
    decoded: list[Collection[int]] = []
    composited = []
    decode = Container.decode_planes

    def noted_decode(self: Container, wanted: Collection[int] = RATES) -> DecodedPlanes:
        decoded.append(sorted(wanted))
        return decode(self, wanted)

    def noted_reduced(planes: DecodedPlanes, rate_map: Picture, grid: BlockGrid, level: int) -> Picture:
        composited.append(grid.width * grid.height)
        return reduced(planes, rate_map, grid, level)

    monkeypatch.setattr(Container, "decode_planes", noted_decode)
    monkeypatch.setattr("bbmr_shared.compositing.thumbnail.reduced", noted_reduced)
    thumbnail(made, side, (200, 50, 100, 60))
    assert decoded == [[8]]
    assert all(pixels <= 400 * 256 for pixels in composited)


def test_a_region_that_leaves_the_picture_is_refused(made: Container) -> None:
    for region in [(0, 0, 602, 403), (-1, 0, 10, 10), (5, 5, 0, 1), (601, 403, 1, 1)]:
        with pytest.raises(ValueError, match="region"):
            thumbnail(made, 5, region)


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
