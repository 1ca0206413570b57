"""Wrong arguments of the library raise a `BbmrError`, whether their value or their type is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bbmr_shared import BlockGrid, Container, Limits, Plane
from bbmr_shared.compositing.composite import preview
from bbmr_shared.compositing.region import check_region, parse_region
from bbmr_shared.compositing.thumbnail import at_level, thumbnail
from bbmr_shared.container.frame import read_header
from bbmr_shared.errors import InvalidArgumentError, MalformedContainerError, UsageError
from bbmr_shared.images.codecs import CodecOptions, coding_error_byte, encode_plane
from bbmr_shared.images.output import encode_picture
from bbmr_shared.metrics import compare
from tests.shared import parts

ANY: Any = None
CONTAINER = parts.container()
SAMPLES = np.zeros((16, 16, 3), np.uint8)

CALLS: dict[str, Callable[[Any], object]] = {
    "grid, width": lambda x: BlockGrid(x, 8),
    "grid, height": lambda x: BlockGrid(8, x),
    "grid, block": lambda x: BlockGrid(8, 8, x),
    "region of a check": lambda x: check_region(x, 40, 30),
    "region of a preview": lambda x: preview(CONTAINER, x if x is not None else ()),
    "region of a thumbnail": lambda x: thumbnail(CONTAINER, 8, x if x is not None else ()),
    "side of a thumbnail": lambda x: thumbnail(CONTAINER, x),
    "level": lambda x: at_level(CONTAINER, x),
    "limit": lambda x: Limits(max_pixels=x),
    "bytes": lambda x: Container.from_bytes(x),
}
WRONG = [None, "4", 3.5, -1, (), (0, 0, 1), (0, 0, 0.5, 1), (0, 0, 0, 1), (10**6, 0, 1, 1)]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_wrong_argument(call: Callable[[Any], object], wrong: object) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        call(wrong)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, UsageError)
    assert "\n" not in str(caught.value)


def test_numpy_s_numbers_are_numbers() -> None:
    assert BlockGrid(ANY or np.int64(8), ANY or np.int32(8), ANY or np.uint8(16)).shape == (1, 1)
    check_region((np.int64(0), np.int64(0), np.int64(1), np.int64(1)), 1, 1)


def test_bytes_of_a_header_of_another_type() -> None:
    with pytest.raises(InvalidArgumentError, match="not str"):
        read_header(ANY or "text")


@pytest.mark.parametrize("text", ["", "1,2,3"])
def test_a_region_that_is_not_written_as_one(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="X,Y,W,H"):
        parse_region(text)


def test_other_functions_with_numbers() -> None:
    with pytest.raises(InvalidArgumentError):
        coding_error_byte(-1.0)
    with pytest.raises(InvalidArgumentError):
        compare(SAMPLES, SAMPLES[:8])


@pytest.mark.parametrize("option", ["quality", "speed", "effort"])
@pytest.mark.parametrize("wrong", [3.5, "4", -1, 101, True])
def test_options_of_a_plane_codec(option: str, wrong: object) -> None:
    with pytest.raises(UsageError, match=option):
        CodecOptions(**{option: ANY or wrong})
    with pytest.raises(UsageError, match=option):
        encode_plane(SAMPLES, "avif", **{"quality": 50, option: ANY or wrong})


@pytest.mark.parametrize("format", ["gif", "", 5])
def test_an_output_format_that_is_not_known(format: object) -> None:
    with pytest.raises(UsageError, match="output format"):
        encode_picture(preview(CONTAINER), ANY or format)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("width", 40.0),
        ("block", "16"),
        ("rate_map", [[1]]),
        ("strength_map", 2),
        ("planes", 5),
        ("planes", (5,)),
        ("planes", (Plane(1, "png", ANY or "data"),)),
        ("planes", (Plane(1, ANY or 5, b"data"),)),
        ("planes", (Plane(ANY or "1", "png", b"data"),)),
        ("planes", (Plane(1, "png", b"data", error=ANY or 0.5),)),
        ("alpha", b"data"),
        ("icc", "profile"),
        ("exif", 5),
        ("xmp", "text"),
        ("downscaler", None),
        ("downscaler_version", 1.5),
        ("model", 5),
        ("strength", 1.0),
        ("strength", True),
        ("channels", 3.0),
        ("dpi", 300),
        ("dpi", ("300", "300")),
        ("original", 1),
        ("extra", ["a"]),
    ],
)
def test_a_part_of_a_container_of_the_wrong_type(field: str, wrong: object) -> None:
    with pytest.raises(MalformedContainerError):
        replace(CONTAINER, **{field: ANY or wrong})
