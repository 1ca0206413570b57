"""The header alone, from the start of a file: what a lazy reader knows, read no further than needed."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from bbmr_shared import Limits
from bbmr_shared.container.frame import FIRST_READ, SIGNATURE, read_header, write_frame
from bbmr_shared.errors import (
    BbmrError,
    LimitExceededError,
    MalformedContainerError,
    NotAContainerError,
    TruncatedContainerError,
)
from bbmr_shared.limits import DEFAULT_LIMITS
from tests.shared import parts
from tests.vectors import make

INDEX: dict[str, Any] = json.loads(make.INDEX.read_text())


class Counted(io.BytesIO):
    """A file that tells how much of it was read, at most `most` bytes at once."""

    taken = 0

    def __init__(self, data: bytes, most: int = 1 << 40) -> None:
        super().__init__(data)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size > 0
        data = super().read(min(size, self._most))
        self.taken += len(data)
        return data


@pytest.mark.parametrize(
    ("fields", "mode"),
    [({}, "RGB"), ({"alpha": True}, "RGBA"), ({"channels": 1}, "L"), ({"channels": 1, "alpha": True}, "LA")],
)
def test_it_tells_size_and_mode(fields: dict[str, Any], mode: str) -> None:
    header = read_header(parts.container(150, 100, **fields).to_bytes())
    assert (header.width, header.height, header.mode) == (150, 100, mode)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_it_takes_bytes_and_files(kind: Callable[[bytes], Any]) -> None:
    data = parts.container(icc=b"profile").to_bytes()
    assert read_header(kind(data)) == read_header(data)
    assert read_header(kind(data)).icc == b"profile"


def test_the_planes_need_not_be_there() -> None:
    data = parts.container().to_bytes()
    fields, _ = parts.fields_of(data)
    size = len(SIGNATURE) + len(parts.packed(fields))
    assert read_header(data[:size]) == read_header(data)
    for end in range(len(SIGNATURE), size):
        with pytest.raises(TruncatedContainerError):
            read_header(data[:end])


def test_no_more_is_read_than_a_first_piece() -> None:
    file = Counted(parts.container().to_bytes() + bytes(10_000_000))
    read_header(file)
    assert file.taken == FIRST_READ
    assert file.tell() == FIRST_READ


@pytest.mark.parametrize("most", [1 << 40, 4096, 7])
def test_a_long_header_is_read_to_its_end(most: int) -> None:
    exif = bytes(range(256)) * 600
    file = Counted(parts.container(64, 64, exif=exif).to_bytes() + bytes(10_000_000), most)
    assert read_header(file).exif == exif
    assert file.taken < 8 * len(exif)


def test_it_begins_where_the_file_stands() -> None:
    file = io.BytesIO(b"before" + parts.container(33, 44).to_bytes())
    file.seek(6)
    assert read_header(file).height == 44


def test_another_file_is_refused_by_its_first_piece() -> None:
    file = Counted(b"\x89PNG\r\n\x1a\n" + bytes(10_000_000))
    with pytest.raises(NotAContainerError):
        read_header(file)
    assert file.taken <= FIRST_READ
    for start in (b"", b"\x89"):
        with pytest.raises(NotAContainerError):
            read_header(start)
    with pytest.raises(TruncatedContainerError):
        read_header(SIGNATURE[:3])


def test_a_header_without_end_is_given_up_at_the_limit() -> None:
    body = SIGNATURE + b"\x81\xa4exif\xc6\xff\xff\xff\xff" + bytes(20_000_000)
    file = Counted(body)
    tracemalloc.start()
    with pytest.raises(BbmrError):
        read_header(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert file.taken <= 3 * DEFAULT_LIMITS.max_header_bytes
    assert peak < 6 * DEFAULT_LIMITS.max_header_bytes


def test_limits_hold() -> None:
    data = parts.container(150, 100).to_bytes()
    for limits in (Limits(max_pixels=14_999), Limits(max_side=149), Limits(max_header_bytes=100)):
        with pytest.raises(LimitExceededError):
            read_header(data, limits)


def test_what_cannot_be_decoded_is_known_from_the_header() -> None:
    fields, pictures = parts.fields_of(parts.container(rates=[2, 4]).to_bytes())
    with pytest.raises(MalformedContainerError, match="lists"):
        read_header(write_frame({**fields, "rates": [4, 1]}, pictures))
    with pytest.raises(MalformedContainerError, match="block side"):
        read_header(write_frame({**fields, "block": 17}, pictures))


@pytest.mark.parametrize("name", INDEX["invalid"])
def test_a_broken_vector_is_refused_or_broken_further_on(name: str) -> None:
    data = (make.FOLDER / "invalid" / f"{name}.bbmr").read_bytes()
    expected = INDEX["invalid"][name]
    try:
        header = read_header(data)
    except BbmrError as error:
        found = type(error).__name__
    else:
        found = expected
        assert header.mode in {"RGB", "RGBA", "L", "LA"}
    # Without the digest, damage may look like another finding.
    assert found == expected or expected in {"DigestMismatchError", "TruncatedContainerError"}
