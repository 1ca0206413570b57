"""Damages containers, from flipped bits to wrong fields under right digests.

A random generator with the same seed always makes the same damage.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bbmr_shared import AlphaPlane, Container, Plane
from bbmr_shared.container.frame import SIGNATURE, write_frame
from bbmr_shared.images.codecs import encode_plane
from tests.shared import parts
from tests.vectors.make import FOLDER

CORPUS = Path(__file__).parent / "corpus"
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
WORDS = ("", "webp", "png", "avif", "av1", "jxl", "raw", "zlib", "light", "\x00", "a" * 70, "é", "!x")
BOMBS = (
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc1",
)

Fields = dict[str, Any]


def seeds() -> list[bytes]:
    """Returns the golden containers, valid and invalid, and the corpus."""
    return [path.read_bytes() for path in sorted([*FOLDER.glob("*/*.bbmr"), *CORPUS.glob("*.bbmr")])]


def good_ones() -> list[bytes]:
    """Returns small new containers with everything that version 1 can hold."""
    small = partial(parts.container, 40, 24, block=16)
    grey, bare = (encode_plane(parts.picture(40, 24)[..., 0], codec, quality=50) for codec in ("avif", "av1"))
    made = [
        small(),
        small(codec="png", alpha=True),
        small(codec="avif", alpha=True, channels=1, dpi=(72.0, 300.5)),
        small(
            rates=[2, 8],
            alpha=True,
            icc=b"icc",
            exif=b"II*\0",
            xmp=b"<x/>",
            extra={"later": [1, {"a": None}]},
        ),
        replace(small(rates=[4]), alpha=AlphaPlane(*grey)),
        small(codec="av1", alpha=True),
        replace(small(rates=[1], codec="av1"), alpha=AlphaPlane(*bare)),
        *(_original(name) for name in ("PNG", "WEBP", "AVIF", "JPEG")),
        _original("JPEG", mode="L", channels=1),
        _original("JPEG", progressive=True),
    ]
    return [container.to_bytes() for container in made]


def case(seed: int, number: int, corpus: list[bytes]) -> bytes:
    """Returns the damaged container `number` of `seed`."""
    rng = random.Random(f"{seed}/{number}")
    data = rng.choice(corpus)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(MUTATIONS)(rng, data, corpus)
    return data


def taken_apart(data: bytes) -> tuple[Fields, list[bytes]] | None:
    """Returns header and pictures of a container, or None if it is too damaged."""
    try:
        fields, pictures = parts.fields_of(data)
    except Exception:
        return None
    return fields, pictures


def _original(format: str, mode: str = "RGB", channels: int = 3, **options: object) -> Container:
    """A container with a source file of 40×24 pixels."""
    out = io.BytesIO()
    Image.fromarray(parts.picture(40, 24)).convert(mode).save(out, format, **options)
    only = Plane(1, format.lower(), out.getvalue())
    rates = np.ones((2, 3), np.uint8)
    return Container(40, 24, rates, (only,), block=16, strength=0, channels=channels, original=True)


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
    """Damage under a right digest, which passes the first check."""
    inner = rng.choice((_flip, _cut, _remove, _insert, _splice))
    body = inner(rng, data[len(SIGNATURE) : -16], corpus)
    return parts.sealed(body)


def _field(rng: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    """Change, add or drop fields of the header or its entries; every digest is right."""
    taken = taken_apart(data)
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
    return write_frame(fields, pictures)


def _picture(rng: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    """Damage or exchange a coded picture; its entry and every digest are right."""
    taken = taken_apart(data)
    if taken is None or not taken[1]:
        return _seal(rng, data, corpus)
    fields, pictures = taken
    at = rng.randrange(len(pictures))
    other = taken_apart(rng.choice(corpus))
    if other is not None and other[1] and rng.random() < 0.2:
        changed = rng.choice(other[1])
    else:
        changed = rng.choice((_flip, _flip, _cut, _remove, _insert))(rng, pictures[at], corpus)
    return parts.with_picture(fields, pictures, at, changed)


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


def _all_values(value: object) -> list[object]:
    """Every value inside a map or an array."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [*inner, *(deeper for item in inner for deeper in _all_values(item))]


def _value(rng: random.Random, old: object) -> object:
    kind = rng.randrange(8)
    if kind == 0 and isinstance(old, int):
        return min(max(old + rng.choice((-1, 1)), -(1 << 63)), (1 << 64) - 1)
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
    """A place in the file; half of them in the first 400 bytes, where the headers are."""
    return rng.randrange(min(size, 400)) if rng.random() < 0.5 else rng.randrange(size)
