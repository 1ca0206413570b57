"""Rows: modes and formats. What Pillow's modes and the common file formats become."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.client.photo.inputs.parts import (
    HEIGHT,
    WIDTH,
    adam7,
    chunk,
    coded,
    colour,
    grey,
    pattern,
    png,
    png_rows,
    ramp,
    spread,
    tiff,
)
from tests.client.photo.inputs.table import ANY, Kept, Refused, Row

SAME = "kept"
GREY = "kept, as grey"
RGB = "kept, as RGB"
RGBA = "kept, as RGB and alpha"
REFUSED = "refused: save it with 8 or 16 bits a channel first"
ROUNDED = "16 bits a sample are reduced to 8"
HIGH = "16 bits a sample are reduced to 8, the high ones, as Pillow reads them"
WIDE = (np.arange(WIDTH * HEIGHT * 4).reshape(HEIGHT, WIDTH, 4) * 37 % 65536).astype(np.uint16)
FLOAT = "pictures of 32-bit float (mode F) are not read: save it with 8 or 16 bits first"


def rgba() -> Image.Image:
    return Image.fromarray(np.dstack([pattern(), ramp()]))


def two_colours() -> Image.Image:
    image = Image.new("P", (WIDTH, HEIGHT), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (8, 8, 24, 16))
    return image


def clear_corner() -> np.ndarray:
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[8:16, 8:24] = 0
    return alpha


def low_bits() -> bytes:
    """Grey of 2 bits with grey 2 transparent: bytes 0b00_01_10_11 across."""
    rows = (b"\0" + bytes([0b00011011] * (WIDTH // 4))) * HEIGHT
    return png(WIDTH, HEIGHT, 2, 0, rows, before=chunk(b"tRNS", b"\0\2"))


def premultiplied() -> bytes:
    alpha = ramp()[..., None]
    samples = np.dstack([(pattern().astype(np.uint16) * alpha // 255).astype(np.uint8), ramp()])
    return tiff(WIDTH, HEIGHT, samples.tobytes(), t0102=(8, 8, 8, 8), t0115=4, t0152=1)


def rounded_grey() -> np.ndarray:
    return spread(np.round(WIDE[..., 0] / 65535 * 255).astype(np.uint8))


def high_bytes() -> np.ndarray:
    return (WIDE[..., :3] >> 8).astype(np.uint8)


def by_lab() -> bytes:
    samples = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    samples[:] = round(54.29 * 2.55), 81, 70  # red of sRGB, seen under D50
    return tiff(WIDTH, HEIGHT, samples.tobytes(), t0102=(8, 8, 8), t0106=8)


ROWS = [
    Row("rgb.png", "PNG, also interlaced", SAME, lambda: coded(colour(), "PNG"), Kept()),
    Row(
        "grey.png",
        "grey PNG, JPEG, JPEG XL",
        GREY,
        lambda: coded(grey(), "PNG"),
        Kept("L"),
    ),
    Row(
        "grey-as-rgb.png",
        "RGB of three equal channels",
        GREY,
        lambda: coded(Image.fromarray(spread(ramp())), "PNG"),
        Kept("L", rgb=lambda: spread(ramp())),
    ),
    Row(
        "one-bit.png",
        "black and white (PNG; TIFF, CCITT group 4)",
        GREY,
        lambda: coded(grey().convert("1"), "PNG"),
        Kept("L"),
    ),
    Row(
        "fax.tiff",
        "black and white (PNG; TIFF, CCITT group 4)",
        GREY,
        lambda: coded(grey().convert("1"), "TIFF", compression="group4"),
        Kept("L"),
    ),
    Row(
        "palette.png",
        "palette (PNG, GIF)",
        RGB,
        lambda: coded(colour().quantize(16), "PNG"),
        Kept(),
    ),
    Row(
        "palette-clear.png",
        "PNG with alpha, or a transparent colour or palette",
        RGBA,
        lambda: coded(two_colours(), "PNG", transparency=1),
        Kept("RGBA", alpha=clear_corner),
    ),
    Row(
        "palette-alpha.png",
        "PNG with alpha, or a transparent colour or palette",
        RGBA,
        lambda: coded(two_colours(), "PNG", transparency=b"\xff\x40"),
        Kept("RGBA", alpha=lambda: np.where(clear_corner() == 0, 0x40, 255).astype(np.uint8)),
    ),
    Row(
        "rgba.png",
        "PNG with alpha, or a transparent colour or palette",
        RGBA,
        lambda: coded(rgba(), "PNG"),
        Kept("RGBA", rgb=pattern, alpha=ramp),
    ),
    Row(
        "rgba-lossy-alpha.png",
        "RGB with alpha, with `--alpha-quality`",
        "alpha becomes a grey AVIF, the colours are kept",
        lambda: coded(rgba(), "PNG"),
        Kept("RGBA", rgb=pattern, alpha=ramp, options={"alpha_quality": 60}),
    ),
    Row(
        "opaque-rgba.png",
        "alpha of 255 throughout",
        "alpha is left out",
        lambda: coded(colour().convert("RGBA"), "PNG"),
        Kept(),
    ),
    Row(
        "grey-alpha.png",
        "grey with alpha, or a transparent grey",
        "kept, as grey and alpha",
        lambda: coded(Image.merge("LA", (grey(), Image.fromarray(ramp()))), "PNG"),
        Kept("LA", rgb=lambda: spread(np.asarray(grey())), alpha=ramp),
    ),
    Row(
        "one-clear-colour.png",
        "PNG with alpha, or a transparent colour or palette",
        RGBA,
        lambda: coded(two_colours().convert("RGB"), "PNG", transparency=(0, 255, 0)),
        Kept("RGBA", rgb=lambda: np.asarray(two_colours().convert("RGB")), alpha=clear_corner),
    ),
    Row(
        "two-bit-clear.png",
        "grey with alpha, or a transparent grey",
        "kept, as grey and alpha",
        low_bits,
        Kept(
            "LA",
            rgb=lambda: spread(np.tile(np.array([0, 85, 170, 255], np.uint8), (HEIGHT, WIDTH // 4))),
            alpha=lambda: np.tile(np.array([255, 255, 0, 255], np.uint8), (HEIGHT, WIDTH // 4)),
        ),
    ),
    Row(
        "interlaced.png",
        "PNG, also interlaced",
        SAME,
        lambda: png(WIDTH, HEIGHT, 8, 2, adam7(pattern()), interlace=1),
        Kept(rgb=pattern),
    ),
    Row(
        "grey-16.png",
        "16-bit grey (PNG, TIFF, PGM)",
        "rounded to 8 bits",
        lambda: png(WIDTH, HEIGHT, 16, 0, png_rows(WIDE[..., 0])),
        Kept("L", rgb=rounded_grey, notes=(ROUNDED,)),
    ),
    Row(
        "rgb-16.png",
        "16-bit RGB (PNG, TIFF)",
        "the high bytes are kept",
        lambda: png(WIDTH, HEIGHT, 16, 2, png_rows(WIDE[..., :3])),
        Kept(rgb=high_bytes, notes=(HIGH,)),
    ),
    Row(
        "rgba-16.png",
        "16-bit RGB (PNG, TIFF)",
        "the high bytes are kept",
        lambda: png(WIDTH, HEIGHT, 16, 6, png_rows(WIDE)),
        Kept("RGBA", rgb=high_bytes, alpha=lambda: (WIDE[..., 3] >> 8).astype(np.uint8), notes=(HIGH,)),
    ),
    Row(
        "grey-16.tiff",
        "16-bit grey (PNG, TIFF, PGM)",
        "rounded to 8 bits",
        lambda: coded(Image.fromarray(WIDE[..., 0]), "TIFF"),
        Kept("L", rgb=rounded_grey, notes=(ROUNDED,)),
    ),
    Row(
        "rgb-16.tiff",
        "16-bit RGB (PNG, TIFF)",
        "the high bytes are kept",
        lambda: tiff(WIDTH, HEIGHT, WIDE[..., :3].tobytes(), t0102=(16, 16, 16)),
        Kept(rgb=high_bytes, notes=(HIGH,)),
    ),
    Row(
        "grey-16.pgm",
        "16-bit grey (PNG, TIFF, PGM)",
        "rounded to 8 bits",
        lambda: b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + WIDE[..., 0].astype(">u2").tobytes(),
        Kept("L", rgb=rounded_grey, notes=(ROUNDED,)),
    ),
    Row(
        "integers-32.tiff",
        "TIFF of 32 bits, integers or floating point",
        REFUSED,
        lambda: coded(Image.fromarray(np.full((8, 8), 200, np.int32)), "TIFF"),
        Refused(": pictures with 32 bits a sample are not read: save it with 8 or 16 bits a channel first"),
    ),
    Row(
        "float.tiff",
        "TIFF of 32 bits, integers or floating point",
        REFUSED,
        lambda: coded(Image.new("F", (8, 8), 0.5), "TIFF"),
        Refused(f": {FLOAT}"),
    ),
    Row(
        "lab.tiff",
        "TIFF, CIE L*a*b*",
        "converted to sRGB",
        by_lab,
        Kept(rgb=lambda: np.tile(np.array([255, 0, 0], np.uint8), (HEIGHT, WIDTH, 1)), tolerance=5),
    ),
    Row(
        "premultiplied.tiff",
        "TIFF whose colours are multiplied by alpha",
        "the multiplication is undone",
        premultiplied,
        Kept("RGBA", alpha=ramp),
    ),
    Row(
        "lzw.tiff",
        "TIFF (LZW, JPEG)",
        SAME,
        lambda: coded(colour(), "TIFF", compression="tiff_lzw"),
        Kept(rgb=pattern),
    ),
    Row(
        "jpeg.tiff",
        "TIFF (LZW, JPEG)",
        SAME,
        lambda: coded(colour(), "TIFF", compression="jpeg"),
        Kept(),
    ),
    Row("420.jpg", "JPEG, also progressive", SAME, lambda: coded(colour(), "JPEG"), Kept()),
    Row(
        "progressive.jpg",
        "JPEG, also progressive",
        SAME,
        lambda: coded(colour(), "JPEG", progressive=True, subsampling="4:4:4"),
        Kept(),
    ),
    Row("grey.jpg", "grey PNG, JPEG, JPEG XL", GREY, lambda: coded(grey(), "JPEG"), Kept("L")),
    Row(
        "lossless.webp",
        "WebP",
        SAME,
        lambda: coded(colour(), "WEBP", lossless=True),
        Kept(rgb=pattern),
    ),
    Row(
        "lossy.webp",
        "WebP",
        SAME,
        lambda: coded(rgba(), "WEBP"),
        Kept("RGBA"),
    ),
    Row("photo.avif", "AVIF", SAME, lambda: coded(colour(), "AVIF"), Kept()),
    Row("photo.jp2", "JPEG 2000", SAME, lambda: coded(colour(), "JPEG2000"), Kept(rgb=pattern)),
    Row("photo.bmp", "BMP", SAME, lambda: coded(colour(), "BMP"), Kept(rgb=pattern, dpi=(96.01, 96.01))),
    Row(
        "photo.tga",
        "TGA",
        SAME,
        lambda: coded(colour(), "TGA", compression="tga_rle"),
        Kept(rgb=pattern),
    ),
    Row("photo.qoi", "QOI", SAME, lambda: coded(colour(), "QOI"), Kept(rgb=pattern)),
    Row("photo.ppm", "PPM", SAME, lambda: coded(colour(), "PPM"), Kept(rgb=pattern)),
    Row("photo.pcx", "PCX", SAME, lambda: coded(colour(), "PCX"), Kept(rgb=pattern, dpi=(100.0, 100.0))),
    Row("photo.gif", "palette (PNG, GIF)", RGB, lambda: coded(colour().quantize(64), "GIF"), Kept()),
    Row(
        "photo.heic",
        "HEIF",
        SAME,
        lambda: heif(colour()),
        Kept(tolerance=2),
        needs="pillow_heif",
    ),
    Row(
        "photo.jxl",
        "JPEG XL",
        SAME,
        lambda: jxl(colour(), lossless=True),
        Kept(rgb=pattern, icc=ANY),
        needs="pillow_jxl",
    ),
    Row(
        "grey.jxl",
        "grey PNG, JPEG, JPEG XL",
        GREY,
        lambda: jxl(grey(), lossless=True),
        Kept("L", rgb=lambda: spread(np.asarray(grey()))),
        needs="pillow_jxl",
    ),
]


def heif(image: Image.Image, **options: object) -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return coded(image, "HEIF", quality=-1, chroma=444, **options)


def jxl(image: Image.Image, **options: object) -> bytes:
    import pillow_jxl  # noqa: F401

    return coded(image, "JXL", **options)
