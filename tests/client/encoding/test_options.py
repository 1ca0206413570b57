"""The options of `encode`: what is refused, with which words, and what `lossless` promises."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, replace
from inspect import Parameter, signature
from io import BytesIO, TextIOWrapper
from typing import Any

import numpy as np
import pytest

from bbmr_client import BbmrError, LimitExceededError, UsageError, encode, load_photo
from bbmr_client.encoding.budget import DEFAULT_QUALITY, Budget
from bbmr_client.encoding.options import EncodeOptions
from bbmr_shared.compositing.composite import preview
from bbmr_shared.limits import DEFAULT_LIMITS

Rgb = Callable[..., np.ndarray]
PIXELS = np.zeros((16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"effort": 3.5}, "effort is a whole number from 0 to 9, not 3.5"),
        ({"effort": 10}, "effort"),
        ({"effort": "4"}, "effort"),
        ({"effort": None}, "effort"),
        ({"rate": "four"}, "from 1 to 16, not 'four'"),
        ({"rate": 17}, "from 1 to 16, not 17"),
        ({"rate": float("nan")}, "from 1 to 16, not nan"),
        ({"rate": 16, "rates": [1, 2]}, "at least 16 in the palette"),
        ({"rate": 3, "uniform": True}, "uniform rate of 3"),
        ({"rates": [3]}, "1, 2, 4, 8, 16, not 3"),
        ({"rates": []}, "the rates are among"),
        ({"rates": 4}, "the rates are among"),
        ({"rates": "124"}, "the rates are among"),
        ({"rates": [[1]]}, "the rates are among"),
        ({"rate": 4, "codec": "avif"}, "lossless: codec webp or png, not avif"),
        ({"lossless": True, "codec": "av1"}, "lossless: codec webp or png, not av1"),
        ({"codec": "png"}, "png planes are lossless: add rate or lossless"),
        ({"quality": 50, "codec": "webp"}, "webp planes are lossless"),
        ({"uniform": True}, "uniform needs an overall rate"),
        ({"quality": 50, "uniform": True}, "uniform needs an overall rate"),
        ({"quality": 101}, "quality is a whole number from 0 to 100, not 101"),
        ({"quality": 50.0}, "quality is a whole number"),
        ({"quality": True}, "quality is a whole number"),
        ({"bpp": 0}, "bpp is a number above 0 and at most 1000, not 0"),
        ({"bpp": float("nan")}, "bpp is a number above 0 and at most 1000, not nan"),
        ({"bpp": "1"}, "bpp is a number above 0"),
        ({"max_bytes": 0}, "max_bytes is a whole number from 1 to 1099511627776, not 0"),
        ({"max_bytes": "200k"}, "max_bytes is a whole number"),
        ({"target_psnr": 9}, "from 10 to 60 dB, not 9"),
        ({"target_psnr": float("inf")}, "from 10 to 60 dB, not inf"),
        ({"quality": 50, "bpp": 1}, "quality and bpp exclude each other: leave out one"),
        ({"max_bytes": 999, "rate": 4}, "max_bytes and rate exclude each other"),
        ({"lossless": True, "quality": 100}, "lossless and quality exclude each other"),
        ({"codec": 3}, "codec"),
        ({"distortion": "none"}, "the distortion is network or bicubic"),
        ({"model": "no such name"}, "is not a name"),
        ({"model": 5}, "the model is a name or None, not 5"),
        ({"block": 100}, "multiple of 16"),
        ({"block": 128.0}, "whole number of pixels"),
        ({"metadata": "some"}, "metadata"),
        ({"alpha_quality": 50.5}, "alpha channel is a whole number"),
        ({"limits": 3}, "limits is a bbmr_client.Limits"),
        ({"step": 3}, "step is a function"),
        ({"lossless": True, "rate": 1}, "lossless and rate exclude each other"),
        ({"lossless": True, "alpha_quality": 90}, "lossless and alpha_quality exclude each other"),
        ({"lossless": True, "rates": [2, 4]}, "lossless needs the rate 1"),
    ],
)
def test_wrong_values_and_types_are_usage_errors(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        encode(PIXELS, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_input_of_another_type() -> None:
    with pytest.raises(BbmrError, match="not int"):
        encode(5)  # type: ignore[arg-type]


def test_the_integers_of_numpy_are_whole_numbers() -> None:
    numbers = {"effort": np.int64(4), "block": np.int32(128), "rates": np.array([1, 2, 4, 8, 16])}
    assert encode(PIXELS, rate=np.float32(4), **numbers) == encode(PIXELS, rate=4)  # type: ignore[arg-type]
    assert encode(PIXELS, quality=np.int64(30)) == encode(PIXELS, quality=30)  # type: ignore[arg-type]


def test_defaults_are_those_of_encode() -> None:
    named = {name: one.default for name, one in signature(encode).parameters.items()}
    for one in fields(EncodeOptions):
        assert named[one.name] == one.default, one.name
    keywords = {
        one.name for one in signature(encode).parameters.values() if one.kind is Parameter.KEYWORD_ONLY
    }
    assert keywords - {one.name for one in fields(EncodeOptions)} == {"keep_smaller", "limits", "step"}


def test_the_default_is_a_quality() -> None:
    assert EncodeOptions().budget == Budget("quality", DEFAULT_QUALITY)
    assert encode(PIXELS) == encode(PIXELS, quality=DEFAULT_QUALITY, codec="av1")


class TestLossless:
    def test_every_pixel_is_kept(self, rgb: Rgb) -> None:
        pixels = rgb(300, 200)
        container = encode(pixels, lossless=True)
        assert (container.rate_map == 1).all()
        assert [plane.error for plane in container.planes] == [0]
        assert np.array_equal(np.asarray(preview(container)), pixels)

    def test_alpha_too(self, rgb: Rgb) -> None:
        pixels = np.dstack([rgb(60, 40), rgb(60, 40, seed=3)[..., 0]])
        assert np.array_equal(np.asarray(preview(encode(pixels, lossless=True))), pixels)

    def test_it_is_the_same_as_a_uniform_rate_of_1(self, rgb: Rgb) -> None:
        pixels = rgb(300, 200)
        assert encode(pixels, lossless=True) == encode(pixels, rate=1, uniform=True)


class TestLimits:
    def test_they_hold_for_a_photo_that_is_loaded_already(self, rgb: Rgb) -> None:
        photo = load_photo(rgb(300, 200))
        with pytest.raises(LimitExceededError, match="300×200"):
            encode(photo, limits=replace(DEFAULT_LIMITS, max_pixels=59_999))
        assert encode(photo, limits=replace(DEFAULT_LIMITS, max_pixels=60_000)).width == 300


def test_standard_input_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = BytesIO(b"a photo")
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(stream))
    for read in (encode, load_photo):
        with pytest.raises(UsageError, match="standard input"):
            read("-")
    assert stream.tell() == 0
