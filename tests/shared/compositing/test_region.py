"""The rectangle that is asked for: how it is written, and that it lies in the picture."""

from __future__ import annotations

import pytest

from bbmr_shared.compositing.region import check_region, parse_region


def test_four_numbers_are_read() -> None:
    assert parse_region("0,10,200,3000") == (0, 10, 200, 3000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1,2,3",
        "0,0,1,1,1",
        "0,0,1_0,1",
        "0,0,+1,1",
        "0, 0,1,1",
        "-1,0,1,1",
        "٠,0,1,1",
        "0,0,1,1\n",
        "9" * 5000,
    ],
)
def test_anything_but_digits_and_commas_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="X,Y,W,H"):
        parse_region(text)


@pytest.mark.parametrize("text", ["0,0,0,1", "0,0,1,0"])
def test_an_empty_rectangle_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        parse_region(text)


def test_the_whole_picture_is_a_region_of_it() -> None:
    check_region((0, 0, 40, 30), 40, 30)


@pytest.mark.parametrize(
    "region", [(1, 0, 40, 30), (0, 1, 40, 30), (-1, 0, 5, 5), (0, -1, 5, 5), (40, 0, 1, 1)]
)
def test_a_region_that_leaves_the_picture_is_refused(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="leaves the picture of 40×30"):
        check_region(region, 40, 30)


def test_an_empty_region_is_refused_by_the_check_too() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        check_region((0, 0, 0, 1), 40, 30)
