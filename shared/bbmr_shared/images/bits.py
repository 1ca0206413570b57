"""Reads short binary headers bit by bit: AV1's (most significant bit first), VP8L's and JPEG XL's (least first)."""

from __future__ import annotations

from typing import Literal


class BitReader:
    """Takes numbers of any count of bits from `data`.

    `order` is "big" where the most significant bit of each byte comes first, "little" where the least does.
    """

    def __init__(self, data: bytes, order: Literal["big", "little"]) -> None:
        self._value = int.from_bytes(data, order)
        self._size = 8 * len(data)
        self._at = 0
        self._big = order == "big"

    def take(self, count: int) -> int:
        """Returns the next `count` bits as a number. Raises `IndexError` if there are fewer."""
        start, self._at = self._at, self._at + count
        if self._at > self._size:
            raise IndexError("a header ends early")
        shift = self._size - self._at if self._big else start
        return self._value >> shift & ((1 << count) - 1)
