"""What a container may carry beside blocks: grey, pixels per inch, a lossy alpha channel, the source file itself."""

from __future__ import annotations

import io
import math
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bbmr_shared import Container
from bbmr_shared.compositing.composite import preview
from bbmr_shared.compositing.thumbnail import at_level
from bbmr_shared.container import AlphaPlane, Plane
from bbmr_shared.container.frame import read_header, write_frame
from bbmr_shared.errors import BbmrError, MalformedContainerError, PlaneError
from bbmr_shared.grid import BlockGrid
from bbmr_shared.images.codecs import encode_plane
from bbmr_shared.images.names import LOSSY_CODECS
from tests.shared import parts

Fields = dict[str, Any]
SIZE = (50, 40)
RGB = parts.picture(*SIZE)
GREY = RGB[..., 1]
RATE_1 = np.ones(BlockGrid(*SIZE).shape, np.uint8)


def saved(format: str, samples: NDArray[np.uint8] = RGB, **arguments: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(samples).save(out, format, **arguments)
    return out.getvalue()


SOURCES = {
    "jpeg": saved("JPEG", quality=70),
    "png": saved("PNG"),
    "webp": saved("WEBP", quality=60),
    "avif": saved("AVIF", quality=60),
}


def original(codec: str = "jpeg", data: bytes | None = None, **fields: Any) -> Container:
    plane = Plane(1, codec, SOURCES[codec] if data is None else data)
    return Container(*SIZE, RATE_1, (plane,), **{"original": True, "strength": 0, "model": None} | fields)


def grey(codec: str = "png", **fields: Any) -> Container:
    """A grey picture whose planes are coded grey."""
    made = parts.container(*SIZE, block=32, rates=[1, 2])
    planes = tuple(
        Plane(
            plane.rate,
            *encode_plane(
                made.decode_planes()[plane.rate][..., 1], codec, quality=60 if codec in LOSSY_CODECS else None
            ),
        )
        for plane in made.planes
    )
    return replace(made, planes=planes, channels=1, **fields)


def refused(
    change: Fields, made: Container, what: str, kind: type[BbmrError] = MalformedContainerError
) -> None:
    """Both as a file and, where only the header is read, as a header."""
    fields, pictures = parts.fields_of(made.to_bytes())
    data = write_frame({**fields, **change}, pictures)
    for read in (Container.from_bytes, read_header):
        with pytest.raises(kind, match=what):
            read(data)  # type: ignore[operator]


class TestGrey:
    @pytest.mark.parametrize("codec", ["png", "webp", "avif", "av1"])
    def test_planes_may_be_coded_grey(self, codec: str) -> None:
        read = Container.from_bytes(grey(codec).to_bytes())
        image = preview(read)
        assert (read.channels, image.mode, image.size) == (1, "L", SIZE)
        spread = np.asarray(preview(replace(read, channels=3)))
        assert (spread == np.asarray(image)[..., None]).all()

    def test_it_has_alpha_like_any_other(self) -> None:
        alpha = AlphaPlane(*encode_plane(GREY))
        image = preview(Container.from_bytes(grey(alpha=alpha).to_bytes()))
        assert image.mode == "LA"
        assert (np.asarray(image)[..., 1] == GREY).all()
        assert (
            preview(grey(alpha=alpha), (10, 20, 30, 20)).tobytes() == image.crop((10, 20, 40, 40)).tobytes()
        )

    def test_canvases_that_are_not_grey_give_their_luma(self) -> None:
        made = parts.container(*SIZE, rates=[1], channels=1)
        red, green, blue = (RGB[..., c].astype(int) for c in range(3))
        luma = (19_595 * red + 38_470 * green + 7_471 * blue + 32_768) >> 16
        assert (np.asarray(preview(made)) == luma).all()

    def test_smaller_levels_are_grey_too(self) -> None:
        assert [at_level(grey(), level).mode for level in (1, 4, 16)] == ["L"] * 3

    @pytest.mark.parametrize("channels", [0, 2, 4, True, 1.0, "1"])
    def test_other_channels_are_refused(self, channels: object) -> None:
        refused({"channels": channels}, grey(), "channels")

    def test_three_may_be_said_and_nothing_means_three(self) -> None:
        fields, pictures = parts.fields_of(parts.container(*SIZE).to_bytes())
        for said in ({"channels": 3}, {"channels": None}):
            assert Container.from_bytes(write_frame({**fields, **said}, pictures)) == parts.container(*SIZE)

    def test_profiles_belong_to_rgb_pictures(self) -> None:
        refused({"icc": b"profile"}, grey(), "grey picture has no ICC")
        with pytest.raises(MalformedContainerError, match="grey picture has no ICC"):
            grey(icc=b"profile")

    def test_reading_a_huge_one_costs_nothing(self) -> None:
        side = 11_000
        data = encode_plane(np.full((side // 16 * 16 + 16, side // 16 * 16 + 16), 7, np.uint8), "png")[1]
        rates = np.ones(BlockGrid(side, side).shape, np.uint8)
        file = Container(side, side, rates, (Plane(1, "png", data),), channels=1, strength=0).to_bytes()
        tracemalloc.start()
        assert Container.from_bytes(file).channels == 1
        assert tracemalloc.get_traced_memory()[1] < 4 * len(file) + (1 << 20)
        tracemalloc.stop()


class TestPixelsPerInch:
    def test_they_come_back(self) -> None:
        made = parts.container(*SIZE, dpi=(299.72, 72.0))
        read = Container.from_bytes(made.to_bytes())
        assert read.dpi == (299.72, 72.0)
        assert preview(read).info["dpi"] == (299.72, 72.0)

    def test_whole_numbers_may_be_written_as_integers(self) -> None:
        fields, pictures = parts.fields_of(parts.container(*SIZE).to_bytes())
        read = Container.from_bytes(write_frame({**fields, "dpi": [300, 150]}, pictures))
        assert read.dpi == (300.0, 150.0)
        assert read == parts.container(*SIZE, dpi=(300, 150))

    @pytest.mark.parametrize(
        "dpi",
        [
            [],
            [72.0],
            [72.0, 72.0, 72.0],
            [0, 72],
            [72, -1],
            [72, 1_000_000.5],
            [math.nan, 72],
            [72, math.inf],
            [True, 72],
            ["72", 72],
            72,
            {"x": 72, "y": 72},
        ],
    )
    def test_anything_else_is_refused(self, dpi: object) -> None:
        refused({"dpi": dpi}, parts.container(*SIZE), "dpi")

    @pytest.mark.parametrize("dpi", [(72.0,), (0.0, 72.0), (math.nan, 72.0), (72.0, 1e7)])
    def test_nor_are_they_written(self, dpi: Any) -> None:
        with pytest.raises(MalformedContainerError, match="pixels per inch"):
            parts.container(*SIZE, dpi=dpi)


class TestLossyAlpha:
    @pytest.mark.parametrize("codec", LOSSY_CODECS)
    def test_it_is_grey(self, codec: str) -> None:
        coded = AlphaPlane(*encode_plane(GREY, codec, quality=70))
        assert coded.codec == codec
        made = parts.container(*SIZE, rates=[1])
        read = Container.from_bytes(replace(made, alpha=coded).to_bytes())
        alpha = read.decode_alpha()
        assert alpha is not None
        assert 0 < np.abs(alpha.astype(int) - GREY).mean() < 4
        assert (np.asarray(preview(read))[..., 3] == alpha).all()
        assert len(coded.data) < len(encode_plane(GREY)[1])

    @pytest.mark.parametrize(("codec", "quality"), [("webp", None), ("png", None), ("avif", 60)])
    def test_where_three_channels_are_stored_it_is_the_green_one(
        self, codec: str, quality: int | None
    ) -> None:
        _, data = encode_plane(RGB, codec, quality=quality)
        made = replace(parts.container(*SIZE), alpha=AlphaPlane(codec, data))
        decoded = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        assert (made.decode_alpha() == decoded[..., 1]).all()


class TestOriginal:
    @pytest.mark.parametrize("codec", SOURCES)
    def test_the_base_is_its_own_decoding(self, codec: str) -> None:
        read = Container.from_bytes(original(codec).to_bytes())
        decoded = np.asarray(Image.open(io.BytesIO(SOURCES[codec])).convert("RGB"))
        assert read.planes[0].data == SOURCES[codec]
        assert (np.asarray(preview(read)) == decoded).all()
        assert (np.asarray(preview(read, (7, 9, 20, 30))) == decoded[9:39, 7:27]).all()
        padded = read.decode_planes()[1]
        assert padded.shape == (48, 64, 3)
        assert (padded == np.pad(decoded, ((0, 8), (0, 14), (0, 0)), mode="edge")).all()
        assert not read.uses_network

    @pytest.mark.parametrize("codec", SOURCES)
    def test_its_file_is_there_for_who_wants_that_format(self, codec: str) -> None:
        found = {format: original(codec).source_file(format) for format in SOURCES}
        assert found == {format: SOURCES[codec] if format == codec else None for format in SOURCES}
        assert parts.container(*SIZE, rates=[1], codec="png").source_file("png") is None

    @pytest.mark.parametrize("codec", SOURCES)
    def test_it_may_be_grey(self, codec: str) -> None:
        made = original(codec, saved(codec, GREY), channels=1)
        assert preview(made).mode == "L"
        source = Image.open(io.BytesIO(made.planes[0].data)).convert("RGB")
        assert (np.asarray(preview(made)) == np.asarray(source)[..., 1]).all()

    @pytest.mark.parametrize("codec", SOURCES)
    def test_what_it_says_of_its_orientation_and_colour_is_not_obeyed(self, codec: str) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        plain, turned = saved(codec), saved(codec, exif=exif, icc_profile=b"p" * 128)
        images = [preview(original(codec, data)) for data in (plain, turned)]
        assert images[0].size == images[1].size == SIZE
        assert images[0].tobytes() == images[1].tobytes()
        assert not images[1].info

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ({"strength": 1}, "strength 0"),
            ({"strength_map": np.zeros(RATE_1.shape, np.uint8)}, "no strength map"),
            ({"alpha": AlphaPlane("png", b"")}, "no alpha"),
            ({"planes": (Plane(1, "png", SOURCES["png"], 3),)}, "coding error 0, not 3"),
            (
                {"planes": (Plane(2, "png", SOURCES["png"]),), "rate_map": 2 * RATE_1},
                "only plane, of rate 1",
            ),
        ],
    )
    def test_nothing_goes_with_it_that_it_does_not_need(self, change: Fields, what: str) -> None:
        with pytest.raises(MalformedContainerError, match=what):
            replace(original("png"), **change)

    def test_one_rate_is_all(self) -> None:
        refused({"!original": True, "strength": 0}, parts.container(rates=[1, 2]), "only plane, of rate 1")
        refused({"!original": True, "strength": 0}, parts.container(rates=[2]), "only plane, of rate 1")

    @pytest.mark.parametrize("value", [False, 1, "yes", {}])
    def test_the_field_is_true_or_absent(self, value: object) -> None:
        refused({"!original": value}, original(), "original")

    def test_nil_is_absent_there_too(self) -> None:
        fields, pictures = parts.fields_of(parts.container(*SIZE, rates=[1]).to_bytes())
        assert not Container.from_bytes(write_frame({**fields, "!original": None}, pictures)).original

    @pytest.mark.parametrize(
        ("codec", "data"),
        [
            ("jpeg", saved("JPEG", parts.picture(64, 48))),  # the padded size
            ("jpeg", saved("PNG")),
            ("png", saved("PNG", np.dstack([RGB, GREY]))),
            ("png", saved("PNG", GREY.astype(np.uint16))),
            ("png", saved("PNG", GREY > 128)),
            ("webp", saved("WEBP", np.dstack([RGB, GREY]))),
            ("avif", saved("AVIF", np.dstack([RGB, GREY]))),
            ("png", saved("PNG", save_all=True, append_images=[Image.fromarray(RGB[::-1])])),
            ("webp", saved("WEBP", save_all=True, append_images=[Image.fromarray(RGB[::-1])])),
            ("avif", saved("AVIF", save_all=True, append_images=[Image.fromarray(RGB[::-1])])),
            ("jpeg", saved("JPEG", np.dstack([RGB, GREY])[..., [3, 0, 1]])[:-2]),
        ],
        ids=range(11),
    )
    def test_it_is_one_picture_of_its_format(self, codec: str, data: bytes) -> None:
        with pytest.raises(PlaneError):
            Container.from_bytes(original(codec, data).to_bytes())

    def test_av1_is_no_file(self) -> None:
        with pytest.raises(MalformedContainerError, match="an original is a file, as av1 planes are not"):
            original("av1", encode_plane(RGB, "av1", quality=60)[1])
        fields, pictures = parts.fields_of(
            parts.container(*SIZE, codec="av1", rates=[1], strength=0).to_bytes()
        )
        with pytest.raises(MalformedContainerError, match="an original is a file"):
            Container.from_bytes(write_frame({**fields, "!original": True}, pictures))

    def test_jpeg_is_for_originals_only(self) -> None:
        padded = Plane(1, "jpeg", saved("JPEG", parts.picture(64, 48)))
        with pytest.raises(MalformedContainerError, match="jpeg is for originals"):
            Container(*SIZE, RATE_1, (padded,))
        with pytest.raises(MalformedContainerError, match="jpeg is for originals"):
            replace(parts.container(*SIZE), alpha=AlphaPlane("jpeg", saved("JPEG", GREY)))
        fields, _ = parts.fields_of(original().to_bytes())
        del fields["!original"]
        with pytest.raises(MalformedContainerError, match="jpeg is for originals"):
            Container.from_bytes(write_frame(fields, [padded.data]))
