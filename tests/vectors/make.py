"""Makes the golden containers: `python -m tests.vectors.make`. A vector that exists is never written again.

In: the recipes below. Out: `v1/*.bbmr` and `invalid/*.bbmr`, and in `v1.json` what each of them must decode to, or
with which error it must be refused. Later releases add recipes and must still read the files that lie here; a
file is replaced only by deleting it, and its entry, by hand.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from collections.abc import Callable
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_shared.composite import composite
from bbmr_shared.container import Container
from bbmr_shared.layout import SIGNATURE, digest, write_frame
from tests.shared import parts

FOLDER = Path(__file__).parent
INDEX = FOLDER / "v1.json"
MIX = {16: "png", 8: "webp", 4: "png", 2: "webp", 1: "png"}


def valid() -> dict[str, Callable[[], Container]]:
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
    }


def invalid() -> dict[str, tuple[str, Callable[[], bytes]]]:
    """Name → error that must refuse it, and recipe of the file."""
    good = parts.container(100, 60, block=32, rates=[2, 4], codec="png").to_bytes()

    def fields(**changes: object) -> Callable[[], bytes]:
        header, pictures = parts.fields_of(good)
        return lambda: write_frame({**header, **changes}, pictures)

    def plane(**changes: object) -> Callable[[], bytes]:
        header, pictures = parts.fields_of(good)
        first, *rest = header["planes"]
        return lambda: write_frame({**header, "planes": [{**first, **changes}, *rest]}, pictures)

    def picture(data: bytes) -> Callable[[], bytes]:
        return lambda: parts.with_picture(*parts.fields_of(good), 0, data)

    header, pictures = parts.fields_of(good)
    packed_map = header["map"]["data"]
    return {
        "empty": ("NotAContainerError", lambda: b""),
        "png": ("NotAContainerError", lambda: pictures[0]),
        "text-mode-damage": ("NotAContainerError", lambda: good.replace(b"\r\n", b"\n", 1)),
        "nine-byte-bomb": ("TruncatedContainerError", lambda: SIGNATURE + b"\xdd\xff\xff\xff\xff"),
        "sealed-array-bomb": ("MalformedContainerError", lambda: parts.sealed(b"\xdd\xff\xff\xff\xff")),
        "sealed-bin-bomb": (
            "TruncatedContainerError",
            lambda: parts.sealed(b"\x81\xa3icc\xc6\xff\xff\xff\xff"),
        ),
        "deep-nesting": (
            "MalformedContainerError",
            lambda: parts.sealed(b"\x81\xa1a" + b"\x91" * 400 + b"\x01"),
        ),
        "truncated": ("TruncatedContainerError", lambda: good[:-20]),
        "one-bit": ("DigestMismatchError", lambda: good[:300] + bytes([good[300] ^ 4]) + good[301:]),
        "trailing-bytes": ("DigestMismatchError", lambda: good + b"\0"),
        "sealed-trailing-bytes": ("MalformedContainerError", lambda: _resealed(good[:-16] + b"\xc4\0")),
        "version-2": ("UnsupportedContainerError", fields(version=2)),
        "version-true": ("MalformedContainerError", fields(version=True)),
        "critical-field": ("UnsupportedContainerError", fields(**{"!colour": "cmyk"})),
        "critical-field-in-plane": ("UnsupportedContainerError", plane(**{"!tiles": 4})),
        "codec-jxl": ("UnsupportedContainerError", plane(codec="jxl")),
        "map-coding": ("UnsupportedContainerError", fields(map={"coding": "brotli", "data": packed_map})),
        "float-width": ("MalformedContainerError", fields(width=100.0)),
        "zero-height": ("MalformedContainerError", fields(height=0)),
        "odd-block": ("MalformedContainerError", fields(block=100)),
        "strength-3": ("MalformedContainerError", fields(strength=3)),
        "width-20000": ("LimitExceededError", fields(width=20_000, height=20_000)),
        "duplicate-key": ("MalformedContainerError", lambda: _with_duplicate_key(good)),
        "map-padding": (
            "MalformedContainerError",
            fields(map={"coding": "raw", "data": _last_bit(packed_map)}),
        ),
        "map-zlib-bomb": (
            "MalformedContainerError",
            fields(map={"coding": "zlib", "data": zlib.compress(bytes(1 << 20), 9)}),
        ),
        "rates-not-of-map": (
            "MalformedContainerError",
            lambda: write_frame({**header, "rates": [4], "planes": header["planes"][:1]}, pictures[:1]),
        ),
        "fine-to-coarse": (
            "MalformedContainerError",
            lambda: write_frame(
                {**header, "rates": [2, 4], "planes": header["planes"][::-1]}, pictures[::-1]
            ),
        ),
        "plane-digest": ("DigestMismatchError", plane(digest=bytes(16))),
        "plane-length": ("MalformedContainerError", plane(bytes=len(pictures[0]) - 1)),
        "plane-size": ("PlaneError", picture(pictures[1])),
        "plane-format": ("PlaneError", plane(codec="webp")),
        "plane-animated": ("PlaneError", picture(_png((28, 16), save_all=True))),
        "plane-rgba": ("PlaneError", picture(_png((28, 16), mode="RGBA"))),
        "plane-truncated": ("PlaneError", picture(pictures[0][:-30])),
        "plane-ends-early": ("PlaneError", picture(_short_png(28, 16))),
    }


def describe(container: Container) -> dict[str, Any]:
    """What a valid vector must decode to."""
    base = composite(container.decode_planes(), container.rate_map, container.grid)
    alpha = container.decode_alpha()
    lossless = all(plane.error == 0 for plane in container.planes)
    return {
        "width": container.width,
        "height": container.height,
        "block": container.block,
        "samples": container.samples,
        "rates": [plane.rate for plane in container.planes],
        "codecs": [plane.codec for plane in container.planes],
        "errors": [plane.error for plane in container.planes],
        "strengths": container.strengths.tolist(),
        "model": container.model,
        "downscaler": [container.downscaler, container.downscaler_version],
        "metadata": {
            name: value.hex() if (value := getattr(container, name)) else None
            for name in ("icc", "exif", "xmp")
        },
        "extra": dict(container.extra),
        "rate_map": digest(container.rate_map.tobytes()).hex(),
        # Lossy planes may decode 1/255 apart in another build of the decoder, so only their means are promised.
        "base": _digest(base) if lossless else None,
        "base_means": [round(float(mean), 2) for mean in base.mean(axis=(0, 1))],
        "alpha": None if alpha is None else _digest(alpha),
    }


def main() -> int:
    """Write the vectors that do not exist yet; returns the number of files written."""
    index: dict[str, Any] = json.loads(INDEX.read_text()) if INDEX.exists() else {"valid": {}, "invalid": {}}
    written = 0
    for name, recipe in valid().items():
        path = FOLDER / "v1" / f"{name}.bbmr"
        if name not in index["valid"] and not path.exists():
            container = recipe()
            _write(path, container.to_bytes())
            index["valid"][name] = describe(Container.from_bytes(path.read_bytes()))
            written += 1
    for name, (error, make) in invalid().items():
        path = FOLDER / "invalid" / f"{name}.bbmr"
        if name not in index["invalid"] and not path.exists():
            _write(path, make())
            index["invalid"][name] = error
            written += 1
    if written:
        INDEX.write_text(json.dumps(index, indent=1) + "\n")
    print(f"{written} vectors written, the others left as they were", file=sys.stderr)
    return written


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def _digest(samples: NDArray[np.uint8]) -> str:
    return blake2b(np.ascontiguousarray(samples).tobytes(), digest_size=16).hexdigest()


def _with_unknown_fields() -> Container:
    made = parts.container(64, 64, rates=[2, 4], alpha=True)
    fields, pictures = parts.fields_of(made.to_bytes())
    fields["planes"][0]["palette"] = [1, 2.5, None]
    fields["alpha"]["premultiplied"] = False
    return Container.from_bytes(
        write_frame({**fields, "made": {"by": "a later release", "at": 1}, "é": "ü"}, pictures)
    )


def _resealed(body: bytes) -> bytes:
    return body + digest(body)


def _with_duplicate_key(good: bytes) -> bytes:
    header, pictures = parts.fields_of(good)
    packed = [parts.packed(key) + parts.packed(value) for key, value in header.items()]
    packed.append(parts.packed("strength") + parts.packed(0))
    head = msgpack.Packer().pack_map_header(len(packed))
    _, _, tail = write_frame({}, pictures).partition(SIGNATURE + b"\x80")
    return _resealed(SIGNATURE + head + b"".join(packed) + tail[:-16])


def _last_bit(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] | 1])


def _png(size: tuple[int, int], mode: str = "RGB", save_all: bool = False) -> bytes:
    out = BytesIO()
    frames = [Image.new(mode, size, 90), Image.new(mode, size, 200)]
    frames[0].save(out, "PNG", **({"save_all": True, "append_images": frames[1:]} if save_all else {}))
    return out.getvalue()


def _short_png(width: int, height: int) -> bytes:
    """A PNG, every chunk of it right, whose deflate stream ends regularly after half of the rows."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes([200]) * 3 * width for _ in range(height // 2))
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", ihdr)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


if __name__ == "__main__":
    main()
