"""The drawing of a difference: its scale, its colours, and the enlarged places."""

from __future__ import annotations

import numpy as np
import pytest

from bbmr_client.reports.difference import (
    DETAIL_SIZE,
    difference_map,
    difference_sheet,
    differences,
    heat_map,
    scale_end,
    worst_details,
)
from bbmr_shared.metrics import compare


def flat(width: int, height: int, value: int = 100) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_a_pixel_differs_by_its_largest_channel_in_either_direction() -> None:
    a, b = flat(4, 3), flat(4, 3)
    b[0, 0] = (90, 100, 103)
    b[2, 3] = (255, 0, 100)
    amount = differences(a, b)
    assert amount[0, 0] == 10
    assert amount[2, 3] == 155
    assert amount.sum() == 165
    assert np.array_equal(differences(b, a), amount)


def test_pictures_of_two_sizes_have_no_difference() -> None:
    with pytest.raises(ValueError, match="unequal"):
        differences(flat(4, 3), flat(3, 4))


@pytest.mark.parametrize(
    ("most", "top"), [(0, 4), (4, 4), (5, 8), (60, 64), (128, 128), (129, 255), (255, 255)]
)
def test_the_scale_ends_where_hardly_anything_exceeds_it(most: int, top: int) -> None:
    amount = np.full((100, 100), most, np.uint8)
    assert scale_end(amount) == top
    amount[0, :100] = 255  # one in a hundred
    assert scale_end(amount) == top
    amount[1, 0] = 255
    assert scale_end(amount) == 255


def test_brighter_is_more() -> None:
    amount = np.arange(256, dtype=np.uint8)[None]
    light = np.asarray(heat_map(flat(256, 1, 0), amount, 64)).astype(int).sum(axis=2)[0]
    assert light[0] == 0
    assert (np.diff(light[:65]) > 0).mean() > 0.9
    assert (light[64:] == light[64]).all()


def test_where_nothing_differs_the_picture_shows_through() -> None:
    reference = flat(20, 10, 0)
    reference[:, 10:] = 255
    shown = np.asarray(heat_map(reference, np.zeros((10, 20), np.uint8), 8))
    assert (shown[:, :10] == 0).all()
    assert 30 < shown[0, 15, 0] < 80


def test_the_worst_details_are_found_and_do_not_overlap() -> None:
    amount = np.ones((900, 1300), np.uint8)
    amount[700:740, 100:150] = 200
    amount[300:340, 1000:1050] = 150
    places = worst_details(amount)
    assert [(right - left, bottom - top) for left, top, right, bottom in places] == [DETAIL_SIZE] * 2
    for (left, top, right, bottom), (x, y) in zip(places, [(125, 720), (1025, 320)], strict=True):
        assert left <= x < right
        assert top <= y < bottom
        assert 0 <= left < right <= 1300
        assert 0 <= top < bottom <= 900


def test_equal_or_small_pictures_have_no_worst_places() -> None:
    assert worst_details(np.zeros((900, 1300), np.uint8)) == []
    assert worst_details(np.full((100, 100), 9, np.uint8)) == []


@pytest.mark.parametrize("size", [(1, 1), (40, 900), (900, 40), (700, 400)])
def test_any_size_can_be_drawn(size: tuple[int, int]) -> None:
    a, b = flat(*size), flat(*size, 110)
    figures = compare(a, b)
    assert difference_map(a, b).width >= size[0]
    sheet = difference_sheet(a, b, ("a", "b"), figures)
    assert sheet.width < 2500
    assert difference_sheet(a, a, ("a", "b"), compare(a, a)).size[0] == sheet.size[0]
