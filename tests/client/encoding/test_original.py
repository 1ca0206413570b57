"""What of a photo is kept: its own file if that is smaller, and only as much of the metadata as requested."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_client.encoding.original import notes
from bbmr_client.photo import load_photo, upright_exif
from bbmr_client.photo.strip_metadata import strip_metadata
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.errors import PictureError, UsageError
from tests.client.photo.inputs.carried import P3, XMP, location, turned
from tests.client.photo.inputs.odd import noise
from tests.client.photo.inputs.parts import coded

FINE = {"rate": 1, "uniform": True, "effort": 0}


def soft() -> Image.Image:
    return noise(40, 30).resize((400, 300), Image.Resampling.BICUBIC)


class TestKeepSmaller:
    @pytest.mark.parametrize(
        ("format", "options"),
        [("JPEG", {"quality": 40}), ("AVIF", {"quality": 40}), ("WEBP", {"lossless": True}), ("PNG", {})],
    )
    def test_the_file_is_in_the_container_byte_for_byte(
        self, format: str, options: dict[str, object]
    ) -> None:
        data = coded(soft(), format, **options)
        photo = load_photo(data)
        container = encode(photo, codec="png", keep_smaller=True, **FINE)
        again = Container.from_bytes(container.to_bytes())
        assert again.original
        assert again.planes[0].data == data
        assert np.array_equal(np.asarray(preview(again)), photo.rgb)
        assert notes(photo, container, len(container.to_bytes())) == ()

    def test_a_larger_file_is_not_kept(self) -> None:
        photo = load_photo(coded(soft(), "JPEG"))
        container = encode(photo, rate=16, uniform=True, keep_smaller=True)
        assert not container.original
        assert notes(photo, container, len(container.to_bytes())) == ()

    def test_only_on_request(self) -> None:
        assert not encode(coded(soft(), "JPEG", quality=40), **FINE).original

    @pytest.mark.parametrize("metadata", ["icc", "none"])
    def test_a_file_that_carries_more_is_not_kept_and_says_so(self, metadata: str) -> None:
        photo = load_photo(coded(soft(), "JPEG", quality=40, exif=location()))
        container = encode(photo, metadata=metadata, keep_smaller=True, **FINE)
        assert not container.original
        (note,) = notes(photo, container, len(container.to_bytes()), metadata)
        assert f"it may carry more than metadata={metadata} allows" in note
        assert encode(photo, metadata="all", keep_smaller=True, **FINE).original

    def test_only_what_can_be_kept_is_offered(self) -> None:
        for photo, offered in (
            (load_photo(coded(soft(), "JPEG")), True),
            (load_photo(turned("JPEG", 6)), False),
        ):
            container = encode(photo, **FINE)
            (note,) = notes(photo, container, 10**9, asked=False)
            assert ("--keep-smaller" in note) is offered

    def test_a_turned_file_is_not_kept(self) -> None:
        photo = load_photo(turned("JPEG", 6))
        container = encode(photo, keep_smaller=True, **FINE)
        assert not container.original
        assert notes(photo, container, 10**9)[0].endswith("is not kept: it is stored turned")


class TestMetadata:
    def test_none_leaves_not_one_byte(self) -> None:
        data = coded(
            soft(), "JPEG", quality=40, exif=location(), xmp=XMP.replace(b'"6"', b'"1"'), icc_profile=P3
        )
        secrets = (b"2024:05:06", b"a maker", b"maker note", b"xmpmeta", b"acsp")
        everything = encode(data, metadata="all", **FINE).to_bytes()
        assert all(secret in everything for secret in secrets)
        bare = encode(data, metadata="none", keep_smaller=True, **FINE)
        assert not any(secret in bare.to_bytes() for secret in secrets)
        assert (bare.icc, bare.exif, bare.xmp, bare.dpi) == (None, None, None, None)
        only_icc = encode(data, metadata="icc", keep_smaller=True, **FINE)
        assert only_icc.icc == P3
        assert not any(secret in only_icc.to_bytes() for secret in secrets[:-1])

    @pytest.mark.parametrize("options", [{"metadata": "some"}, {"alpha_quality": 101}, {"alpha_quality": -1}])
    def test_options_out_of_range(self, options: dict[str, object]) -> None:
        with pytest.raises(UsageError):
            encode(soft(), **options)

    def test_metadata_are_taken_out_and_nothing_else(self) -> None:
        plain = coded(soft(), "PNG")
        assert strip_metadata(coded(soft(), "PNG", icc_profile=P3, exif=location()), "PNG") == plain
        jpeg = strip_metadata(coded(soft(), "JPEG", exif=location()), "JPEG")
        assert np.array_equal(load_photo(jpeg).rgb, load_photo(coded(soft(), "JPEG")).rgb)
        assert b"a maker" not in jpeg


@pytest.mark.parametrize("order", ["<", ">"])
def test_turned_exif_names_the_upright_size_and_no_thumbnail(order: str) -> None:
    def entry(tag: int, kind: int, value: int) -> bytes:
        packed = struct.pack(order + ("HH" if kind == 3 else "I"), *((value, 0) if kind == 3 else (value,)))
        return struct.pack(order + "HHI", tag, kind, 1) + packed

    first = struct.pack(order + "H", 2) + entry(0x0112, 3, 6) + entry(0x8769, 4, 38)
    nested = struct.pack(order + "H", 2) + entry(0xA002, 4, 4000) + entry(0xA003, 3, 3000) + bytes(4)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    block = head + first + struct.pack(order + "I", 68) + nested
    upright = upright_exif.upright(block, True, (3000, 4000))
    assert upright is not None
    tags = Image.Exif()
    tags.load(upright)
    assert (tags[0x0112], tags.get_ifd(0x8769)[0xA002], tags.get_ifd(0x8769)[0xA003]) == (1, 3000, 4000)
    assert upright[34:38] == bytes(4), "no link to the thumbnail"
    same = upright_exif.upright(block, False, (4000, 3000))
    assert same is not None
    assert (same[34:38], same[38:]) == (struct.pack(order + "I", 68), nested)


@pytest.mark.parametrize(
    ("data", "module", "words"),
    [
        (
            b"\0\0\0\x1cftypheic\0\0\0\0mif1heic",
            "pillow_heif",
            "phone.jpg is HEIF: pip install '.[formats]' in a checkout",
        ),
        (
            b"\xff\x0a" + bytes(30),
            "pillow_jxl",
            "phone.jpg is JPEG XL: pip install '.[formats]' in a checkout",
        ),
    ],
)
def test_without_the_plugin_the_error_names_the_extra(
    data: bytes, module: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(f"{module}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PictureError) as caught:
        load_photo(data, name="phone.jpg")
    assert str(caught.value) == words
