"""Recipes of containers that must be refused: for each the error, the reason, and the bytes.

Every rule of docs/container.md has at least one. Recipes are added and never changed: the files lie in `invalid/`.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import msgpack
import numpy as np
from PIL import Image

from bbmr_shared.container.block_maps import pack_symbols
from bbmr_shared.container.frame import SIGNATURE, digest, write_frame
from bbmr_shared.images.codecs import encode_plane
from tests.shared import parts
from tests.vectors.valid import valid

MALFORMED, PLANE, LIMIT = "MalformedContainerError", "PlaneError", "LimitExceededError"
UNSUPPORTED, TRUNCATED = "UnsupportedContainerError", "TruncatedContainerError"
CHANGED, STRANGER = "DigestMismatchError", "NotAContainerError"


@dataclass(frozen=True)
class Broken:
    """A file that must be refused: with which error of `bbmr_shared.errors`, and why."""

    error: str
    why: str
    make: Callable[[], bytes]


def invalid() -> dict[str, Broken]:
    """Name → recipe of a file that every release must refuse."""
    good = parts.container(100, 60, block=32, rates=[2, 4], codec="png").to_bytes()
    header, pictures = parts.fields_of(good)
    packed_map = header["map"]["data"]

    def fields(error: str, why: str, /, **changes: object) -> Broken:
        return Broken(error, why, lambda: write_frame({**header, **changes}, pictures))

    def without(name: str) -> Broken:
        rest = {key: value for key, value in header.items() if key != name}
        return Broken(MALFORMED, f"the required field {name} is missing", lambda: write_frame(rest, pictures))

    def plane(error: str, why: str, /, **changes: object) -> Broken:
        first, *rest = header["planes"]
        return fields(error, why, planes=[{**first, **changes}, *rest])

    def picture(why: str, data: bytes, codec: str = "png") -> Broken:
        first, *rest = header["planes"]
        entry = {**first, "codec": codec, "bytes": len(data), "digest": digest(data)}
        changed = {**header, "planes": [entry, *rest]}
        return Broken(PLANE, why, lambda: write_frame(changed, [data, *pictures[1:]]))

    def packed(why: str, error: str = MALFORMED, /, **field: object) -> Broken:
        return fields(error, why, map={"coding": "raw", "data": packed_map} | field)

    def sealed(error: str, why: str, body: bytes) -> Broken:
        return Broken(error, why, lambda: parts.sealed(body))

    rgb = parts.picture(25, 15)  # the first plane has rate 4: 28×16 samples
    bare = write_frame({}, pictures)[len(SIGNATURE) + 1 : -16]
    return {
        "empty": Broken(STRANGER, "no bytes at all", lambda: b""),
        "png": Broken(STRANGER, "a PNG with a wrong name", lambda: pictures[0]),
        "text-mode-damage": Broken(
            STRANGER, "CR LF became LF on the way", lambda: good.replace(b"\r\n", b"\n", 1)
        ),
        "nine-byte-bomb": Broken(
            TRUNCATED, "an array of 4 294 967 295 is claimed", lambda: SIGNATURE + b"\xdd\xff\xff\xff\xff"
        ),
        "sealed-array-bomb": sealed(MALFORMED, "the same under a right digest", b"\xdd\xff\xff\xff\xff"),
        "sealed-bin-bomb": sealed(
            TRUNCATED, "a profile of 4 GiB is claimed", b"\x81\xa3icc\xc6\xff\xff\xff\xff"
        ),
        "deep-nesting": sealed(
            MALFORMED, "400 arrays in one another", b"\x81\xa1a" + b"\x91" * 400 + b"\x01"
        ),
        "truncated": Broken(TRUNCATED, "the last 20 bytes are missing", lambda: good[:-20]),
        "one-bit": Broken(
            CHANGED, "one bit is flipped", lambda: good[:300] + bytes([good[300] ^ 4]) + good[301:]
        ),
        "trailing-bytes": Broken(CHANGED, "a byte after the digest", lambda: good + b"\0"),
        "sealed-trailing-bytes": Broken(
            MALFORMED, "an empty bin after the last plane", lambda: _resealed(good[:-16] + b"\xc4\0")
        ),
        "version-2": fields(UNSUPPORTED, "a later version", version=2),
        "version-true": fields(MALFORMED, "a boolean is no version", version=True),
        "critical-field": fields(UNSUPPORTED, "a critical field of the header", **{"!colour": "cmyk"}),
        "critical-field-in-plane": plane(UNSUPPORTED, "a critical field of a plane", **{"!tiles": 4}),
        "codec-jxl": plane(UNSUPPORTED, "a codec that is reserved and not built in", codec="jxl"),
        "map-coding": packed("a coding of maps that is not known", UNSUPPORTED, coding="brotli"),
        "float-width": fields(MALFORMED, "a float is no integer", width=100.0),
        "zero-height": fields(MALFORMED, "a picture has a row at least", height=0),
        "odd-block": fields(MALFORMED, "a block of 100, no multiple of 16", block=100),
        "strength-3": fields(MALFORMED, "a strength of three halves", strength=3),
        "width-20000": fields(LIMIT, "400 million pixels", width=20_000, height=20_000),
        "duplicate-key": Broken(MALFORMED, "strength comes twice", lambda: _with_duplicate_key(good)),
        "map-padding": packed("the last bit of the rate map is 1", data=_last_bit(packed_map)),
        "map-zlib-bomb": packed(
            "a rate map that inflates to a MiB", coding="zlib", data=zlib.compress(bytes(1 << 20), 9)
        ),
        "rates-not-of-map": Broken(
            MALFORMED,
            "the rate map uses a rate that has no plane",
            lambda: write_frame({**header, "rates": [4], "planes": header["planes"][:1]}, pictures[:1]),
        ),
        "fine-to-coarse": Broken(
            MALFORMED,
            "the planes go from fine to coarse",
            lambda: write_frame(
                {**header, "rates": [2, 4], "planes": header["planes"][::-1]}, pictures[::-1]
            ),
        ),
        "plane-digest": plane(CHANGED, "a plane has another digest", digest=bytes(16)),
        "plane-length": plane(MALFORMED, "a bin longer than its entry says", bytes=len(pictures[0]) - 1),
        "plane-size": picture("a plane of the size of another rate", pictures[1]),
        "plane-format": plane(PLANE, "a PNG that is said to be a WebP", codec="webp"),
        "plane-animated": picture("an animated PNG", _png((28, 16), save_all=True)),
        "plane-rgba": picture("a PNG with alpha", _png((28, 16), mode="RGBA")),
        "plane-truncated": picture("a PNG without its end", pictures[0][:-30]),
        "plane-ends-early": picture("a PNG with half of its rows", _short_png(28, 16)),
        # Since the fields for grey, density and originals.
        "signature-cut": Broken(TRUNCATED, "the file ends inside its signature", lambda: SIGNATURE[:5]),
        "only-a-signature": Broken(
            TRUNCATED, "nothing but signature and digest", lambda: _resealed(SIGNATURE)
        ),
        "plane-missing": Broken(
            TRUNCATED,
            "the last plane is missing, under a right digest",
            lambda: write_frame(header, pictures[:1]),
        ),
        "long-bin-head": Broken(
            MALFORMED, "a bin 16 where a bin 8 would do", lambda: _with_long_bin(valid()["smallest"]())
        ),
        "str-for-bin": Broken(
            MALFORMED, "a plane as a string", lambda: _with_str_plane(valid()["smallest"]())
        ),
        "header-array": sealed(MALFORMED, "the header is an array", msgpack.packb([1, 2])),
        "header-nil": sealed(MALFORMED, "the header is nil", b"\xc0"),
        "header-never-used": sealed(MALFORMED, "C1 is no msgpack", b"\xc1"),
        "integer-key": sealed(MALFORMED, "a key that is no string", msgpack.packb({1: 2})),
        "bin-key": sealed(MALFORMED, "a key that is a bin", msgpack.packb({b"version": 1})),
        "not-utf-8": sealed(MALFORMED, "a string that is not UTF-8", b"\x81\xa1\xff\x01"),
        "duplicate-nested-key": sealed(
            MALFORMED, "a key twice in a nested map", b"\x81\xa1a\x82\xa1b\x01\xa1b\x02"
        ),
        "extension-type": fields(MALFORMED, "a msgpack extension", later=msgpack.ExtType(5, b"x")),
        "timestamp": fields(MALFORMED, "a msgpack timestamp is an extension", later=msgpack.Timestamp(1)),
        "nine-deep": fields(MALFORMED, "nine maps and arrays in one another", later=[[[[[[[[1]]]]]]]]),
        "array-of-4097": fields(MALFORMED, "an array of 4097", later=[0] * 4097),
        "extra-fields-65": fields(LIMIT, "65 unknown fields", **{f"later-{i}": i for i in range(65)}),
        "extra-fields-65-in-plane": plane(
            LIMIT, "65 unknown fields in an entry", **{f"l{i}": i for i in range(65)}
        ),
        **{f"without-{name.replace('_', '-')}": without(name) for name in header if name != "model"},
        "width-65536": fields(LIMIT, "a side over 65 535", width=65_536, height=1),
        "width-true": fields(MALFORMED, "a boolean is no integer", width=True),
        "width-negative": fields(MALFORMED, "below 1", width=-100),
        "block-8": fields(MALFORMED, "a block below 16", block=8),
        "block-1040": fields(MALFORMED, "a block above 1024", block=1040),
        "rates-of-other-planes": fields(MALFORMED, "rates that the planes do not have", rates=[16, 4]),
        "rate-3": Broken(
            MALFORMED,
            "a rate of 3",
            lambda: write_frame(
                {
                    **header,
                    "rates": [3, 2],
                    "planes": [{**header["planes"][0], "rate": 3}, header["planes"][1]],
                },
                pictures,
            ),
        ),
        "rate-twice": Broken(
            MALFORMED,
            "two planes of one rate",
            lambda: write_frame(
                {**header, "rates": [4, 4, 2], "planes": [header["planes"][0], *header["planes"]]},
                [pictures[0], *pictures],
            ),
        ),
        "rate-unused": Broken(
            MALFORMED, "a plane of a rate that no block has", lambda: _with_unused_rate(good)
        ),
        "no-planes": fields(MALFORMED, "no plane", rates=[], planes=[]),
        "strength-nil": fields(MALFORMED, "a required field is nil", strength=None),
        "downscaler-space": fields(MALFORMED, "a name with a space", downscaler="bi cubic"),
        "downscaler-version-large": fields(MALFORMED, "a version over 32 bits", downscaler_version=1 << 32),
        "model-path": fields(MALFORMED, "a name that is a path", model="../etc/passwd"),
        "model-65": fields(MALFORMED, "a name of 65 characters", model="m" * 65),
        "icc-text": fields(MALFORMED, "a profile that is a string", icc="profile"),
        "map-extra-field": packed("a packed map has two fields", bits=7),
        "map-critical-field": packed("a packed map has two fields", **{"!bits": 7}),
        "map-short": packed("a rate map that is a byte short", data=packed_map[:-1]),
        "map-long": packed("a rate map that is a byte long", data=packed_map + b"\0"),
        "map-group-125": packed("a group above 124", data=b"\xff" + packed_map[1:]),
        "map-filling-symbol": packed("a filling symbol that is not zero", data=_with_filling(packed_map)),
        "map-zlib-damaged": packed("a zlib stream that is none", coding="zlib", data=b"\0" + packed_map),
        "map-zlib-cut": packed(
            "a zlib stream without its end", coding="zlib", data=zlib.compress(packed_map)[:-2]
        ),
        "map-zlib-trailing": packed(
            "bytes after a zlib stream", coding="zlib", data=zlib.compress(packed_map) + b"\0"
        ),
        "strength-map-short": fields(MALFORMED, "a strength map of other blocks", strength_map=_raw(b"\0")),
        "strength-map-3": fields(
            MALFORMED,
            "a block of three halves",
            strength_map=_raw(pack_symbols(np.array([3] + [0] * 7, np.uint8))),
        ),
        "strength-map-coding": fields(
            UNSUPPORTED, "a coding that is not known", strength_map={"coding": "lzma", "data": b"\0"}
        ),
        "channels-2": fields(MALFORMED, "a picture of two channels", channels=2),
        "channels-true": fields(MALFORMED, "true is not 1", channels=True),
        "channels-float": fields(MALFORMED, "1.0 is not 1", channels=1.0),
        "grey-with-profile": fields(MALFORMED, "a grey picture with a profile", channels=1, icc=b"profile"),
        "dpi-one": fields(MALFORMED, "one density", dpi=[72.0]),
        "dpi-three": fields(MALFORMED, "three densities", dpi=[72.0, 72.0, 72.0]),
        "dpi-zero": fields(MALFORMED, "no pixels per inch", dpi=[72.0, 0.0]),
        "dpi-nan": fields(MALFORMED, "a density that is no number", dpi=[math.nan, 72.0]),
        "dpi-infinite": fields(MALFORMED, "a density without end", dpi=[72.0, math.inf]),
        "dpi-huge": fields(MALFORMED, "more than a million per inch", dpi=[72.0, 1_000_000.5]),
        "dpi-true": fields(MALFORMED, "a boolean is no number", dpi=[True, 72.0]),
        "entry-no-map": fields(MALFORMED, "a plane's entry is no map", planes=[1, 2]),
        "plane-bytes-0": plane(MALFORMED, "a plane of no bytes", bytes=0),
        "plane-bytes-huge": plane(LIMIT, "a plane of a TiB is claimed", bytes=1 << 40),
        "plane-digest-15": plane(MALFORMED, "a digest of 15 bytes", digest=bytes(15)),
        "plane-error-256": plane(MALFORMED, "a coding error above 255", error=256),
        "plane-error-float": plane(MALFORMED, "a coding error that is a float", error=0.5),
        "codec-gif": plane(UNSUPPORTED, "a codec that is not known", codec="gif"),
        "codec-no-name": plane(MALFORMED, "a codec that is no name", codec="p/ng"),
        "plane-16-bit": picture("a PNG of 16 bits", _coded("PNG", np.zeros((16, 28), np.uint16))),
        "plane-1-bit": picture("a PNG of 1 bit", _coded("PNG", np.zeros((16, 28), bool))),
        "plane-palette": picture("a PNG with a palette", _png((28, 16), mode="P")),
        "plane-interlaced": picture("an interlaced PNG", _patched_png(28, 16, 12, 1)),
        "plane-trailing": picture("bytes after the end of a PNG", pictures[0] + b"\0"),
        "plane-padding-missing": picture("a plane of the picture's size over 4", _coded("PNG", rgb)),
        "webp-trailing": picture("bytes after the end of a WebP", _webp(28, 16) + b"\0\0", "webp"),
        "webp-animated": picture("an animated WebP", _frames("WEBP"), "webp"),
        "webp-alpha": picture("a WebP with alpha", _coded("WEBP", _rgba(), lossless=True), "webp"),
        "avif-animated": picture("an animated AVIF", _frames("AVIF"), "avif"),
        "avif-alpha": picture("an AVIF with alpha", _coded("AVIF", _rgba()), "avif"),
        "avif-10-bit": picture("an AVIF of 10 bits", _deep_avif(), "avif"),
        **_av1(picture),
        "jpeg-plane": plane(MALFORMED, "a JPEG is for originals", codec="jpeg"),
        **_alphas(good),
        **_originals(),
        "planes-beside-bare-frame": Broken(MALFORMED, "no header at all", lambda: parts.sealed(bare)),
    }


def _av1(picture: Callable[[str, bytes, str], Broken]) -> dict[str, Broken]:
    """AV1 planes of 28×16 that are none."""
    good = encode_plane(parts.picture(28, 16), "av1", quality=60)[1]
    sequence, frame = good[: 2 + good[1]], good[2 + good[1] :]
    header = int.from_bytes(sequence[2:], "big")
    left = 8 * sequence[1]

    def bit(at: int) -> bytes:
        """The plane with one bit of its sequence header turned: the size lies from 18 on, the depth at 33."""
        return sequence[:2] + (header ^ 1 << left - 1 - at).to_bytes(sequence[1], "big") + frame

    bits = f"{header:0{left}b}"
    wide = bits[:10] + "1111" + bits[14:18] + "0" * 11 + bits[18:]
    files = {
        "room": (
            b"\x0a\x0a" + int(wide.ljust(80, "0"), 2).to_bytes(10, "big") + frame,
            "a width of 28 in 16 bits",
        ),
        "no-still": (bit(3), "AV1 data that is no still picture"),
        "whole-header": (bit(4), "an AV1 sequence header that is not of the reduced form"),
        "profile-4": (bit(0), "an AV1 profile that does not exist"),
        "size": (bit(18), "AV1 data of another width"),
        "10-bit": (bit(33), "AV1 data of 10 bits"),
        "two-frames": (good + frame, "AV1 data of two frames"),
        "delimiter": (b"\x12\0" + good, "a temporal delimiter before the sequence header"),
        "no-frame": (sequence, "an AV1 sequence header and no frame"),
        "no-sequence": (frame, "an AV1 frame and no sequence header"),
        "long-header": (b"\x0a\x0d" + sequence[2:].ljust(13, b"\0") + frame, "a sequence header of 13 bytes"),
        "truncated": (good[:-1], "an AV1 frame without its last byte"),
        "trailing": (good + b"\0", "a byte after an AV1 frame"),
        "boxes": (encode_plane(parts.picture(28, 16), "avif", quality=60)[1], "an AVIF file as an AV1 plane"),
    }
    return {f"av1-{name}": picture(why, data, "av1") for name, (data, why) in files.items()}


def _alphas(good: bytes) -> dict[str, Broken]:
    header, pictures = parts.fields_of(good)

    def alpha(error: str, why: str, data: bytes, codec: str = "png", /, **changes: object) -> Broken:
        entry = {"codec": codec, "bytes": len(data), "digest": digest(data)} | changes
        return Broken(error, why, lambda: write_frame({**header, "alpha": entry}, [*pictures, data]))

    grey = parts.picture(100, 60)[..., 0]
    data, padded = _coded("PNG", grey), _coded("PNG", parts.picture(112, 64)[..., 0])
    return {
        "alpha-size": alpha(PLANE, "an alpha channel of the padded size", padded),
        "alpha-rgba": alpha(PLANE, "an alpha channel with alpha", _png((100, 60), mode="RGBA")),
        "alpha-16-bit": alpha(PLANE, "an alpha channel of 16 bits", _coded("PNG", grey.astype(np.uint16))),
        "alpha-digest": alpha(CHANGED, "an alpha channel that was changed", data, digest=bytes(16)),
        "alpha-critical": alpha(UNSUPPORTED, "a critical field of alpha", data, **{"!depth": 2}),
        "alpha-without-bytes": alpha(MALFORMED, "an entry without its length", data, bytes=None),
        "alpha-jpeg": alpha(MALFORMED, "a JPEG is for originals", _coded("JPEG", grey), "jpeg"),
        "alpha-missing": Broken(
            TRUNCATED,
            "an alpha channel that is not there",
            lambda: write_frame(
                {**header, "alpha": {"codec": "png", "bytes": len(data), "digest": digest(data)}}, pictures
            ),
        ),
        "alpha-unsaid": Broken(
            MALFORMED, "an alpha channel without an entry", lambda: write_frame(header, [*pictures, data])
        ),
    }  # fmt: skip


def _originals() -> dict[str, Broken]:
    made = valid()["original-jpeg"]()
    assert not isinstance(made, bytes)
    header, (jpeg,) = parts.fields_of(made.to_bytes())

    def original(error: str, why: str, data: bytes = jpeg, codec: str = "jpeg", /, **changes: Any) -> Broken:
        entry = {**header["planes"][0], "codec": codec, "bytes": len(data), "digest": digest(data)}
        entry |= changes.pop("entry", {})
        return Broken(error, why, lambda: write_frame({**header, "planes": [entry], **changes}, [data]))

    def bare(**changes: Any) -> Broken:
        fields, pictures = parts.fields_of(
            parts.container(40, 30, block=16, strength=0, **changes).to_bytes()
        )
        why = "an original is the only plane, of rate 1"
        return Broken(MALFORMED, why, lambda: write_frame({**fields, "!original": True}, pictures))

    rgb = parts.picture(40, 30)
    alpha = _coded("PNG", rgb[..., 0])
    entry = {"codec": "png", "bytes": len(alpha), "digest": digest(alpha)}
    rgba = np.dstack([rgb, rgb[..., 0]])
    return {
        "original-false": original(MALFORMED, "the field is true or absent", **{"!original": False}),
        "original-1": original(MALFORMED, "1 is not true", **{"!original": 1}),
        "original-strength": original(MALFORMED, "an original has strength 0", strength=1),
        "original-strength-map": original(
            MALFORMED, "an original has no strength map", strength_map={"coding": "raw", "data": b"\0"}
        ),
        "original-error": original(MALFORMED, "an original has the coding error 0", entry={"error": 1}),
        "original-alpha": Broken(
            MALFORMED,
            "an original has no alpha channel",
            lambda: write_frame({**header, "alpha": entry}, [jpeg, alpha]),
        ),
        "original-rate-2": bare(rates=[2]),
        "original-two-planes": bare(rates=[1, 2]),
        "original-padded": original(PLANE, "an original of the padded size", _coded("JPEG", parts.picture(48, 32))),
        "original-other-format": original(PLANE, "a PNG that is said to be a JPEG", _coded("PNG", rgb)),
        "original-gif": original(UNSUPPORTED, "a codec that is not known", _coded("GIF", rgb), "gif"),
        "original-cmyk": original(PLANE, "four colours", _coded("JPEG", rgba, "CMYK")),
        "original-truncated": original(PLANE, "a JPEG without its end", jpeg[:-30]),
        "original-trailing": original(PLANE, "bytes after the end of a JPEG", jpeg + jpeg),
        "original-rgba": original(PLANE, "a PNG with alpha", _coded("PNG", rgba), "png"),
        "original-16-bit": original(PLANE, "a PNG of 16 bits", _coded("PNG", rgb[..., 0].astype(np.uint16)), "png"),
        "original-av1": original(
            MALFORMED, "an AV1 plane is no file", encode_plane(rgb, "av1", quality=60)[1], "av1"
        ),
        "original-animated": original(
            PLANE,
            "an animated WebP",
            _coded("WEBP", rgb, save_all=True, append_images=[Image.fromarray(rgb[::-1])], lossless=True),
            "webp",
        ),
    }  # fmt: skip


def _resealed(body: bytes) -> bytes:
    return body + digest(body)


def _raw(data: bytes) -> dict[str, object]:
    return {"coding": "raw", "data": data}


def _with_duplicate_key(good: bytes) -> bytes:
    header, pictures = parts.fields_of(good)
    packed = [parts.packed(key) + parts.packed(value) for key, value in header.items()]
    packed.append(parts.packed("strength") + parts.packed(0))
    head = msgpack.Packer().pack_map_header(len(packed))
    _, _, tail = write_frame({}, pictures).partition(SIGNATURE + b"\x80")
    return _resealed(SIGNATURE + head + b"".join(packed) + tail[:-16])


def _with_long_bin(made: Any) -> bytes:
    fields, (picture,) = parts.fields_of(made.to_bytes())
    head = b"\xc5" + len(picture).to_bytes(2, "big")
    return _resealed(SIGNATURE + parts.packed(fields) + head + picture)


def _with_str_plane(made: Any) -> bytes:
    fields, (picture,) = parts.fields_of(made.to_bytes())
    return _resealed(SIGNATURE + parts.packed(fields) + b"\xd9" + bytes([len(picture)]) + picture)


def _with_unused_rate(good: bytes) -> bytes:
    header, pictures = parts.fields_of(good)
    more, others = parts.fields_of(parts.container(100, 60, block=32, rates=[16], codec="png").to_bytes())
    planes = [*more["planes"], *header["planes"]]
    return write_frame({**header, "rates": [16, 4, 2], "planes": planes}, [*others, *pictures])


def _last_bit(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] | 1])


def _with_filling(data: bytes) -> bytes:
    """Eight symbols are three groups, the last of which has one symbol of filling: 21 bits, and three zeros."""
    value = int.from_bytes(data, "big") + (1 << 3)
    return value.to_bytes(len(data), "big")


def _rgba() -> parts.Picture:
    rgb = parts.picture(28, 16)
    return np.dstack([rgb, rgb[..., 0]])


def _coded(format: str, samples: Any, mode: str | None = None, **arguments: Any) -> bytes:
    out = BytesIO()
    image = Image.fromarray(samples)
    if mode is not None:
        image = image.convert("RGB").convert(mode)
    image.save(out, format, **arguments)
    return out.getvalue()


def _frames(format: str) -> bytes:
    rgb = parts.picture(28, 16)
    return _coded(format, rgb, save_all=True, append_images=[Image.fromarray(rgb[::-1])])


def _webp(width: int, height: int) -> bytes:
    return encode_plane(parts.picture(width, height))[1]


def _deep_avif() -> bytes:
    """An AVIF whose configuration (av1C) says 10 bits."""
    data = bytearray(encode_plane(parts.picture(28, 16), "avif", quality=60)[1])
    data[data.index(b"av1C") + 6] |= 0x40
    return bytes(data)


def _png(size: tuple[int, int], mode: str = "RGB", save_all: bool = False) -> bytes:
    out = BytesIO()
    frames = [Image.new(mode, size, 90), Image.new(mode, size, 200)]
    frames[0].save(out, "PNG", **({"save_all": True, "append_images": frames[1:]} if save_all else {}))
    return out.getvalue()


def _short_png(width: int, height: int) -> bytes:
    """A PNG, every chunk of it right, whose deflate stream ends regularly after half of the rows."""
    rows = b"".join(b"\0" + bytes([200]) * 3 * width for _ in range(height // 2))
    return _png_of(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), rows)


def _patched_png(width: int, height: int, at: int, value: int) -> bytes:
    """A PNG with one byte of its header changed."""
    head = bytearray(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    head[at] = value
    return _png_of(bytes(head), (b"\0" + bytes([200]) * 3 * width) * height)


def _png_of(head: bytes, rows: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
