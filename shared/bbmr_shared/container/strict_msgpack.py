"""Reads untrusted msgpack: one bounded map with string keys, and bins of a length that is declared elsewhere.

A length in the data is not allocated before its bytes are there.
"""

from __future__ import annotations

import struct
from typing import Any

import msgpack

from bbmr_shared.errors import LimitExceededError, MalformedContainerError, TruncatedContainerError, one_line
from bbmr_shared.limits import Limits

BIN8, BIN16, BIN32 = 0xC4, 0xC5, 0xC6


def unpack_map(data: memoryview, limits: Limits) -> tuple[dict[str, object], int]:
    """Returns the msgpack map at the start of `data` and its length in bytes.

    Raises:
        TruncatedContainerError: the data ends inside the map.
        LimitExceededError: the map is longer than `limits.max_header_bytes`.
        MalformedContainerError: it is no map, has duplicate or non-string keys or extension types, or is too deep.
    """
    size = limits.max_header_bytes
    unpacker = _unpacker(limits)
    try:
        unpacker.feed(data[:size])
        value = unpacker.unpack()
    except msgpack.OutOfData:
        if len(data) > size:
            raise LimitExceededError(f"the header is longer than {size} bytes") from None
        raise TruncatedContainerError("the file ends inside its header") from None
    except MalformedContainerError:
        raise
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise MalformedContainerError(f"the header is not valid msgpack ({one_line(error)})") from None
    if not isinstance(value, dict):
        raise MalformedContainerError("the header is not a msgpack map")
    check_value(value, limits.max_msgpack_depth)
    return value, unpacker.tell()


def check_value(value: object, depth: int) -> None:
    """Raise `MalformedContainerError` unless `value` is plain msgpack and at most `depth` levels deep."""
    if isinstance(value, dict | list):
        if depth < 1:
            raise MalformedContainerError("the header nests maps and arrays too deep")
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            raise MalformedContainerError("the keys of a header map are strings")
        for item in value.values() if isinstance(value, dict) else value:
            check_value(item, depth - 1)
    elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise MalformedContainerError("an integer of the header needs more than 64 bits")
    elif value is not None and not isinstance(value, bool | int | float | str | bytes):
        raise MalformedContainerError(f"the header holds a value of the type {type(value).__name__}")


def pack(value: object) -> bytes:
    """Returns the shortest msgpack of a plain value; maps keep their order."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def bin_header(size: int) -> bytes:
    """Returns the shortest msgpack head of a bin of `size` bytes."""
    if size < 1 << 8:
        return struct.pack(">BB", BIN8, size)
    if size < 1 << 16:
        return struct.pack(">BH", BIN16, size)
    return struct.pack(">BI", BIN32, size)


def read_bin(data: memoryview, at: int, size: int, what: str) -> tuple[bytes, int]:
    """Returns the bin of `size` bytes at `at`, and where it ends.

    Raises:
        TruncatedContainerError: the data ends inside the bin.
        MalformedContainerError: there is no bin of this size, or its head is longer than needed.
    """
    head = bin_header(size)
    start = at + len(head)
    if start + size > len(data):
        raise TruncatedContainerError(f"the file ends inside {what}")
    if data[at:start] != head:
        raise MalformedContainerError(
            f"{what} is not a msgpack bin of the {size} bytes that the header declares"
        )
    return bytes(data[start : start + size]), start + size


def _unpacker(limits: Limits) -> msgpack.Unpacker:
    hooks = _Hooks(limits)
    size = limits.max_header_bytes
    return msgpack.Unpacker(
        raw=False,
        strict_map_key=False,
        object_pairs_hook=hooks.pairs,
        list_hook=hooks.array,
        ext_hook=_refuse_extension,
        max_buffer_size=size + 1,
        max_str_len=size,
        max_bin_len=size,
        max_array_len=limits.max_header_items,
        max_map_len=limits.max_header_items,
        max_ext_len=16,
    )


class _Hooks:
    """Counts maps, arrays and values, and refuses a key that comes twice in one map."""

    def __init__(self, limits: Limits) -> None:
        self._left = limits.max_header_items
        self._values_left = limits.max_header_values

    def array(self, items: list[Any]) -> list[Any]:
        self._count(len(items))
        return items

    def pairs(self, pairs: list[tuple[object, object]]) -> dict[str, object]:
        self._count(len(pairs))
        result: dict[str, object] = {}
        for key, value in pairs:
            if not isinstance(key, str):
                raise MalformedContainerError("the keys of a header map are strings")
            if key in result:
                raise MalformedContainerError(f"the header field {key[:64]!r} comes twice")
            result[key] = value
        return result

    def _count(self, values: int) -> None:
        self._left -= 1
        self._values_left -= values
        if self._left < 0:
            raise MalformedContainerError("the header holds too many maps and arrays")
        if self._values_left < 0:
            raise MalformedContainerError("the header holds too many values")


def _refuse_extension(code: int, data: bytes) -> object:
    raise MalformedContainerError(f"the header holds a msgpack extension (type {code})")
