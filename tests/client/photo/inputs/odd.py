"""Rows: sizes, several pictures in one file, names that lie, and what is no picture at all."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

from tests.client.photo.inputs.carried import turned
from tests.client.photo.inputs.modes import SAME, heif, jxl
from tests.client.photo.inputs.parts import (
    HEIGHT,
    WIDTH,
    chunk,
    coded,
    colour,
    damaged,
    grey,
    pattern,
    png,
    png_rows,
    tiff,
)
from tests.client.photo.inputs.table import Kept, Refused, Row

TOO_MANY = ": the picture is {}×{}; at most 134217728 pixels are allowed"
TOO_LONG = ": the picture is {}×{}; a side may have at most 65535 pixels"
GAIN_MAP = "its HDR gain map is left out: the picture is kept as standard screens show it"
NO_PICTURE = " is not a picture that can be read (JPEG, PNG, WebP, AVIF, TIFF, …)"
FIRST = "its first picture is kept"
EARLY = "refused before decoding"
WHAT = "refused; the message says what it is"
HALF = "refused, never half a picture"
FLAT = (70, 130, 180)


def frames(format: str, **options: object) -> bytes:
    first, *more = [
        Image.new("RGB", (WIDTH, HEIGHT), shade) for shade in ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    ]
    return coded(first, format, save_all=True, append_images=more, **options)


def red() -> np.ndarray:
    return np.tile(np.array([255, 0, 0], np.uint8), (HEIGHT, WIDTH, 1))


def sized(width: int, height: int) -> bytes:
    return coded(Image.fromarray(np.ascontiguousarray(pattern(width, height))), "PNG")


def flat(width: int, height: int, shade: tuple[int, int, int] = FLAT) -> bytes:
    """A large PNG of one colour, made and stored in little: the same rows again and again."""
    row = b"\0" + bytes(shade) * width
    deflate = zlib.compressobj(1)
    body = b"".join(deflate.compress(row) for _ in range(height)) + deflate.flush()
    return png(width, height, 8, 2, b"", stream=body)


def stereo() -> bytes:
    return coded(colour(), "MPO", save_all=True, append_images=[grey().convert("RGB")])


def ultra_hdr() -> bytes:
    xmp = b'<x:xmpmeta xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
    return coded(colour(), "MPO", save_all=True, append_images=[grey()], xmp=xmp)


def forged_png(width: int, height: int) -> bytes:
    """A few dozen bytes that claim a picture of any size."""
    return png(width, height, 8, 2, b"\0")


def forged_webp(width: int, height: int) -> bytes:
    """A WebP whose canvas is what it claims; Pillow allocates it on opening."""
    frame = coded(Image.new("RGBA", (8, 8), (1, 2, 3, 4)), "WEBP", lossless=True)
    body = frame[12:]
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    if body[:4] == b"VP8X":
        body = body[18:]
    body = b"VP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + canvas + body
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def forged_jxl() -> bytes:
    """A JPEG XL codestream of 2^30 × 2^30 pixels, whose plugin decodes on opening."""
    bits = 0b0 | 0b11 << 1 | ((1 << 30) - 1) << 3 | 0b001 << 33  # not small, 30 bits, square
    return b"\xff\x0a" + bits.to_bytes(8, "little") + bytes(32)


def tiny_gif_frame() -> bytes:
    """A GIF of 1×1 on a canvas of 65535×65535."""
    data = bytearray(coded(Image.new("P", (1, 1)), "GIF"))
    data[6:10] = struct.pack("<HH", 65535, 65535)
    return bytes(data)


def early_end() -> bytes:
    """A PNG of 64×64 whose deflate stream ends, as it should, after 5 rows."""
    rows = png_rows(pattern(64, 64)[:5])
    return png(64, 64, 8, 2, rows)


def flipped() -> bytes:
    """A PNG with one bit of its image data changed."""
    data = bytearray(coded(colour(200, 160), "PNG"))
    data[data.index(b"IDAT") + 60] ^= 16
    return bytes(data)


def bomb(kind: bytes, head: bytes) -> bytes:
    """A small PNG with a compressed chunk that inflates to 64 MiB."""
    body = head + zlib.compress(bytes(64 << 20), 9)
    return png(8, 8, 8, 2, png_rows(pattern(8, 8)), before=chunk(kind, body))


def loop() -> bytes:
    """A TIFF whose directory names itself as the next one."""
    data = bytearray(tiff(WIDTH, HEIGHT, pattern().tobytes(), t0102=(8, 8, 8)))
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * count, start)
    return bytes(data)


def pages() -> bytes:
    return coded(colour(), "TIFF", save_all=True, append_images=[grey().convert("RGB"), colour()])


def container() -> bytes:
    from bbmr_client.encoding.encoder import encode

    return encode(np.zeros((16, 16, 3), np.uint8)).to_bytes()


SIZES = [
    *(
        Row(
            f"{width}x{height}.png",
            "any size from 1 × 1 to 65535 pixels a side",
            SAME,
            lambda w=width, h=height: sized(w, h),
            Kept(),
        )
        for width, height in ((1, 1), (1, 300), (300, 1), (16, 16), (17, 15), (127, 129))
    ),
    Row(
        "16400x9.png",
        "any size from 1 × 1 to 65535 pixels a side",
        SAME,
        lambda: sized(16400, 9),
        Kept(rate=1),
    ),
    Row("9x65535.png", "any size from 1 × 1 to 65535 pixels a side", SAME, lambda: sized(9, 65535), Kept()),
    Row(
        "12000x9000.png",
        "12000 × 9000 pixels",
        SAME,
        lambda: flat(12000, 9000),
        Kept(rgb=lambda: np.full((9000, 12000, 3), FLAT, np.uint8), rate=16),
    ),
    Row(
        "65536x1.png",
        "a header that says more than 65535 pixels a side",
        EARLY,
        lambda: forged_png(65536, 1),
        Refused(TOO_LONG.format(65536, 1), limit=True),
    ),
    Row(
        "20000x20000.png",
        "more than 134 megapixels, also as canvas or tiles",
        EARLY,
        lambda: forged_png(20000, 20000),
        Refused(TOO_MANY.format(20000, 20000), limit=True),
    ),
    Row(
        "16384x16384.webp",
        "more than 134 megapixels, also as canvas or tiles",
        EARLY,
        lambda: forged_webp(16384, 16384),
        Refused(TOO_MANY.format(16384, 16384), limit=True),
    ),
    Row(
        "tiny-frame.gif",
        "more than 134 megapixels, also as canvas or tiles",
        EARLY,
        tiny_gif_frame,
        Refused(TOO_MANY.format(65535, 65535), limit=True),
    ),
    Row(
        "2-to-the-60.jxl",
        "a header that says more than 65535 pixels a side",
        EARLY,
        forged_jxl,
        Refused(TOO_LONG.format(1 << 30, 1 << 30), limit=True),
    ),
    Row(
        "large-tiles.tiff",
        "more than 134 megapixels, also as canvas or tiles",
        EARLY,
        lambda: tiff(
            WIDTH, HEIGHT, pattern().tobytes(), t0102=(8, 8, 8), t0142=65520, t0143=65520, t0144=8, t0145=99
        ),
        Refused(": its tiles have 65520×65520 pixels; at most 134217728 are allowed", limit=True),
    ),
]

SEVERAL = [
    *(
        Row(
            f"animated.{format.lower()}",
            "animated GIF, WebP, PNG, AVIF",
            FIRST,
            lambda format=format, options=options: frames(format, **options),
            Kept(rgb=red, tolerance=tolerance, notes=("animated: only the first of 3 pictures is kept",)),
        )
        for format, options, tolerance in (
            ("GIF", {}, 0),
            ("WEBP", {"lossless": True}, 0),
            ("PNG", {}, 0),
            ("AVIF", {}, 3),
        )
    ),
    Row(
        "pages.tiff",
        "TIFF of several pages",
        FIRST,
        pages,
        Kept(rgb=pattern, notes=("it has 3 pictures: only the first is kept",)),
    ),
    Row("stereo.mpo", "MPO of two views", FIRST, stereo, Kept()),
    Row(
        "ultra-hdr.jpg",
        "JPEG with a gain map (Ultra HDR)",
        SAME,
        ultra_hdr,
        Kept(
            xmp=b'<x:xmpmeta xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>',
            notes=(GAIN_MAP,),
        ),
    ),
    Row(
        "burst.heic",
        "HEIF of several pictures",
        "its main picture is kept",
        lambda: heif(colour(), save_all=True, append_images=[grey().convert("RGB")]),
        Kept(rgb=pattern, tolerance=2, notes=("it has 2 pictures: only the main one is kept",)),
        needs="pillow_heif",
    ),
    Row(
        "endless.tiff",
        "TIFF whose directory names itself as next",
        SAME,
        loop,
        Kept(rgb=pattern),
    ),
]

NAMES = [
    Row(
        "really-jpeg.png",
        "a file whose name has a wrong ending, or none",
        "read as what it is",
        lambda: coded(colour(), "JPEG"),
        Kept(),
    ),
    Row(
        "really-png.jpg",
        "a file whose name has a wrong ending, or none",
        "read as what it is",
        lambda: coded(colour(), "PNG"),
        Kept(),
    ),
    Row(
        "really-heif.jpg",
        "a file whose name has a wrong ending, or none",
        "read as what it is",
        lambda: heif(colour()),
        Kept(tolerance=2),
        needs="pillow_heif",
    ),
    Row(
        "no-ending",
        "a file whose name has a wrong ending, or none",
        "read as what it is",
        lambda: turned("AVIF", 1),
        Kept(exif=(b"a maker",)),
    ),
    Row(
        "text.jpg",
        "text",
        WHAT,
        lambda: b"just some words, and no picture at all\n" * 9,
        Refused(NO_PICTURE),
    ),
    Row("empty.jpg", "an empty file", WHAT, lambda: b"", Refused(" is empty: 0 bytes")),
    Row("folder.jpg", "a folder", WHAT, lambda: None, Refused(" is a folder: name one file")),
    Row(
        "page.jpg",
        "a web page",
        WHAT,
        lambda: b"<!DOCTYPE html>\n<html><body>404</body></html>",
        Refused(" is a web page, not a picture"),
    ),
    Row(
        "drawing.svg",
        "SVG",
        WHAT,
        lambda: b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
        Refused(" is SVG, a drawing: save it as PNG first"),
    ),
    Row(
        "paper.pdf",
        "PDF",
        WHAT,
        lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
        Refused(" is a PDF document: save the page as PNG first"),
    ),
    Row(
        "layers.psd",
        "Photoshop",
        WHAT,
        lambda: b"8BPS\0\1" + bytes(40),
        Refused(" is a Photoshop file (PSD): save it as PNG or TIFF first"),
    ),
    Row(
        "clip.mp4",
        "a video",
        WHAT,
        lambda: b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(64),
        Refused(" is a video, not a picture that can be read"),
    ),
    Row(
        "camera-raw.dng",
        "a camera raw file",
        WHAT,
        lambda: tiff(WIDTH, HEIGHT, pattern().tobytes(), t0102=(8, 8, 8), t00FE=1, tC612=0x00000401),
        Refused(" starts with a thumbnail, as camera raw files do: develop it to JPEG or TIFF first"),
    ),
    Row("photo.bbmr", "a container", WHAT, container, Refused(" is a bbmr container already")),
]

LOST = " is damaged or cut short:"
_CUT = (
    ("cut.jpg", "JPEG", {}, LOST),
    ("cut-progressive.jpg", "JPEG", {"progressive": True}, LOST),
    ("cut.png", "PNG", {}, ": the picture is cut short: 34622 of 57720 bytes of its rows are there"),
    ("cut.webp", "WEBP", {}, " is a damaged WebP file:"),
    ("cut.avif", "AVIF", {}, " is a damaged AVIF file:"),
    ("cut.gif", "GIF", {}, LOST),
    ("cut.tiff", "TIFF", {}, LOST),
    ("cut.bmp", "BMP", {}, LOST),
)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3)).astype(np.uint8))


DAMAGED = [
    *(
        Row(
            file,
            "a picture whose end is missing",
            HALF,
            lambda format=format, options=options: damaged(coded(noise(160, 120), format, **options), 0.6),
            Refused(says, partial=says.endswith(":")),
        )
        for file, format, options, says in _CUT
    ),
    Row(
        "cut.heic",
        "a picture whose end is missing",
        HALF,
        lambda: damaged(heif(noise(160, 120)), 0.6),
        Refused(LOST, partial=True),
        needs="pillow_heif",
    ),
    Row(
        "cut.jxl",
        "a picture whose end is missing",
        HALF,
        lambda: damaged(jxl(noise(160, 120)), 0.6),
        Refused(" is a damaged JPEG XL file:", partial=True),
        needs="pillow_jxl",
    ),
    Row(
        "early-end.png",
        "a picture whose end is missing",
        HALF,
        early_end,
        Refused(": the picture is cut short: 965 of 12352 bytes of its rows are there"),
    ),
    Row(
        "one-bit-flipped.png",
        "PNG with one changed bit",
        HALF,
        flipped,
        Refused(": the picture is damaged: its rows cannot be unpacked"),
    ),
    Row(
        "only-a-start.jpg",
        "a picture whose end is missing",
        HALF,
        lambda: b"\xff\xd8",
        Refused(NO_PICTURE),
    ),
    Row(
        "only-a-start.png",
        "a picture whose end is missing",
        HALF,
        lambda: b"\x89PNG\r\n\x1a\n",
        Refused(" is a damaged PNG file: its header is broken"),
    ),
    *(
        Row(
            file,
            "PNG whose profile, XMP or text unpacks to 64 MiB",
            "kept; at most 1 MiB is unpacked",
            lambda kind=kind, head=head: bomb(kind, head),
            Kept(rgb=lambda: pattern(8, 8), notes=("its metadata are damaged and are left out",)),
        )
        for file, kind, head in (
            ("profile-bomb.png", b"iCCP", b"x\0\0"),
            ("xmp-bomb.png", b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"),
            ("text-bomb.png", b"zTXt", b"x\0\0"),
        )
    ),
]
__all__ = ["DAMAGED", "NAMES", "SEVERAL", "SIZES"]
