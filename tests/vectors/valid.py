"""Recipes of containers that every release must read: containers, or bytes that our writer would not write.

Recipes are added and never changed: the files lie in `v1/`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import msgpack
import numpy as np
from PIL import Image

from bbmr_shared.container import AlphaPlane, Container, Plane
from bbmr_shared.container.frame import SIGNATURE, digest, write_frame
from bbmr_shared.grid import BlockGrid
from bbmr_shared.images.codecs import encode_plane
from bbmr_shared.images.names import LOSSY_CODECS
from tests.shared import parts

Recipe = Callable[[], Container | bytes]
MIX = {16: "png", 8: "webp", 4: "png", 2: "webp", 1: "png"}
LOSSY_MIX = {16: "png", 8: "webp", 4: "avif", 2: "webp", 1: "avif"}
LONGEST = "n" + "-._Zz9" * 10 + "end"


def valid() -> dict[str, Recipe]:
    """Name → recipe of a file that every release must read."""
    return {
        "one-pixel": lambda: parts.container(1, 1, block=128, rates=[1]),
        "five-rates": lambda: parts.container(300, 200, block=64, seed=4),
        "default-block": lambda: parts.container(257, 130, block=128, seed=5),
        "uneven-127x129": lambda: parts.container(127, 129, block=16, codec=MIX, seed=6),
        "only-rate-16": lambda: parts.container(90, 60, block=32, rates=[16]),
        "rates-2-and-8": lambda: parts.container(200, 90, block=48, rates=[2, 8], codec="png"),
        "deflated-map": lambda: parts.container(640, 640, block=16, rates=[4], seed=7),
        "alpha-and-metadata": lambda: parts.container(
            150,
            110,
            alpha=True,
            icc=b"a stand-in for an ICC profile",
            exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0",
            xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
            strength=0,
            downscaler="learned",
            downscaler_version=3,
        ),
        "strength-map": lambda: parts.container(
            160, 96, strength=1, strength_map=np.arange(15, dtype=np.uint8).reshape(3, 5) % 3, model=None
        ),
        "unknown-fields": _with_unknown_fields,
        "avif": lambda: parts.container(160, 120, block=48, codec="avif", quality=70, rates=[2, 4]),
        "smallest": lambda: parts.container(1, 1, block=16, rates=[16], strength=0, model=None),
        "grey": lambda: _grey("png"),
        "grey-webp": lambda: _grey("webp"),
        "grey-avif": lambda: _grey("avif"),
        "grey-of-colour-planes": lambda: parts.container(40, 30, block=16, rates=[1, 2], channels=1),
        "grey-alpha": lambda: replace(_grey("png"), alpha=_alpha("webp")),
        "grey-alpha-png": lambda: replace(_grey("png"), alpha=_alpha("png")),
        "dpi": lambda: parts.container(20, 20, block=16, rates=[2, 4], dpi=(299.72, 72.0)),
        "lossy-alpha": lambda: replace(parts.container(40, 30, block=16, rates=[2]), alpha=_alpha("avif")),
        "alpha-of-three-channels": lambda: replace(
            parts.container(40, 30, block=16, rates=[4]), alpha=AlphaPlane(*encode_plane(_picture(), "png"))
        ),
        "original-jpeg": lambda: _original("jpeg", quality=70),
        "original-jpeg-progressive": lambda: _original("jpeg", quality=70, progressive=True),
        "original-jpeg-grey": lambda: _original("jpeg", grey=True, quality=70),
        "original-png": lambda: _original("png"),
        "original-png-grey": lambda: _original("png", grey=True),
        "original-webp": lambda: _original("webp", quality=60),
        "original-webp-lossless": lambda: _original("webp", lossless=True),
        "original-avif": lambda: _original("avif", quality=60),
        "original-turned": lambda: _original("jpeg", quality=70, exif=_turned(), dpi=(11, 11)),
        "mixed-codecs": lambda: parts.container(100, 70, block=32, codec=LOSSY_MIX, seed=8),
        "block-16": lambda: parts.container(37, 21, block=16, codec="png"),
        "block-1024": lambda: parts.container(1030, 20, block=1024, rates=[8, 16]),
        "strength-0": lambda: parts.container(40, 40, block=32, rates=[2, 8], strength=0),
        "one-row": lambda: parts.container(300, 1, block=64, rates=[2, 4, 8]),
        "one-column": lambda: parts.container(1, 300, block=64, rates=[1, 8, 16]),
        "every-field": _with_every_field,
        "any-order": lambda: _rewritten({}, turn=True),
        "integer-dpi": lambda: _rewritten({"dpi": [300, 150]}),
        "nil-fields": lambda: _rewritten(
            dict.fromkeys(
                "strength_map alpha model icc exif xmp channels dpi !original later".split()  # noqa: SIM905
            )
        ),
        "three-channels-said": lambda: _rewritten({"channels": 3}),
        "long-msgpack": _with_long_msgpack,
        # Since the codec av1.
        "av1": lambda: parts.container(160, 120, block=48, codec="av1", quality=70, rates=[2, 4]),
        "av1-one-pixel": lambda: parts.container(1, 1, block=16, codec="av1", rates=[16]),
        "av1-subsampled": _subsampled,
        "grey-av1": lambda: _grey("av1"),
        "lossy-alpha-av1": lambda: replace(
            parts.container(40, 30, block=16, rates=[2], codec="av1"), alpha=_alpha("av1")
        ),
    }


def _picture() -> parts.Picture:
    return parts.picture(40, 30, 11)


def _alpha(codec: str) -> AlphaPlane:
    samples = parts.picture(40, 30, 12)[..., 0]
    return AlphaPlane(*encode_plane(samples, codec, quality=60 if codec in LOSSY_CODECS else None))


def _grey(codec: str) -> Container:
    made = parts.container(40, 30, block=16, rates=[1, 2, 8], seed=9)
    planes = []
    for rate, samples in made.decode_planes().items():
        coded = encode_plane(samples[..., 1], codec, quality=70 if codec in LOSSY_CODECS else None)
        planes.append(Plane(rate, *coded, error=100 if codec in LOSSY_CODECS else 0))
    return replace(made, planes=tuple(planes), channels=1)


def _subsampled() -> Container:
    """AV1 planes of every chroma format."""
    made = parts.container(150, 70, block=16, rates=[1, 2, 4, 8], seed=10)
    formats = {1: "4:2:0", 2: "4:2:2", 4: "4:4:4"}
    planes = [
        Plane(
            rate,
            *encode_plane(samples, "av1", quality=70, subsampling=formats[rate])
            if rate in formats
            else encode_plane(samples[..., 1], "av1", quality=70),
            error=100,
        )
        for rate, samples in made.decode_planes().items()
    ]
    return replace(made, planes=tuple(planes))


def _original(codec: str, grey: bool = False, **arguments: Any) -> Container:
    out = BytesIO()
    Image.fromarray(_picture()[..., 1] if grey else _picture()).save(out, codec.upper(), **arguments)
    rates = np.ones(BlockGrid(40, 30).shape, np.uint8)
    return Container(
        40,
        30,
        rates,
        (Plane(1, codec, out.getvalue()),),
        original=True,
        strength=0,
        model=None,
        channels=1 if grey else 3,
    )


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _with_unknown_fields() -> Container:
    made = parts.container(64, 64, rates=[2, 4], alpha=True)
    fields, pictures = parts.fields_of(made.to_bytes())
    fields["planes"][0]["palette"] = [1, 2.5, None]
    fields["alpha"]["premultiplied"] = False
    return Container.from_bytes(
        write_frame({**fields, "made": {"by": "a later release", "at": 1}, "é": "ü"}, pictures)
    )


def _with_every_field() -> Container:
    """Every known field, the longest names, the most unknown fields, of every type, as deep as it goes."""
    deep: object = [[[[[[[True]]]]]]]
    values = [
        None,
        False,
        0,
        -1,
        1 << 63,
        -(1 << 63),
        1.5,
        float("-inf"),
        "",
        "ü",
        b"",
        b"\0" * 300,
        deep,
        {},
    ]
    extra = {f"later-{number}": values[number % len(values)] for number in range(63)} | {"": "no name"}
    inside = {name: value if value is not deep else [[[[[True]]]]] for name, value in extra.items()}
    alpha = _alpha("png")
    made = parts.container(40, 30, block=16, rates=[2, 16], model=LONGEST, downscaler=LONGEST, strength=1)
    return replace(
        made,
        planes=tuple(replace(plane, extra=inside) for plane in made.planes),
        alpha=replace(alpha, extra=inside),
        icc=b"i",
        exif=b"e" * 256,
        xmp=b"x",
        dpi=(1e6, 5e-324),
        downscaler_version=2**32 - 1,
        strength_map=(np.arange(6, dtype=np.uint8) % 3).reshape(2, 3),
        extra=extra,
    )


def _rewritten(changes: dict[str, object], turn: bool = False) -> bytes:
    """A file that means what a file of this writer means, and is not written as this writer would."""
    fields, pictures = parts.fields_of(parts.container(40, 30, block=16, rates=[2, 4], model=None).to_bytes())
    fields |= changes
    if turn:
        fields = dict(reversed(fields.items()))
        fields["planes"] = [dict(reversed(entry.items())) for entry in fields["planes"]]
    return write_frame(fields, pictures)


def _with_long_msgpack() -> bytes:
    """Every head of the header in its longest form: map 32, array 32, str 32, bin 32, uint 64."""
    fields, pictures = parts.fields_of(parts.container(40, 30, block=16, rates=[2, 4]).to_bytes())

    def long(value: Any) -> bytes:
        if isinstance(value, dict):
            body = b"".join(long(key) + long(item) for key, item in value.items())
            return b"\xdf" + len(value).to_bytes(4, "big") + body
        if isinstance(value, list):
            return b"\xdd" + len(value).to_bytes(4, "big") + b"".join(map(long, value))
        if isinstance(value, str):
            return b"\xdb" + len(value.encode()).to_bytes(4, "big") + value.encode()
        if isinstance(value, bytes):
            return b"\xc6" + len(value).to_bytes(4, "big") + value
        assert isinstance(value, int)
        return b"\xcf" + value.to_bytes(8, "big")

    body = SIGNATURE + long(fields) + b"".join(msgpack.packb(picture) for picture in pictures)
    return body + digest(body)
