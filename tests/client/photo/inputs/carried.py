"""Rows: orientation, colour profiles, EXIF, XMP and pixels per inch."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, ImageCms

from tests.client.photo.inputs import profiles
from tests.client.photo.inputs.modes import heif, jxl
from tests.client.photo.inputs.parts import (
    HEIGHT,
    WIDTH,
    chunk,
    coded,
    colour,
    exif,
    grey,
    pattern,
    png,
    png_rows,
    ramp,
    spread,
)
from tests.client.photo.inputs.table import ANY, Kept, Row

TURNED = "EXIF orientation 2 to 8 (JPEG, also in JPEG XL; PNG, WebP, TIFF)"
UPRIGHT = "set upright once; the tag becomes 1"
DAMAGED = "its ICC profile is damaged and is passed over"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
TAGS = (b"a maker", b"maker note with offsets")
P3, ADOBE, P3_V4 = (
    profiles.rgb_profile(profiles.DISPLAY_P3),
    profiles.rgb_profile(profiles.ADOBE_RGB, 2.19921875),
    profiles.rgb_profile(profiles.DISPLAY_P3, version=4),
)
INKS = profiles.cmyk_profile(
    {
        (0, 0, 0, 0): (100, 0, 0),
        (1, 0, 0, 0): (55, -37, -50),
        (0, 1, 0, 0): (48, 74, -3),
        (0, 0, 1, 0): (89, -5, 93),
    }
)


def turned(format: str, orientation: int, **options: object) -> bytes:
    return coded(colour(), format, exif=exif(orientation), **options)


def upright_by(orientation: int) -> np.ndarray:
    turns = {6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
    return np.asarray(colour().transpose(turns[orientation]))


@cache
def jxl_of_a_jpeg() -> bytes:
    """A JPEG stored on its side, put into JPEG XL without loss: its pixels are those of the JPEG."""
    import tempfile

    import pillow_jxl  # noqa: F401

    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(turned("JPEG", 6))
        file.flush()
        with Image.open(file.name) as image:
            out = io.BytesIO()
            image.save(out, "JXL", lossless_jpeg=True)
    return out.getvalue()


def cyan(mode: str = "CMYK") -> Image.Image:
    return Image.new(mode, (WIDTH, HEIGHT), (255, 0, 0, 0))


def flat(*samples: int) -> np.ndarray:
    return np.tile(np.array(samples, np.uint8), (HEIGHT, WIDTH, 1))


def ycck() -> bytes:
    """A JPEG as Photoshop writes CMYK: YCbCr of the inverted inks and a fourth channel, Adobe's transform 2."""
    ycc = np.asarray(Image.new("RGB", (WIDTH, HEIGHT), (255, 0, 0)).convert("YCbCr"))
    stored = np.dstack(
        [ycc, np.full((HEIGHT, WIDTH), 255, np.uint8)]
    )  # inks 255, 0, 0, 0: the last one inverted
    data = coded(
        Image.frombytes("CMYK", (WIDTH, HEIGHT), (255 - stored).tobytes()), "JPEG", quality=100, subsampling=0
    )
    at = data.index(b"Adobe")
    return data[: at + 11] + b"\2" + data[at + 12 :]


def icc_of_inks() -> np.ndarray:
    """Cyan of the profile in sRGB, computed from its Lab by Little CMS."""
    lab = ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(
        lab, ImageCms.createProfile("sRGB"), "LAB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    image = Image.frombytes("LAB", (1, 1), bytes([round(55 * 2.55), -37 & 255, -50 & 255]))
    return np.tile(np.asarray(ImageCms.applyTransform(image, transform)), (HEIGHT, WIDTH, 1))


def large(profile: bytes) -> bytes:
    """The profile with 2 MiB behind it, which its header counts."""
    size = 2 << 20
    return size.to_bytes(4, "big") + profile[4:].ljust(size - 4, b"\0")


ORIENTATIONS = [
    *(
        Row(
            f"orientation-{number}.jpg",
            TURNED if number > 1 else "EXIF orientation 1 or 9",
            UPRIGHT if number > 1 else "not turned",
            lambda number=number: turned("JPEG", number),
            Kept(exif=TAGS, size=(HEIGHT, WIDTH) if number > 4 else (WIDTH, HEIGHT)),
        )
        for number in range(1, 9)
    ),
    Row(
        "orientation-9.jpg",
        "EXIF orientation 1 or 9",
        "not turned",
        lambda: turned("JPEG", 9),
        Kept(exif=TAGS, size=(WIDTH, HEIGHT)),
    ),
    *(
        Row(
            f"turned.{format.lower()}",
            TURNED,
            UPRIGHT,
            lambda format=format, options=options: turned(format, 6, **options),
            Kept(rgb=lambda: upright_by(6), exif=(b"a maker",), size=(HEIGHT, WIDTH)),
        )
        for format, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}))
    ),
    Row(
        "turned.avif",
        "AVIF or HEIF, turned by its own `irot`",
        "set upright once, whatever its EXIF says",
        lambda: turned("AVIF", 8),
        Kept(exif=(b"a maker",), size=(HEIGHT, WIDTH)),
    ),
    Row(
        "turned.heic",
        "AVIF or HEIF, turned by its own `irot`",
        "set upright once, whatever its EXIF says",
        lambda: heif(colour(), exif=exif(6)),
        Kept(rgb=lambda: upright_by(6), tolerance=2, exif=(b"a maker",), size=(HEIGHT, WIDTH)),
        needs="pillow_heif",
    ),
    Row(
        "exif-says-turned.jxl",
        "JPEG XL whose EXIF says 6 (the codestream decides)",
        "not turned; the tag becomes 1",
        lambda: jxl(colour(), lossless=True, exif=exif(6)),
        Kept(rgb=pattern, icc=ANY, exif=(b"a maker",), size=(WIDTH, HEIGHT)),
        needs="pillow_jxl",
    ),
    Row(
        "jpeg-in.jxl",
        TURNED,
        UPRIGHT,
        jxl_of_a_jpeg,
        Kept(icc=ANY, exif=(b"a maker",), size=(HEIGHT, WIDTH)),
        needs="pillow_jxl",
    ),
    Row(
        "only-xmp-turned.jpg",
        "orientation in XMP only",
        UPRIGHT,
        lambda: coded(colour(), "JPEG", xmp=XMP),
        Kept(xmp=XMP.replace(b'"6"', b'"1"'), size=(HEIGHT, WIDTH)),
    ),
    Row(
        "exif-over-xmp.jpg",
        "EXIF says 1 and XMP another (EXIF decides)",
        "not turned; the tag becomes 1",
        lambda: coded(colour(), "JPEG", xmp=XMP, exif=exif(1)),
        Kept(xmp=XMP.replace(b'"6"', b'"1"'), exif=TAGS, size=(WIDTH, HEIGHT)),
    ),
]

COLOURS = [
    Row(
        "display-p3.jpg",
        "an RGB profile (Display P3, Adobe RGB)",
        "profile kept byte for byte",
        lambda: coded(colour(), "JPEG", icc_profile=P3),
        Kept(icc=P3),
    ),
    Row(
        "display-p3-v4.png",
        "an RGB profile (Display P3, Adobe RGB)",
        "profile kept byte for byte",
        lambda: coded(colour(), "PNG", icc_profile=P3_V4),
        Kept(icc=P3_V4),
    ),
    Row(
        "adobe-rgb.tiff",
        "an RGB profile (Display P3, Adobe RGB)",
        "profile kept byte for byte",
        lambda: coded(colour(), "TIFF", icc_profile=ADOBE),
        Kept(icc=ADOBE),
    ),
    Row(
        "p3-without-metadata.png",
        "the same with `--metadata none`",
        "converted to sRGB",
        lambda: coded(colour(), "PNG", icc_profile=P3),
        Kept(
            rgb=lambda: profiles.in_srgb(pattern(), profiles.DISPLAY_P3),
            tolerance=3,
            options={"metadata": "none"},
        ),
    ),
    Row(
        "adobe-without-metadata.png",
        "the same with `--metadata none`",
        "converted to sRGB",
        lambda: coded(colour(), "PNG", icc_profile=ADOBE),
        Kept(
            rgb=lambda: profiles.in_srgb(pattern(), profiles.ADOBE_RGB, 2.19921875),
            tolerance=3,
            options={"metadata": "none"},
        ),
    ),
    Row(
        "linear-grey.png",
        "grey with a profile of linear light",
        "converted to sRGB, stays grey",
        lambda: coded(Image.fromarray(ramp()), "PNG", icc_profile=profiles.grey_profile(1.0)),
        Kept("L", rgb=lambda: profiles.in_srgb(spread(ramp()), profiles.SRGB, 1.0), tolerance=1),
    ),
    Row(
        "grey-with-rgb-profile.jpg",
        "grey with a profile for RGB",
        "kept",
        lambda: coded(grey(), "JPEG", icc_profile=P3),
        Kept("L", notes=("its ICC profile is for 'RGB' and the picture is grey: it is passed over",)),
    ),
    Row(
        "rgb-with-cmyk-profile.jpg",
        "RGB with a profile for CMYK",
        "kept",
        lambda: coded(colour(), "JPEG", icc_profile=INKS),
        Kept(notes=("its ICC profile is for 'CMYK' and the picture is RGB: it is passed over",)),
    ),
    Row(
        "damaged-profile.jpg",
        "a damaged profile",
        "kept",
        lambda: coded(colour(), "JPEG", icc_profile=P3[:200]),
        Kept(notes=(DAMAGED,)),
    ),
    Row(
        "noise-for-profile.png",
        "a damaged profile",
        "kept",
        lambda: coded(colour(), "PNG", icc_profile=b"\xde\xad" * 300),
        Kept(notes=(DAMAGED,)),
    ),
    Row(
        "large-profile.tiff",
        "a profile of more than 1 MiB",
        "converted to sRGB",
        lambda: coded(colour(), "TIFF", icc_profile=large(P3)),
        Kept(
            rgb=lambda: profiles.in_srgb(pattern(), profiles.DISPLAY_P3),
            tolerance=3,
            notes=(f"its ICC profile has {len(large(P3))} bytes, at most 1048576 are kept: it is applied",),
        ),
    ),
    Row(
        "gamma-1.png",
        "PNG with gAMA 1.0 and no profile",
        "kept",
        lambda: png(
            WIDTH, HEIGHT, 8, 2, png_rows(pattern()), before=chunk(b"gAMA", (100_000).to_bytes(4, "big"))
        ),
        Kept(rgb=pattern, notes=("its gamma of 1/1 is not applied",)),
    ),
    Row(
        "cmyk-with-profile.tiff",
        "CMYK with its profile",
        "converted by its profile",
        lambda: coded(cyan(), "TIFF", icc_profile=INKS),
        Kept(rgb=icc_of_inks, tolerance=3),
    ),
    Row(
        "cmyk-with-profile.jpg",
        "CMYK with its profile",
        "converted by its profile",
        lambda: coded(cyan(), "JPEG", icc_profile=INKS, quality=95),
        Kept(rgb=icc_of_inks, tolerance=3),
    ),
    Row(
        "cmyk.jpg",
        "CMYK or YCCK without a profile",
        "converted by the formula that browsers use",
        lambda: coded(cyan(), "JPEG", quality=95),
        Kept(
            rgb=lambda: flat(0, 255, 255),
            tolerance=2,
            notes=("CMYK without a usable profile: its colours are only approximate",),
        ),
    ),
    Row(
        "ycck.jpg",
        "CMYK or YCCK without a profile",
        "converted by the formula that browsers use",
        ycck,
        Kept(
            rgb=lambda: flat(0, 255, 255),
            tolerance=3,
            notes=("CMYK without a usable profile: its colours are only approximate",),
        ),
    ),
]


def location() -> bytes:
    return exif(1, date="2024:05:06")


def resolution(format: str, unit: int, **options: object) -> bytes:
    return coded(colour(), format, exif=exif(t011A=118.11, t011B=59.055, t0128=unit), **options)


SAID = [
    Row(
        "camera.jpg",
        "EXIF with GPS and maker note; XMP",
        "kept byte for byte",
        lambda: coded(colour(), "JPEG", exif=location()),
        Kept(exif=(*TAGS, b"2024:05:06")),
    ),
    Row(
        "camera-without-metadata.jpg",
        "the same with `--metadata none`",
        "no byte of it is in the container",
        lambda: coded(colour(), "JPEG", exif=location(), xmp=XMP.replace(b'"6"', b'"1"'), dpi=(300, 300)),
        Kept(options={"metadata": "none", "keep_smaller": True}),
    ),
    Row(
        "camera-icc-only.jpg",
        "the same with `--metadata icc`",
        "only the profile is kept",
        lambda: coded(colour(), "JPEG", exif=location(), icc_profile=P3, dpi=(300, 300)),
        Kept(icc=P3, options={"metadata": "icc", "keep_smaller": True}),
    ),
    Row(
        "xmp.webp",
        "EXIF with GPS and maker note; XMP",
        "kept byte for byte",
        lambda: coded(colour(), "WEBP", lossless=True, xmp=b"<x:xmpmeta>something</x:xmpmeta>"),
        Kept(rgb=pattern, xmp=b"<x:xmpmeta>something</x:xmpmeta>"),
    ),
    Row(
        "damaged-exif.jpg",
        "a damaged EXIF block",
        "kept",
        lambda: coded(colour(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"),
        Kept(notes=("its EXIF block is damaged and is left out",)),
    ),
    Row(
        "large-exif.webp",
        "an EXIF block of more than 1 MiB",
        "kept",
        lambda: coded(colour(), "WEBP", lossless=True, exif=exif(1).ljust(1_100_006, b"\0")),
        Kept(
            rgb=pattern, notes=("its EXIF block has 1100000 bytes, at most 1048576 are kept: it is left out",)
        ),
    ),
    Row(
        "large-xmp.webp",
        "an XMP packet of more than 1 MiB",
        "kept",
        lambda: coded(colour(), "WEBP", lossless=True, xmp=b"x" * 1_100_000),
        Kept(
            rgb=pattern, notes=("its XMP packet has 1100000 bytes, at most 1048576 are kept: it is left out",)
        ),
    ),
    Row(
        "300-dpi.jpg",
        "pixels per inch (JFIF, pHYs, TIFF, EXIF)",
        "kept",
        lambda: coded(colour(), "JPEG", dpi=(300, 150)),
        Kept(dpi=(300.0, 150.0)),
    ),
    Row(
        "300-dpi.png",
        "pixels per inch (JFIF, pHYs, TIFF, EXIF)",
        "kept",
        lambda: coded(colour(), "PNG", dpi=(300, 300)),
        Kept(dpi=(300.0, 300.0)),
    ),
    Row(
        "300-dpi.tiff",
        "pixels per inch (JFIF, pHYs, TIFF, EXIF)",
        "kept",
        lambda: coded(colour(), "TIFF", dpi=(300, 300)),
        Kept(dpi=(300.0, 300.0)),
    ),
    Row(
        "300-dpi.webp",
        "pixels per inch (JFIF, pHYs, TIFF, EXIF)",
        "kept",
        lambda: resolution("WEBP", 3, lossless=True),
        Kept(rgb=pattern, dpi=(300.0, 150.0), exif=(b"a maker",)),
    ),
    Row(
        "300-dpi-turned.jpg",
        "the same, on its side",
        "exchanged with the sides",
        lambda: coded(colour(), "JPEG", dpi=(300, 150), exif=exif(6)),
        Kept(dpi=(150.0, 300.0), size=(HEIGHT, WIDTH), exif=TAGS),
    ),
    Row(
        "exif-names-no-dpi.jpg",
        "EXIF without a resolution",
        "none is made up",
        lambda: coded(colour(), "JPEG", exif=exif(1)),
        Kept(exif=TAGS),
    ),
]
__all__ = ["COLOURS", "ORIENTATIONS", "SAID"]
