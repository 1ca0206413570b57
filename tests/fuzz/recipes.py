"""Recipes of the corpus: small containers that break one rule each.

`python -m tests.fuzz.recipes` writes the files that are missing in `corpus/`, and their lines in the manifest. Files
that fuzzing found have a line and no recipe.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from bbmr_shared import AlphaPlane, Container, Plane
from bbmr_shared.container.frame import SIGNATURE, write_frame
from bbmr_shared.images.codecs import encode_plane
from bbmr_shared.limits import DEFAULT_LIMITS
from tests.fuzz import bombs
from tests.fuzz.damage import CORPUS
from tests.fuzz.promises import check_preview
from tests.shared import parts

MANIFEST = CORPUS / "MANIFEST.json"
Files = Iterator[tuple[str, str, bytes]]
SIZE = (16, 16)
PIXELS = np.arange(768, dtype=np.uint8).reshape(16, 16, 3) // 16
SMALL = Container(*SIZE, np.ones((1, 1), np.uint8), (Plane(1, "png", b""),), block=16, strength=0)


def recipes() -> dict[str, tuple[str, bytes]]:
    """Every recipe by name."""
    found: dict[str, tuple[str, bytes]] = {}
    for group in (
        _ends,
        _packing,
        _fields,
        _names,
        _entries,
        _maps,
        _png,
        _webp,
        _avif,
        _av1,
        _jpeg,
        _originals,
    ):
        for name, why, data in group():
            assert name not in found
            found[name] = (why, data)
    return found


def _ends() -> Files:
    good = _with("png", _picture("PNG"))
    yield "only-signature", "nothing follows the signature", SIGNATURE
    yield "half-signature", "the file ends inside its signature", SIGNATURE[:5]
    yield "only-digest", "a right digest of nothing but the signature", parts.sealed(b"")
    yield (
        "one-byte-header",
        "a header that announces more than there is, under a right digest",
        parts.sealed(b"\x8f"),
    )
    yield "no-planes", "the file ends after its header, under a right digest", write_frame(_header(good), [])
    yield "zip", "another kind of file", b"PK\3\4" + bytes(40)
    yield "twice", "two containers in a row", good + good
    yield "unsealed", "the digest is missing and nothing else", good[:-16]
    yield "alpha-missing", "an alpha channel is declared and not there", _alpha_missing(good)
    yield (
        "bin-too-many",
        "one picture more than the header lists",
        write_frame(_header(good), [_picture("PNG")] * 2),
    )
    longer = good.replace(
        struct.pack(">BB", 0xC4, len(_picture("PNG"))), struct.pack(">BH", 0xC5, len(_picture("PNG")))
    )
    yield "bin-long-head", "a bin whose length takes more bytes than it needs", parts.sealed(longer[8:-16])


def _packing() -> Files:
    packed = {
        "nil": (b"\xc0", "nil in place of the header"),
        "array": (b"\x91\x01", "an array in place of the header"),
        "reserved-byte": (b"\x81\xa1a\xc1", "C1, which msgpack never uses"),
        "integer-key": (b"\x81\x01\x01", "a key that is a number"),
        "bin-key": (b"\x81\xc4\x01a\x01", "a key that is bytes"),
        "inner-integer-key": (b"\x81\xa1a\x81\x01\x01", "a key that is a number, in a map inside the header"),
        "array-key": (b"\x81\x91\x01\x01", "a key that is an array"),
        "extension": (b"\x81\xa1a\xd4\x05\x00", "an extension type"),
        "timestamp": (b"\x81\xa1a\xd6\xff\0\0\0\0", "msgpack's own extension, a time"),
        "extension-bomb": (b"\x81\xa1a\xc9\xff\xff\xff\xff\x05", "an extension of 4 GB that is not there"),
        "text-bomb": (b"\x81\xdb\xff\xff\xff\xff", "a key of 4 GB that is not there"),
        "map-bomb": (b"\xdf\xff\xff\xff\xff", "a map of 4 billion fields that are not there"),
        "inner-map-bomb": (b"\x81\xa1a\xdf\xff\xff\xff\xff", "the same in a field"),
        "broken-utf-8": (b"\x81\xa2\xff\xfe\x01", "a key that is not UTF-8"),
        "surrogate": (b"\x81\xa3\xed\xa0\x80\x01", "half a UTF-16 pair in UTF-8"),
        "nested-9": (b"\x81\xa1a" + b"\x91" * 9 + b"\x01", "arrays one deeper than the limit"),
        "many-arrays": (b"\x81\xa1a\xdc\x0f\xff" + b"\x90" * 4096, "more arrays than the limit"),
        "inner-twin": (
            b"\x81\xa3map\x82\xa1a\x01\xa1a\x02",
            "a key that comes twice in a map inside the header",
        ),
        "empty-map": (b"\x80", "a header without fields"),
    }
    for name, (body, why) in packed.items():
        yield f"header-{name}", why, parts.sealed(body)


def _fields() -> Files:
    good = _with("png", _picture("PNG"))
    changes: dict[str, tuple[dict[str, Any], str]] = {
        "version-0": ({"version": 0}, "a version before the first"),
        "version-text": ({"version": "1"}, "a version that is text"),
        "version-huge": ({"version": (1 << 64) - 1}, "the largest integer there is"),
        "width-65536": ({"width": 65_536}, "a side above the limit"),
        "width-huge": ({"width": (1 << 64) - 1}, "a width near 2⁶⁴"),
        "width-negative": ({"width": -16}, "a negative width"),
        "width-true": ({"width": True}, "a boolean for a number"),
        "width-nil": ({"width": None}, "nil for a required field"),
        "width-nan": ({"width": float("nan")}, "not a number"),
        "all-pixels": (
            {"width": 65_535, "height": 65_535},
            "both sides at their limit, the area far above its own",
        ),
        "block-0": ({"block": 0}, "blocks of no size: a division by zero"),
        "block-8": ({"block": 8}, "blocks below the smallest"),
        "block-1040": ({"block": 1040}, "blocks above the largest"),
        "rates-empty": ({"rates": []}, "no rates"),
        "rates-six": ({"rates": [16, 8, 4, 2, 1, 1]}, "more rates than there are"),
        "rate-3": ({"rates": [3]}, "a rate that is not in the palette"),
        "strength-minus": ({"strength": -1}, "a strength below 0"),
        "version-of-downscaler": ({"downscaler_version": 1 << 32}, "more than 32 bits"),
        "dpi-nan": ({"dpi": [float("nan"), 72.0]}, "pixels per inch that are no number"),
        "dpi-infinite": ({"dpi": [72.0, float("inf")]}, "infinitely many pixels per inch"),
        "dpi-zero": ({"dpi": [0, 72]}, "no pixels per inch"),
        "dpi-huge": ({"dpi": [1e300, 1e300]}, "more pixels per inch than any writer can name"),
        "dpi-three": ({"dpi": [72, 72, 72]}, "three densities"),
        "dpi-true": ({"dpi": [True, True]}, "booleans for densities"),
        "channels-2": ({"channels": 2}, "neither grey nor colour"),
        "channels-float": ({"channels": 3.0}, "a float for an integer"),
        "icc-text": ({"icc": "text"}, "a profile that is text"),
        "extra-65": ({f"x{number}": 0 for number in range(65)}, "more unknown fields than the limit"),
        "original-false": ({"!original": False}, "a critical field that says no"),
        "original-one": ({"!original": 1}, "a number for a boolean"),
        "original-alpha": ({"!original": True, "alpha": {}}, "a source file with a damaged alpha channel"),
    }
    for name, (change, why) in changes.items():
        yield name, why, write_frame({**_header(good), **change}, _pictures(good))
    for missing in ("version", "width", "map", "planes", "strength", "downscaler"):
        fields = _header(good)
        del fields[missing]
        yield f"without-{missing}", "a required field is missing", write_frame(fields, _pictures(good))
    odd = {"size": 1, "original": 2, "extra": 3, "pictures": 4, "model_extra": 5, "__class__": 6, "": 7}
    yield (
        "fields-like-code",
        "unknown fields named like the reader's own attributes: kept",
        write_frame({**_header(good), **odd}, _pictures(good)),
    )
    numbers = {
        "nan": float("nan"),
        "inf": float("inf"),
        "low": -(1 << 63),
        "high": (1 << 64) - 1,
        "none": None,
    }
    yield (
        "fields-of-numbers",
        "unknown fields with every extreme number: kept",
        write_frame({**_header(good), **numbers}, _pictures(good)),
    )


def _names() -> Files:
    good = _with("png", _picture("PNG"))
    for name, text, why in (
        ("newline", "a\nb", "a line break: messages and logs have one line"),
        ("newline-at-end", "light\n", "a line break at the end, which a pattern's $ may let through"),
        ("escape", "\x1b[2J", "an escape sequence that clears a terminal"),
        ("path", "../../etc/passwd", "a path out of the folder of weights"),
        ("long", "a" * 65, "one character more than the limit"),
        ("digits", "١٢٣", "digits, but not of ASCII"),
        ("empty", "", "an empty name"),
        ("nul", "a\0b", "a NUL inside"),
    ):
        yield f"model-{name}", why, write_frame({**_header(good), "model": text}, _pictures(good))
    yield (
        "critical-escape",
        "a critical field whose name would clear a terminal",
        write_frame({**_header(good), "!\x1b[2J\n": 1}, _pictures(good)),
    )
    yield "codec-escape", "a codec whose name would clear a terminal", _entry(good, codec="\x1b[2J")
    yield "codec-jpeg", "JPEG is for source files only", _entry(good, codec="jpeg")


def _entries() -> Files:
    good = _with("png", _picture("PNG"))
    for name, change, why in (
        ("bytes-0", {"bytes": 0}, "an empty plane"),
        ("bytes-2-63", {"bytes": 1 << 63}, "a length near the end of 64 bits"),
        ("bytes-limit", {"bytes": (256 << 20) + 1}, "one byte above the limit"),
        ("bytes-more", {"bytes": 4000}, "a length beyond the end of the file"),
        ("digest-short", {"digest": bytes(15)}, "a digest of 15 bytes"),
        ("digest-text", {"digest": "a" * 16}, "a digest that is text"),
        ("rate-17", {"rate": 17}, "a rate above the palette"),
        ("error-256", {"error": 256}, "a coding error of more than a byte"),
        ("error-minus", {"error": -1}, "a negative coding error"),
        ("codec-integer", {"codec": 7}, "a codec that is a number"),
    ):
        yield f"plane-{name}", why, _entry(good, **change)
    entry = _header(good)["planes"][0]
    yield "planes-empty", "no planes", write_frame({**_header(good), "planes": []}, [])
    yield (
        "planes-map",
        "a map in place of the list of planes",
        write_frame({**_header(good), "planes": entry}, []),
    )
    yield "planes-integers", "numbers in place of planes", write_frame({**_header(good), "planes": [1]}, [])
    yield (
        "planes-twins",
        "two planes of one rate",
        write_frame({**_header(good), "rates": [1, 1], "planes": [entry, entry]}, _pictures(good) * 2),
    )
    two = parts.container(32, 16, block=16, rates=[1, 2], codec="png").to_bytes()
    fields, pictures = parts.fields_of(two)
    yield (
        "planes-swapped",
        "two planes in the wrong order, their entries right",
        write_frame(fields, pictures[::-1]),
    )
    yield (
        "planes-overlap",
        "two entries that share one plane's bytes",
        write_frame(
            {
                **fields,
                "planes": [
                    {**entry, "rate": rate}
                    for entry, rate in zip([fields["planes"][0]] * 2, (2, 1), strict=True)
                ],
            },
            pictures[:1],
        ),
    )
    alpha = parts.container(16, 16, block=16, rates=[1], codec="png", alpha=True).to_bytes()
    fields, pictures = parts.fields_of(alpha)
    for name, picture, codec, why in (
        ("size", _picture("PNG", (17, 16), "L"), "png", "an alpha channel larger than the picture"),
        ("rgba", _picture("PNG", mode="RGBA"), "png", "an alpha channel with an alpha channel"),
        ("jpeg", _picture("JPEG", mode="L"), "jpeg", "an alpha channel as JPEG"),
    ):
        fields["alpha"]["codec"] = codec
        yield f"alpha-{name}", why, parts.with_picture(fields, pictures, 1, picture)


def _maps() -> Files:
    good = _with("png", _picture("PNG"))
    stream = zlib.compressobj(9, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, b"\0\0\0")
    for name, packed, why in (
        ("short", {"coding": "raw", "data": b""}, "a byte less than the blocks need"),
        ("long", {"coding": "raw", "data": b"\0\0"}, "a byte more than the blocks need"),
        ("group-125", {"coding": "raw", "data": bytes([125 << 1])}, "a group above 124"),
        ("filling", {"coding": "raw", "data": bytes([1 << 1])}, "a symbol behind the last block"),
        ("other-rate", {"coding": "raw", "data": bytes([25 << 1])}, "a rate that has no plane"),
        ("zlib-cut", {"coding": "zlib", "data": zlib.compress(b"\0")[:-5]}, "a stream without its end"),
        (
            "zlib-sum",
            {"coding": "zlib", "data": zlib.compress(b"\0")[:-1] + b"\0"},
            "a stream with a wrong checksum",
        ),
        ("zlib-more", {"coding": "zlib", "data": zlib.compress(b"\0") + b"\0"}, "a byte behind the stream"),
        ("zlib-twice", {"coding": "zlib", "data": zlib.compress(b"\0") * 2}, "two streams in a row"),
        (
            "zlib-dictionary",
            {"coding": "zlib", "data": stream.compress(b"\0") + stream.flush()},
            "a preset dictionary",
        ),
        ("zlib-empty", {"coding": "zlib", "data": b""}, "no stream"),
        ("text", {"coding": "raw", "data": "\0"}, "text in place of bytes"),
        ("without-data", {"coding": "raw"}, "no data"),
        ("extra", {"coding": "raw", "data": b"\0", "more": 1}, "a field that a map cannot have"),
    ):
        yield f"map-{name}", why, write_frame({**_header(good), "map": packed}, _pictures(good))
    above = {"coding": "raw", "data": bytes([75 << 1])}
    yield (
        "strength-map-3",
        "a strength above full",
        write_frame({**_header(good), "strength_map": above}, _pictures(good)),
    )


def _png() -> Files:
    good = _picture("PNG")
    bomb = zlib.compress(bytes(1 << 20), 9)
    head = struct.pack(">IIBBBBB", *SIZE, 8, 2, 0, 0, 0)
    for name, data, why in (
        ("16-bit", _picture("PNG", mode="I;16"), "16 bits a sample"),
        ("palette", _picture("PNG", mode="P"), "a palette"),
        ("grey-alpha", _picture("PNG", mode="LA"), "grey with alpha"),
        (
            "profile-bomb",
            bombs.png_with_chunks(good, b"iCCP", bombs.png_profile(1 << 20), 20),
            "20 MB of profiles: ignored",
        ),
        (
            "text-bomb",
            bombs.png_with_chunks(good, b"iTXt", bombs.png_text(1 << 20), 20),
            "20 MB of text: ignored",
        ),
        (
            "exif",
            bombs.png_with_chunks(good, b"eXIf", b"II*\0" + b"\xff" * 20),
            "EXIF that points nowhere: ignored",
        ),
        ("transparent", bombs.png_with_chunks(good, b"tRNS", bytes(6)), "a transparent colour: ignored"),
        ("sample-bomb", png_of(head, bomb), "a thousand times the samples that its header declares"),
        (
            "header-twice",
            bombs.png_with_chunks(good, b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)),
            "a second header of another size",
        ),
        ("size-0", png_of(struct.pack(">IIBBBBB", 0, 16, 8, 2, 0, 0, 0), b""), "no columns"),
        (
            "size-2-31",
            png_of(struct.pack(">IIBBBBB", 1 << 31, 1 << 31, 8, 2, 0, 0, 0), b""),
            "sides beyond what PNG allows",
        ),
        ("interlaced", png_of(struct.pack(">IIBBBBB", *SIZE, 8, 2, 0, 0, 1), b""), "interlaced"),
        ("filter-9", png_of(head, zlib.compress(b"\x09" * 49 * 16)), "a row filter that does not exist"),
        ("checksum", good[:-20] + bytes([good[-20] ^ 1]) + good[-19:], "a chunk with a wrong checksum"),
        ("chunk-length", good[:33] + b"\xff\xff\xff\xff" + good[37:], "a chunk of 4 GB that is not there"),
        ("no-end", good[:-12], "no IEND"),
        ("bytes-after", good + b"\0", "a byte behind IEND"),
        ("no-samples", png_of(head, zlib.compress(b"")), "an empty stream"),
        ("stream-cut", png_of(head, zlib.compress(bytes(49 * 16))[:-4]), "a stream without its checksum"),
        ("many-chunks", bombs.png_with_chunks(good, b"tEXt", b"", 900), "900 empty texts: ignored"),
    ):
        yield f"png-{name}", why, _with("png", data)


def _webp() -> Files:
    good = _picture("WEBP", lossless=True)
    lossy = _picture("WEBP", quality=40)
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\x0f\0\0\x0f\0\0"
    wide = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\x0f\xff\xff\x0f"
    for name, data, why in (
        ("lossy", lossy, "a lossy plane: allowed"),
        ("length", good[:4] + struct.pack("<I", 9) + good[8:], "a file longer than its RIFF header says"),
        ("length-4gb", good[:4] + b"\xff\xff\xff\xff" + good[8:], "a file of 4 GB that is not there"),
        ("canvas", _riff(canvas + good[12:]), "an extended file of one picture: allowed"),
        (
            "canvas-huge",
            _riff(wide + good[12:]),
            "a canvas of a million pixels a side around a small picture",
        ),
        ("canvas-only", _riff(canvas), "a canvas without a picture"),
        ("two-pictures", _riff(canvas + good[12:] * 2), "two pictures"),
        ("animated", _animated("WEBP"), "an animation"),
        ("alpha", _picture("WEBP", mode="RGBA", lossless=True), "an alpha channel"),
        (
            "alpha-chunk",
            _riff(canvas[:8] + b"\x10" + canvas[9:] + b"ALPH" + struct.pack("<I", 2) + b"\0\0" + lossy[12:]),
            "alpha beside a lossy picture",
        ),
        (
            "chunk-length",
            _riff(b"VP8L" + b"\xff\xff\xff\xff" + good[20:]),
            "a chunk of 4 GB that is not there",
        ),
        (
            "cut",
            _riff(good[12:16] + struct.pack("<I", 30) + good[20:50]),
            "pixels that end early, every length right",
        ),
        (
            "lossy-cut",
            _riff(b"VP8 " + struct.pack("<I", 20) + lossy[20:40]),
            "a lossy picture that ends early",
        ),
        (
            "version-7",
            good[:24] + bytes([good[24] | 0xE0]) + good[25:],
            "a version of lossless WebP that does not exist",
        ),
        ("other-size", good[:21] + b"\x20" + good[22:], "pixels of another size than the header declares"),
        (
            "many-chunks",
            _riff(canvas + good[12:] + b"XXXX\0\0\0\0" * 400),
            "400 unknown empty chunks: ignored",
        ),
        (
            "metadata",
            _riff(
                canvas[:8] + b"\x0c" + canvas[9:] + good[12:] + b"EXIF\4\0\0\0\xff\xff\xff\xffXMP \2\0\0\0<<"
            ),
            "EXIF and XMP of nothing: ignored",
        ),
        ("png", _picture("PNG"), "a PNG under the name of WebP"),
    ):
        yield f"webp-{name}", why, _with("webp", data)


def _avif() -> Files:
    good = _picture("AVIF", quality=40, speed=10)
    large = _picture("AVIF", (2048, 2048), quality=10, speed=10)
    at = good.rindex(b"mdat") + 4
    sequence = good[at : at + 2 + good[at + 1]]
    room = len(good) - at - len(sequence)
    frames = sequence + b"\x32\x00" * (room // 2) + b"\x78" * (room % 2)
    for name, data, why in (
        ("larger-inside", bombs.avif_with_size(large, *SIZE), "AV1 data of 2048×2048 in a box of 16×16"),
        ("smaller-inside", bombs.avif_with_size(good, 8192, 8192), "a box of 8192×8192 around AV1 data of 16×16"),
        ("items", bombs.avif_with_items(good, 1024), "more items than the limit: time by their square"),
        ("items-claimed", _changed_after(good, b"iinf", 8, b"\xff\xff"), "items that are not there"),
        ("frames", good[:at] + frames + good[at + len(frames) :], "many frames, which are all decoded to show one"),
        ("animated", _animated("AVIF"), "an animation"),
        ("cut", good[:-10], "pixels that end early"),
        ("no-primary", good.replace(b"pitm", b"free"), "no primary picture"),
        ("primary-elsewhere", _changed_after(good, b"pitm", 8, b"\0\7"), "a primary that is not there"),
        ("box-long", _changed_after(good, b"meta", -4, b"\x7f\xff\xff\xff"), "a box of 2 GB"),
        ("box-short", _changed_after(good, b"iloc", -4, b"\0\0\0\4"), "a box shorter than its own head"),
        ("boxes", good + b"\0\0\0\x08free" * 4096, "more boxes than the limit"),
        ("meta-twice", good + good[good.index(b"meta") - 4 : good.rindex(b"mdat") - 4], "two lists of items"),
        ("only-ftyp", good[: struct.unpack_from(">I", good)[0]], "nothing but the type of the file"),
        ("no-sequence", good[:at] + b"\x12\0" + b"\x0a\0" + good[at + 4 :], "a sequence header of nothing"),
        ("location", _changed_after(good, b"iloc", 22, b"\x7f\xff\xff\xff"), "pixels beyond the end of the file"),
    ):  # fmt: skip
        yield f"avif-{name}", why, _with("avif", data)


def _av1() -> Files:
    good, large = (
        encode_plane(np.resize(PIXELS, (side, side, 3)), "av1", quality=40, speed=10)[1]
        for side in (16, 2048)
    )
    sequence, frame = good[: 2 + good[1]], good[2 + good[1] :]
    for name, data, why in (
        ("larger-inside", large, "AV1 data of 2048×2048 where 16×16 is declared"),
        ("cut", good[:-4], "a frame that ends early"),
        (
            "frame-short",
            sequence + b"\x32" + bytes([len(frame) - 6]) + frame[2:-4],
            "a whole OBU with half a frame",
        ),
        ("frame-empty", sequence + b"\x32\0", "a frame of nothing"),
        ("frames", good + frame * 40, "many frames"),
        ("padding", good + b"\x7a\0", "an OBU of padding behind the frame"),
        ("twice", good + good, "two pictures"),
        ("no-sequence", frame, "a frame without a sequence header"),
        ("sequence-empty", b"\x0a\0" + frame, "a sequence header of nothing"),
        ("sequence-cut", b"\x0a\5" + sequence[2:7] + frame, "a sequence header that ends early"),
        (
            "sequence-long",
            b"\x0a\x7f" + sequence[2:].ljust(127, b"\0") + frame,
            "a sequence header of 127 bytes",
        ),
        ("length-endless", b"\x0a" + b"\x80" * 12, "a length without an end"),
        ("length-huge", sequence + b"\x32\xff\xff\xff\xff\x0f" + frame[2:], "a frame of 4 GB is claimed"),
        ("no-length", sequence + b"\x30" + frame[2:], "a frame without a length"),
        ("extension", sequence + b"\x36\0" + frame[1:], "a frame of a layer"),
        ("delimiter", b"\x12\0" + good, "a temporal delimiter"),
        ("boxes", _picture("AVIF", quality=40, speed=10), "an AVIF file"),
        ("one-byte", b"\x0a", "the first byte and no more"),
    ):
        yield f"av1-{name}", why, _with("av1", data)


def _jpeg() -> Files:
    good, steps = _picture("JPEG", quality=30), _picture("JPEG", quality=30, progressive=True)
    frame = good.index(b"\xff\xc0")
    scan = good.index(b"\xff\xda")
    for name, data, why in (
        ("filling", bombs.jpeg_with_filling(good, 20_000), "20,000 bytes of FF: skipped at once"),
        ("segments", bombs.jpeg_with_segments(good, 5000), "5,000 empty segments: left out before decoding"),
        ("scans", bombs.jpeg_with_scans(steps, 100), "a progressive picture of more scans than the limit"),
        (
            "scans-repeated",
            bombs.jpeg_with_scans(steps, 20),
            "scans that come again, below the limit: decoded",
        ),
        ("two-frames", good[:scan] + good[frame : frame + 19] + good[scan:], "two frame headers"),
        ("arithmetic", good[:frame] + b"\xff\xc9" + good[frame + 2 :], "arithmetic coding"),
        ("12-bit", good[: frame + 4] + b"\x0c" + good[frame + 5 :], "12 bits a sample"),
        (
            "no-lines",
            good[: frame + 5] + b"\0\0" + good[frame + 7 :],
            "a height that a later marker would name",
        ),
        (
            "larger",
            good[: frame + 5] + b"\xff\xff\xff\xff" + good[frame + 9 :],
            "65,535 pixels a side in a few bytes",
        ),
        ("four-colours", _picture("JPEG", mode="CMYK"), "four colours"),
        ("bytes-after", good + b"\0" * 8, "bytes behind the end"),
        ("no-end", good[:-2], "no end"),
        ("scan-cut", good[: scan + 16] + good[-2:], "a scan that ends early, its end in place"),
        ("no-scan", good[:scan] + good[-2:], "no scan"),
        ("no-tables", good[:2] + good[frame : frame + 19] + good[scan:], "no tables"),
        (
            "restarts",
            good[:scan] + b"\xff\xdd\0\4\0\1" + good[scan:],
            "restart markers promised and not there",
        ),
        (
            "scan-filling",
            bombs.jpeg_with_filled_scan(good, 5000),
            "a scan that ends in 5,000 bytes of FF: left out",
        ),
        (
            "restart-storm",
            good[:-2] + b"\xff\xd0\xff\xd7" * 50 + good[-2:],
            "a hundred restart markers at the end",
        ),
        (
            "segment-length",
            good[:2] + b"\xff\xe1\xff\xff" + good[2:],
            "a segment that reaches into the picture",
        ),
        ("segment-length-0", good[:2] + b"\xff\xe1\0\0" + good[2:], "a segment shorter than its length"),
        (
            "exif-loop",
            good[:2]
            + _app1(b"Exif\0\0II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\x08\0\0\0")
            + good[2:],
            "EXIF that points at itself: left out",
        ),
        ("png", _picture("PNG"), "a PNG under the name of JPEG"),
    ):
        yield f"jpeg-{name}", why, _original("jpeg", data)


def _originals() -> Files:
    jpeg = _picture("JPEG", quality=30)
    good = _original("jpeg", jpeg)
    fields, pictures = parts.fields_of(good)
    entry = fields["planes"][0]
    for name, change, why in (
        ("strength-2", {"strength": 2}, "a source file that a network should correct"),
        ("channels-1", {"channels": 1}, "a colour file said to be grey"),
        ("error-9", {"planes": [{**entry, "error": 9}]}, "a source file with a coding error"),
        ("rate-2", {"planes": [{**entry, "rate": 2}], "rates": [2]}, "a source file at half its size"),
        ("width", {"width": 17}, "a source file of another width"),
    ):
        yield f"original-{name}", why, write_frame({**fields, **change}, pictures)
    alpha = replace(
        Container.from_bytes(_with("png", _picture("PNG"))),
        alpha=AlphaPlane("png", _picture("PNG", mode="L")),
    )
    yield (
        "original-with-alpha",
        "a source file with an alpha channel beside it",
        write_frame({**_header(alpha.to_bytes()), "!original": True}, _pictures(alpha.to_bytes())),
    )
    yield (
        "jpeg-plane",
        "JPEG that is no source file",
        write_frame({name: value for name, value in fields.items() if name != "!original"}, pictures),
    )


def main() -> None:
    """Write what is not there yet; what is there stays, whatever an encoder of today would make of its recipe."""
    held = json.loads(MANIFEST.read_text()) if MANIFEST.is_file() else {}
    for name, (why, data) in recipes().items():
        path = CORPUS / f"{name}.bbmr"
        if not path.exists():
            path.write_bytes(data)
            held[name] = {"outcome": check_preview(data, DEFAULT_LIMITS, verify=True), "why": why}
    MANIFEST.write_text(json.dumps(dict(sorted(held.items())), indent=1, ensure_ascii=False) + "\n")


def _picture(format: str, size: tuple[int, int] = SIZE, mode: str = "RGB", **options: Any) -> bytes:
    if mode == "I;16":
        image = Image.fromarray(np.arange(size[0] * size[1], dtype=np.uint16).reshape(size[1], size[0]))
    else:
        image = Image.fromarray(PIXELS).resize(size, Image.Resampling.NEAREST).convert(mode)
    if "A" in mode:
        image.putalpha(90)
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def _animated(format: str) -> bytes:
    frames = [Image.new("RGB", SIZE, (shade, 0, 0)) for shade in (0, 200)]
    out = io.BytesIO()
    frames[0].save(out, format, save_all=True, append_images=frames[1:])
    return out.getvalue()


def png_of(head: bytes, stream: bytes) -> bytes:
    chunks = ((b"IHDR", head), (b"IDAT", stream), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def _riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def _app1(body: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def _changed_after(data: bytes, kind: bytes, offset: int, new: bytes) -> bytes:
    at = data.index(kind) + offset
    return data[:at] + new + data[at + len(new) :]


def _with(codec: str, data: bytes) -> bytes:
    """The smallest container, 16×16 of rate 1, around any plane."""
    return replace(SMALL, planes=(Plane(1, codec, data),)).to_bytes()


def _original(codec: str, data: bytes) -> bytes:
    return replace(SMALL, planes=(Plane(1, codec, data),), original=True).to_bytes()


def _header(data: bytes) -> dict[str, Any]:
    return parts.fields_of(data)[0]


def _pictures(data: bytes) -> list[bytes]:
    return parts.fields_of(data)[1]


def _entry(data: bytes, **changes: Any) -> bytes:
    fields, pictures = parts.fields_of(data)
    return write_frame({**fields, "planes": [{**fields["planes"][0], **changes}]}, pictures)


def _alpha_missing(data: bytes) -> bytes:
    fields, pictures = parts.fields_of(data)
    entry = {"codec": "png", "bytes": 99, "digest": bytes(16)}
    return write_frame({**fields, "alpha": entry}, pictures)


if __name__ == "__main__":
    main()
