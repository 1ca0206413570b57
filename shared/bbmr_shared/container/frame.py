"""The frame of a container file: signature, header, pictures as bins, trailing digest.

Digests are checked here: `_check_ends` compares that of the whole file, and `read_frame` those of the pictures. Cheap
checks come first: signature, length, limits, trailing digest, header, pictures. Nothing is decoded.
"""

from __future__ import annotations

import hmac
import io
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Protocol

from bbmr_shared.errors import (
    ContainerError,
    DigestMismatchError,
    InvalidArgumentError,
    LimitExceededError,
    MalformedContainerError,
    NotAContainerError,
    TruncatedContainerError,
)
from bbmr_shared.grid import RATES, BlockGrid
from bbmr_shared.images import codecs
from bbmr_shared.limits import DEFAULT_LIMITS, KIB, Limits

from . import strict_msgpack
from .header import DIGEST_BYTES, Header, PictureEntry, parse_header
from .signature import SIGNATURE as SIGNATURE

CHANGED = "the file was changed after writing (its digest differs); fetch it again"

FIRST_READ = 64 * KIB
"""Bytes of a file that are read first for its header: headers without a large profile are smaller."""

Bytes = bytes | bytearray | memoryview


class Readable(Protocol):
    """A binary file."""

    def read(self, size: int, /) -> bytes: ...


def read_frame(data: Bytes, limits: Limits, verify: bool = True) -> tuple[Header, list[bytes]]:
    """Returns the checked header and the coded pictures of a file: planes first, then alpha.

    `verify=False` does not check the digests.

    Raises:
        ContainerError: the file is no readable container; `errors` lists the kinds.
        LimitExceededError: a size is over `limits`.
        InvalidArgumentError: `data` are no bytes.
    """
    view = _bytes(data)
    _check_ends(view, limits, verify)
    body = view[: len(view) - DIGEST_BYTES]
    header, at = _read_header(body, limits)
    pictures: list[bytes] = []
    for entry, size, what in _expected(header):
        picture, at = strict_msgpack.read_bin(body, at, entry.size, what)
        if verify and not hmac.compare_digest(digest(picture), entry.digest):
            raise DigestMismatchError(f"{what} was changed after writing (its digest differs)")
        codecs.check_plane(picture, entry.codec, size)
        pictures.append(picture)
    if at != len(body):
        raise MalformedContainerError(f"{len(body) - at} bytes follow the last plane")
    return header, pictures


def read_header(source: Bytes | Readable, limits: Limits = DEFAULT_LIMITS) -> Header:
    """Returns the checked header at the start of `source`; a binary file is read no further than needed.

    Digests, per-block maps and planes are not checked: so a damaged file may pass, or be refused with a misleading
    error. `read_frame` checks everything.

    Raises: as `read_frame`.
    """
    longest = len(SIGNATURE) + limits.max_header_bytes + 1
    file = source if hasattr(source, "read") else io.BytesIO(_bytes(source)[:longest])
    start = _read_fully(file, FIRST_READ)
    while True:
        _check_signature(start)
        try:
            header, _ = _read_header(memoryview(start), limits)
        except TruncatedContainerError:
            more = _read_fully(file, len(start))
            if not more:
                raise
            start += more
        else:
            _expected(header)
            return header


def write_frame(header: Mapping[str, object], pictures: Sequence[bytes]) -> bytes:
    """Returns the file with this header map and the coded pictures that it lists, planes first, then alpha."""
    parts = [SIGNATURE, strict_msgpack.pack(header)]
    for picture in pictures:
        parts += [strict_msgpack.bin_header(len(picture)), picture]
    body = b"".join(parts)
    return body + digest(body)


def digest(data: Bytes) -> bytes:
    """Returns the BLAKE2b of 16 bytes, without a key: it finds damage and does not authenticate."""
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


def _bytes(data: Bytes) -> memoryview:
    try:
        return memoryview(data).cast("B")
    except TypeError:
        raise InvalidArgumentError(f"a container is read from bytes, not {type(data).__name__}") from None


def _read_fully(file: Readable, size: int) -> bytes:
    """`size` bytes, or all there are: pipes and sockets return fewer at a time."""
    parts = []
    while size > 0 and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _check_ends(view: memoryview, limits: Limits, verify: bool) -> None:
    _check_signature(view)
    limits.check_bytes("the container", len(view), limits.max_container_bytes)
    if len(view) <= len(SIGNATURE) + DIGEST_BYTES:
        raise TruncatedContainerError("the file ends inside its header")
    body = view[: len(view) - DIGEST_BYTES]
    if verify and not hmac.compare_digest(digest(body), bytes(view[len(body) :])):
        _explain_damage(view, limits)


def _check_signature(data: Bytes) -> None:
    start = bytes(data[: len(SIGNATURE)])
    if start == SIGNATURE:
        return
    if start and SIGNATURE.startswith(start):
        raise TruncatedContainerError("the file ends inside its signature")
    if not start:
        raise NotAContainerError("the container is empty: 0 bytes")
    raise NotAContainerError("this is not a bbmr container (its signature is missing or damaged)")


def _explain_damage(view: memoryview, limits: Limits) -> None:
    """The trailing digest differs: raise the error that says whether the end is missing or bytes were changed.

    Other errors of the header are not reported: the change may have caused them.
    """
    try:
        header, at = _read_header(view, limits)
    except TruncatedContainerError:
        raise
    except (ContainerError, LimitExceededError):
        raise DigestMismatchError(CHANGED) from None
    for entry in header.pictures:
        at += len(strict_msgpack.bin_header(entry.size)) + entry.size
    whole = at + DIGEST_BYTES
    if whole > len(view):
        raise TruncatedContainerError(f"the file is truncated: {len(view)} of {whole} bytes are there")
    raise DigestMismatchError(CHANGED)


def _read_header(body: memoryview, limits: Limits) -> tuple[Header, int]:
    raw, size = strict_msgpack.unpack_map(body[len(SIGNATURE) :], limits)
    return parse_header(raw, limits), len(SIGNATURE) + size


def _expected(header: Header) -> list[tuple[PictureEntry, tuple[int, int], str]]:
    """Every coded picture in the order of the file: entry, (width, height), name in messages."""
    try:
        grid = BlockGrid(header.width, header.height, header.block)
    except ValueError as error:
        raise MalformedContainerError(str(error)) from None
    rates = [entry.rate for entry in header.planes]
    if rates != header.rates:
        raise MalformedContainerError(f"the planes have the rates {rates}, the header lists {header.rates}")
    if any(rate not in RATES for rate in rates):
        raise MalformedContainerError(f"rates are of {list(RATES)}, not {rates}")
    for entry in header.pictures:
        codecs.get_codec(entry.codec)
    whole = (header.width, header.height)
    expected: list[tuple[PictureEntry, tuple[int, int], str]] = [
        (
            entry,
            whole if header.original else grid.plane_size(entry.rate),
            f"the plane of rate {entry.rate}",
        )
        for entry in header.planes
    ]
    if header.alpha is not None:
        expected.append((header.alpha, whole, "the alpha channel"))
    return expected
