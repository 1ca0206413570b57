"""A window composites its region as the whole picture does, bit for bit, and holds no more blocks than that takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbmr_client.encoding.encoder import encode
from bbmr_shared.compositing.composite import base, coarse_levels, composite, preview
from bbmr_shared.compositing.window import REACH, window_around
from bbmr_shared.grid import RATES, BlockGrid
from bbmr_shared.images import codecs
from tests.hypothesis_profiles import examples


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
def test_a_window_is_that_part_of_the_composite(data: st.DataObject) -> None:
    block = data.draw(st.sampled_from([16, 32, 64, 128]))
    grid = BlockGrid(data.draw(st.integers(1, 500)), data.draw(st.integers(1, 500)), block)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    rates = data.draw(st.lists(st.sampled_from(RATES), min_size=1, unique=True))
    rate_map = rng.choice(np.array(rates, np.uint8), grid.shape)
    planes = {
        rate: rng.integers(0, 256, (*grid.plane_size(rate)[::-1], 3), np.uint8)
        for rate in map(int, np.unique(rate_map))
    }
    x, y = data.draw(st.integers(0, grid.width - 1)), data.draw(st.integers(0, grid.height - 1))
    area = (x, y, data.draw(st.integers(1, grid.width - x)), data.draw(st.integers(1, grid.height - y)))
    window = window_around(grid, area)
    cut_map = window.of_blocks(rate_map)
    needed = {rate: planes[rate] for rate in map(int, np.unique(cut_map))}
    part = composite(window.of_planes(needed), cut_map, window.grid)
    whole = composite(planes, rate_map, grid)
    rows = slice(area[1], area[1] + area[3])
    columns = slice(area[0], area[0] + area[2])
    np.testing.assert_array_equal(
        part[area[1] - window.y :][: area[3], area[0] - window.x :][:, : area[2]], whole[rows, columns]
    )


def test_a_window_holds_the_blocks_within_reach_and_no_others() -> None:
    window = window_around(BlockGrid(7680, 4320), (1280, 1280, 512, 512))
    assert (window.x, window.y) == (1152, 1152)
    assert (window.grid.width, window.grid.height) == (768, 768)
    assert window_around(BlockGrid(300, 200), (0, 0, 300, 200)).grid.padded_width == 304
    assert 86 <= REACH <= 128


def test_rows_of_blocks_are_those_of_the_whole_base() -> None:
    grid = BlockGrid(300, 410)
    rate_map = np.random.default_rng(1).choice(np.array(RATES, np.uint8), grid.shape)
    planes = {
        rate: np.full((*grid.plane_size(rate)[::-1], 3), rate * 9, np.uint8)
        for rate in map(int, np.unique(rate_map))
    }
    levels = coarse_levels(planes, rate_map, grid)
    whole = base(levels, planes, rate_map, grid)
    for first, last in ((0, 1), (1, 3), (3, 4), (0, 4)):
        part = base(levels, planes, rate_map, grid, range(first, last))
        np.testing.assert_array_equal(part, whole[first * 128 : last * 128])


def test_a_preview_of_a_region_decodes_only_the_planes_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.zeros((256, 1024, 3), np.uint8)
    picture[:, 640:] = np.random.default_rng(0).integers(0, 256, (256, 384, 3))
    container = encode(picture, rate=4)
    left = container.rate_map[:, :3]
    assert set(left.flat) < set(container.rate_map.flat)
    decoded = []
    decode = codecs.decode
    monkeypatch.setattr(codecs, "decode", lambda data, *rest: decoded.append(data) or decode(data, *rest))
    preview(container, (0, 0, 100, 100))
    assert len(decoded) == len(set(left.flat)) < len(container.planes)
