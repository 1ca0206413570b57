"""Per-block maps as bytes: three base-5 symbols in seven bits, deflated if that is smaller.

A symbol is log₂ of the rate in a rate map, and the strength in halves in a strength map. docs/container.md, "Per-block
maps", specifies the bits.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.errors import InvalidArgumentError, MalformedContainerError, UnsupportedContainerError
from bbmr_shared.grid import RATES

BASE = 5
GROUP = 3
GROUP_BITS = 7
PackedMap = dict[str, object]


def pack_symbols(symbols: NDArray[np.uint8]) -> bytes:
    """Packs `uint8 [n]` symbols in 0..4 into ceil(7·ceil(n/3)/8) bytes, most significant bit first, zero padded.

    Raises:
        InvalidArgumentError: a symbol is above 4.
    """
    flat = np.ascontiguousarray(symbols, dtype=np.uint8).reshape(-1)
    if flat.size and int(flat.max()) >= BASE:
        raise InvalidArgumentError(f"symbols are below {BASE}, not {int(flat.max())}")
    groups = np.zeros(-(-flat.size // GROUP) * GROUP, dtype=np.uint8)
    groups[: flat.size] = flat
    triples = groups.reshape(-1, GROUP)
    values = triples[:, 0] * (BASE * BASE) + triples[:, 1] * BASE + triples[:, 2]
    bits = np.unpackbits(values[:, None], axis=1)[:, 8 - GROUP_BITS :]
    return np.packbits(bits.reshape(-1)).tobytes()


def unpack_symbols(data: bytes, count: int) -> NDArray[np.uint8]:
    """Returns the `count` symbols that `pack_symbols` packed, `uint8 [count]`.

    Raises:
        MalformedContainerError: `data` has another length, a group of 125 or more, or padding that is not zero.
    """
    if len(data) != packed_size(count):
        raise MalformedContainerError(
            f"a map of {count} blocks takes {packed_size(count)} bytes, not {len(data)}"
        )
    groups = -(-count // GROUP)
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
    if bits[groups * GROUP_BITS :].any():
        raise MalformedContainerError("the padding of a map is not zero")
    wide = np.zeros((groups, 8), dtype=np.uint8)
    wide[:, 8 - GROUP_BITS :] = bits[: groups * GROUP_BITS].reshape(groups, GROUP_BITS)
    values = np.packbits(wide, axis=1)[:, 0]
    if (values >= BASE**GROUP).any():
        raise MalformedContainerError("a map holds a group above 124")
    symbols = np.stack([values // (BASE * BASE), values // BASE % BASE, values % BASE], axis=1).reshape(-1)
    if symbols[count:].any():
        raise MalformedContainerError("the padding of a map is not zero")
    return np.asarray(symbols[:count], dtype=np.uint8)


def packed_size(count: int) -> int:
    """Returns the bytes of `count` packed symbols."""
    return -(-(-(-count // GROUP) * GROUP_BITS) // 8)


def encode_map(symbols: NDArray[np.uint8]) -> PackedMap:
    """Returns the header value {"coding": …, "data": bytes} of `uint8 [rows, cols]` symbols."""
    raw = pack_symbols(symbols)
    deflated = zlib.compress(raw, 9)
    if len(deflated) < len(raw):
        return {"coding": "zlib", "data": deflated}
    return {"coding": "raw", "data": raw}


def decode_map(packed: Mapping[str, object], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns the `uint8 [rows, cols]` symbols of a map's header value.

    Raises:
        MalformedContainerError: the data does not hold exactly this map.
        UnsupportedContainerError: this release does not know the coding.
    """
    coding, data = packed["coding"], packed["data"]
    assert isinstance(data, bytes)
    count = shape[0] * shape[1]
    if coding == "zlib":
        data = inflate(data, packed_size(count))
    elif coding != "raw":
        raise UnsupportedContainerError(f"the map coding {coding!r} is not known to this release")
    return unpack_symbols(data, count).reshape(shape)


def inflate(data: bytes, size: int) -> bytes:
    """Returns the `size` bytes that a zlib stream holds; never allocates more.

    Raises:
        MalformedContainerError: the stream is damaged, holds fewer or more bytes, or other bytes follow it.
    """
    stream = zlib.decompressobj()
    try:
        out = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise MalformedContainerError(f"a deflated map is damaged ({error})") from None
    if len(out) != size or not stream.eof or stream.unused_data:
        raise MalformedContainerError(f"a deflated map does not hold exactly {size} bytes")
    return out


def rates_to_symbols(rate_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the symbols of rates: log₂ of the rate.

    Raises:
        InvalidArgumentError: a rate is not in the palette.
    """
    table = np.full(256, 255, dtype=np.uint8)
    table[list(RATES)] = np.arange(len(RATES), dtype=np.uint8)
    symbols = table[rate_map]
    if (symbols == 255).any():
        raise InvalidArgumentError(f"rates are of {RATES}, not {int(rate_map[symbols == 255][0])}")
    return symbols


def symbols_to_rates(symbols: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the rates 1, 2, 4, 8, 16 of the symbols 0..4."""
    return np.asarray(np.array(RATES, dtype=np.uint8)[symbols])
