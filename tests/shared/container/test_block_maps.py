"""Packed maps: three base-5 symbols in seven bits, read strictly."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbmr_shared.container import block_maps
from bbmr_shared.errors import MalformedContainerError, UnsupportedContainerError

SYMBOLS = st.lists(st.integers(0, 4), min_size=1, max_size=400)


@given(SYMBOLS)
def test_packing_round_trips_in_the_stated_size(symbols: list[int]) -> None:
    packed = block_maps.pack_symbols(np.array(symbols, np.uint8))
    groups = (len(symbols) + 2) // 3
    assert len(packed) == block_maps.packed_size(len(symbols)) == (7 * groups + 7) // 8
    assert block_maps.unpack_symbols(packed, len(symbols)).tolist() == symbols


@given(SYMBOLS)
def test_packing_follows_the_text_of_the_specification(symbols: list[int]) -> None:
    filled = symbols + [0] * (-len(symbols) % 3)
    bits = "".join(
        format(25 * filled[i] + 5 * filled[i + 1] + filled[i + 2], "07b") for i in range(0, len(filled), 3)
    )
    bits += "0" * (-len(bits) % 8)
    expected = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    assert block_maps.pack_symbols(np.array(symbols, np.uint8)) == expected


@given(st.binary(max_size=40), st.integers(1, 60))
def test_whatever_unpacks_is_the_only_packing_of_its_symbols(data: bytes, count: int) -> None:
    try:
        symbols = block_maps.unpack_symbols(data, count)
    except MalformedContainerError:
        return
    assert block_maps.pack_symbols(symbols) == data


def test_the_example_of_the_specification() -> None:
    rates = np.array([[1, 2, 4], [8, 16, 1]], np.uint8)
    assert block_maps.encode_map(block_maps.rates_to_symbols(rates)) == {"coding": "raw", "data": b"\x0f\x7c"}


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"", 1),
        (b"\x00\x00", 1),
        (b"\xfa", 3),
        (b"\x01", 3),
        (b"\x02", 2),
    ],
    ids=["short", "long", "group of 125", "padding bit", "filling symbol"],
)
def test_a_packing_that_is_not_exact_is_refused(data: bytes, count: int) -> None:
    with pytest.raises(MalformedContainerError):
        block_maps.unpack_symbols(data, count)


def test_deflate_is_used_only_where_it_is_smaller() -> None:
    flat = block_maps.encode_map(np.full((64, 64), 2, np.uint8))
    noisy = block_maps.encode_map(np.random.default_rng(1).integers(0, 5, (64, 64), dtype=np.uint8))
    assert (flat["coding"], noisy["coding"]) == ("zlib", "raw")
    assert len(flat["data"]) < 40
    assert (block_maps.decode_map(flat, (64, 64)) == 2).all()


@pytest.mark.parametrize(
    "data",
    [
        zlib.compress(bytes(1 << 24), 9),
        zlib.compress(bytes(23)),
        zlib.compress(bytes(25)),
        zlib.compress(bytes(24)) + b"\0",
        zlib.compress(bytes(24))[:-1],
        zlib.compress(bytes(24))[:-4] + bytes(4),
        b"no zlib",
        b"",
    ],
    ids=["bomb", "short", "long", "followed", "cut", "checksum", "other", "empty"],
)
def test_a_deflated_map_must_hold_exactly_its_size(data: bytes) -> None:
    with pytest.raises(MalformedContainerError):
        block_maps.decode_map({"coding": "zlib", "data": data}, (8, 10))


def test_an_unknown_coding_is_unsupported() -> None:
    with pytest.raises(UnsupportedContainerError, match="lz4"):
        block_maps.decode_map({"coding": "lz4", "data": b""}, (1, 1))


def test_symbols_and_rates_are_each_other_s_inverse() -> None:
    rates = np.array([[1, 2, 4, 8, 16]], np.uint8)
    assert block_maps.rates_to_symbols(rates).tolist() == [[0, 1, 2, 3, 4]]
    assert (block_maps.symbols_to_rates(block_maps.rates_to_symbols(rates)) == rates).all()
    for other in (0, 3, 32, 255):
        with pytest.raises(ValueError, match=str(other)):
            block_maps.rates_to_symbols(np.array([[1, other]], np.uint8))
    with pytest.raises(ValueError, match="below 5"):
        block_maps.pack_symbols(np.array([5], np.uint8))
