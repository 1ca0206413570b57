"""One fuzzing step of the container reader: a damaged container is made, and read to the end.

In: a seed and a number. Out: the name of the outcome ("read", or the declared error); anything else is a finding and
comes out as the exception that it is. The same seed and number always make the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from bbmr_shared import Container, Limits
from bbmr_shared.composite import composite
from bbmr_shared.errors import BbmrError
from bbmr_shared.layout import SIGNATURE, digest, write_frame
from tests.shared import parts
from tests.vectors.make import FOLDER

LIMITS = Limits(max_pixels=1 << 20)
"""Small, so that a damaged width costs milliseconds where it is accepted."""

NUMBERS = (
    0,
    1,
    2,
    3,
    15,
    16,
    17,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    1 << 31,
    1 << 32,
    (1 << 63) - 1,
    -1,
    -128,
)
WORDS = ("", "webp", "png", "avif", "jxl", "raw", "zlib", "light", "\x00", "a" * 70, "é", "!x")
BOMBS = (
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc1",
)

Fields = dict[str, Any]


def seeds() -> list[bytes]:
    """The golden containers, good ones and bad ones."""
    return [path.read_bytes() for path in sorted(FOLDER.glob("*/*.bbmr"))]


def case(seed: int, number: int, corpus: list[bytes]) -> bytes:
    """The damaged container `number` of `seed`."""
    rng = random.Random(f"{seed}/{number}")
    data = rng.choice(corpus)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(MUTATIONS)(rng, data, corpus)
    return data


def check(data: bytes, verify: bool = True) -> str:
    """Read, decode, composite and write `data`; returns the outcome, and raises what no caller should ever see.

    A container that is read must decode to planes of the sizes it declares or to a declared error, and must be
    written to bytes that are read as the same container.
    """
    try:
        container = Container.from_bytes(data, LIMITS, verify)
    except BbmrError as error:
        _check_message(error)
        return type(error).__name__
    again = Container.from_bytes(container.to_bytes(), LIMITS)
    assert again == container, "a container that was read is not written as it was"
    try:
        planes = container.decode_planes()
        alpha = container.decode_alpha()
    except BbmrError as error:
        _check_message(error)
        return "decode " + type(error).__name__
    grid = container.grid
    assert composite(planes, container.rate_map, grid).shape == (grid.padded_height, grid.padded_width, 3)
    assert alpha is None or alpha.shape == (container.height, container.width)
    return "read"


def _check_message(error: BbmrError) -> None:
    message = str(error)
    assert message, f"{type(error).__name__} without a message"
    assert message.isprintable(), f"not one printable line: {message!r}"
    assert len(message) < 500, f"a message of {len(message)} characters"


def _flip(rng: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if damaged:
            damaged[_place(rng, len(damaged))] = rng.randrange(256)
    return bytes(damaged)


def _cut(rng: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    return data[: rng.randint(0, len(data))]


def _remove(rng: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + data[at + rng.randint(1, 40) :]


def _insert(rng: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    at = _place(rng, len(data) + 1)
    return data[:at] + rng.choice((*BOMBS, rng.randbytes(rng.randint(1, 20)))) + data[at:]


def _splice(rng: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    other = rng.choice(corpus)
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def _seal(rng: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    """Damage under a right digest: it gets past the first gate."""
    inner = rng.choice((_flip, _cut, _remove, _insert, _splice))
    body = inner(rng, data[len(SIGNATURE) : -16], corpus)
    return parts.sealed(body)


def _field(rng: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    """Fields of the header, or of an entry in it, changed, added or dropped; every digest right."""
    taken = _taken_apart(data)
    if taken is None:
        return _seal(rng, data, corpus)
    fields, pictures = taken
    maps: list[Fields] = [fields, *(v for v in _all_values(fields) if isinstance(v, dict))]
    for _ in range(rng.randint(1, 3)):
        target = rng.choice(maps)
        name = rng.choice([*target, "later", "!later"])
        if rng.random() < 0.2:
            target.pop(name, None)
        else:
            target[name] = _value(rng, target.get(name))
    return _frame(fields, pictures)


def _picture(rng: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    """A coded picture damaged or taken from elsewhere; its entry and every digest right."""
    taken = _taken_apart(data)
    if taken is None or not taken[1]:
        return _seal(rng, data, corpus)
    fields, pictures = taken
    at = rng.randrange(len(pictures))
    other = _taken_apart(rng.choice(corpus))
    if other is not None and other[1] and rng.random() < 0.2:
        pictures[at] = rng.choice(other[1])
    else:
        pictures[at] = rng.choice((_flip, _flip, _cut, _remove, _insert))(rng, pictures[at], corpus)
    entries = [*fields["planes"], *([fields["alpha"]] if "alpha" in fields else [])]
    entries[at] |= {"bytes": len(pictures[at]), "digest": digest(pictures[at])}
    return _frame(fields, pictures)


MUTATIONS: tuple[Callable[[random.Random, bytes, list[bytes]], bytes], ...] = (
    _flip,
    _cut,
    _splice,
    _seal,
    _seal,
    _field,
    _field,
    _field,
    _picture,
    _picture,
    _picture,
)


def _taken_apart(data: bytes) -> tuple[Fields, list[bytes]] | None:
    try:
        Container.from_bytes(data, LIMITS)
        return parts.fields_of(data)
    except BbmrError:
        return None


def _frame(fields: Fields, pictures: list[bytes]) -> bytes:
    return write_frame(fields, pictures)


def _all_values(value: object) -> list[object]:
    """Every value inside a map or an array, the value itself left out."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [*inner, *(deeper for item in inner for deeper in _all_values(item))]


def _value(rng: random.Random, old: object) -> object:
    kind = rng.randrange(8)
    if kind == 0 and isinstance(old, int):
        return old + rng.choice((-1, 1))
    if kind == 1 and isinstance(old, bytes) and old:
        return _flip(rng, old, [])
    if kind == 2 and isinstance(old, list) and old:
        return rng.choice((old[::-1], old[1:], [*old, old[0]]))
    return rng.choice(
        (
            rng.choice(NUMBERS),
            rng.choice(WORDS),
            rng.randbytes(rng.randint(0, 30)),
            rng.choice((None, True, False, 0.5, float("nan"), float("inf"))),
            rng.choice(([], {}, [[]], {"a": {"b": [1]}}, [1] * 9)),
        )
    )


def _place(rng: random.Random, size: int) -> int:
    """A place in the file, the header and the heads of planes more often than the rest."""
    return rng.randrange(min(size, 400)) if rng.random() < 0.5 else rng.randrange(size)
