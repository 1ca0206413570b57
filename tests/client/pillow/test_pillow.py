"""The Pillow plugin: a `.bbmr` file behaves like any other picture that Pillow opens."""

from __future__ import annotations

import copy
import io
import mimetypes
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from bbmr_client.encoding.encoder import encode
from bbmr_shared.compositing.composite import preview
from bbmr_shared.compositing.thumbnail import thumbnail
from bbmr_shared.container import Container
from bbmr_shared.limits import DEFAULT_LIMITS
from tests.client.pillow.pillow_parts import SRGB, XMP, exif, opened
from tests.shared import parts

Rgb = Callable[..., np.ndarray]
VECTORS = Path(__file__).resolve().parents[2] / "vectors"


class Counting(io.BytesIO):
    """A file that counts the bytes that are read."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


class TestOpening:
    def test_by_its_first_bytes_and_lazily(self, packed: Path, container: Container) -> None:
        with Image.open(packed) as picture:
            assert (picture.format, picture.size, picture.mode) == ("BBMR", (300, 200), "RGB")
            assert picture.get_format_mimetype() == "application/vnd.bbmr"
            assert picture._im is None, "nothing was decoded yet"
            assert np.array_equal(np.asarray(picture), np.asarray(preview(container)))

    def test_the_name_does_not_matter(self, packed: Path, photo: Path, tmp_path: Path) -> None:
        other = packed.rename(tmp_path / "photo.jpg")
        assert Image.open(other).format == "BBMR"
        assert Image.open(photo.rename(tmp_path / "wrong.bbmr")).format == "PNG"

    def test_the_planes_are_not_read(self, rgb: Rgb) -> None:
        data = encode(rgb(900, 700), rate=1.5).to_bytes()
        assert len(data) > 500_000
        file = Counting(data)
        assert Image.open(file).size == (900, 700)
        assert file.total < 100_000

    @pytest.mark.parametrize(
        ("channels", "alpha", "mode"),
        [(3, False, "RGB"), (3, True, "RGBA"), (1, False, "L"), (1, True, "LA")],
    )
    def test_size_and_mode_are_right_before_and_after_loading(
        self, channels: int, alpha: bool, mode: str
    ) -> None:
        made = parts.container(101, 67, alpha=alpha, channels=channels)
        picture = opened(made)
        assert (picture.mode, picture.size) == (mode, (101, 67))
        picture.load()
        assert (picture.mode, picture.size) == (mode, (101, 67))
        assert np.array_equal(np.asarray(picture), np.asarray(preview(made)))

    def test_metadata_at_once(self) -> None:
        block = exif().tobytes()
        kept = block.removeprefix(b"Exif\0\0")
        picture = opened(parts.container(icc=SRGB, exif=kept, xmp=XMP, dpi=(300.0, 150.0)))
        assert picture.info == {"icc_profile": SRGB, "exif": block, "xmp": XMP, "dpi": (300.0, 150.0)}
        assert picture.getexif()[315] == "someone"
        assert picture._im is None

    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
    def test_metadata_can_be_handed_on(self, format: str) -> None:
        kept = exif().tobytes().removeprefix(b"Exif\0\0")
        picture = opened(parts.container(icc=SRGB, exif=kept))
        file = io.BytesIO()
        picture.save(file, format, exif=picture.info["exif"], icc_profile=picture.info["icc_profile"])
        with Image.open(file) as again:
            assert again.getexif()[315] == "someone"
            assert again.info["icc_profile"] == SRGB

    def test_the_tag_of_a_turned_photo_does_not_turn_it_again(self, rgb: Rgb) -> None:
        photo = io.BytesIO()
        Image.fromarray(rgb(64, 48)).save(photo, "JPEG", exif=exif(6))
        picture = opened(encode(photo.getvalue(), rate=1))
        assert picture.size == (48, 64)
        assert picture.getexif()[274] == 1
        assert ImageOps.exif_transpose(picture).size == (48, 64)

    def test_pixels_can_be_changed_and_the_picture_used_as_any_other(self, packed: Path) -> None:
        with Image.open(packed) as picture:
            picture.putpixel((3, 4), (1, 2, 3))
            assert picture.getpixel((3, 4)) == (1, 2, 3)
            assert picture.convert("L").rotate(90, expand=True).size == (200, 300)

    def test_it_has_one_frame(self, packed: Path) -> None:
        picture = Image.open(packed)
        picture.seek(0)
        assert picture.tell() == 0
        with pytest.raises(EOFError):
            picture.seek(1)

    def test_copies_and_pickles(self, packed: Path, container: Container) -> None:
        expected = np.asarray(preview(container))
        for other in (
            Image.open(packed).copy(),
            copy.copy(Image.open(packed)),
            copy.deepcopy(Image.open(packed)),
            pickle.loads(pickle.dumps(Image.open(packed))),
        ):
            assert np.array_equal(np.asarray(other), expected)

    def test_files_are_closed_when_they_are_its_own(self, packed: Path) -> None:
        picture = Image.open(packed)
        own = picture.fp
        picture.load()
        assert own is not None
        assert own.closed
        with packed.open("rb") as file:
            Image.open(file).load()
            assert not file.closed
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            with Image.open(packed):
                pass

    def test_a_closed_picture_is_not_loaded(self, packed: Path) -> None:
        with Image.open(packed) as picture:
            pass
        with pytest.raises(ValueError, match="closed"):
            picture.load()

    def test_a_file_object_may_be_anywhere_when_it_is_loaded(self, packed: Path) -> None:
        with packed.open("rb") as file:
            picture = Image.open(file)
            file.seek(7)
            assert picture.getpixel((0, 0)) is not None

    def test_piece_by_piece(self, packed: Path, container: Container) -> None:
        parser = ImageFile.Parser()
        data = packed.read_bytes()
        for start in range(0, len(data), 1000):
            parser.feed(data[start : start + 1000])
        assert np.array_equal(np.asarray(parser.close()), np.asarray(preview(container)))

    def test_nothing_heavy_is_imported_before_it_is_needed(self) -> None:
        code = "import sys, bbmr_client.pillow; print({'numpy', 'pydantic', 'httpx', 'msgpack'} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"


class TestDraft:
    @pytest.mark.parametrize(
        ("asked", "level"), [(300, 1), (151, 1), (150, 2), (70, 4), (30, 8), (5, 16), (1, 16)]
    )
    def test_the_smallest_level_that_is_not_below_what_is_asked(
        self, container: Container, asked: int, level: int
    ) -> None:
        picture = opened(container)
        answer = picture.draft(None, (asked, asked * 200 // 300))
        size = (-(-300 // level), -(-200 // level))
        assert answer == ("RGB", (0, 0, 300 / level, 200 / level))
        assert picture.size == size
        picture.load()
        assert picture.size == size

    def test_it_is_never_asked_twice_nor_too_late(self, container: Container) -> None:
        picture = opened(container)
        picture.draft(None, (70, 40))
        assert picture.draft(None, (5, 5)) is None
        loaded = opened(container)
        loaded.load()
        assert loaded.draft(None, (5, 5)) is None
        assert loaded.size == (300, 200)
        assert opened(container).draft("L", None) is None

    def test_thumbnails_use_it(self, container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
        """The finest level of the composite, which takes the most time, is never made."""
        monkeypatch.setattr("bbmr_shared.compositing.composite.base", None)
        picture = opened(container)
        picture.thumbnail((40, 40), Image.Resampling.LANCZOS)
        assert picture.size == (40, 27)
        ours = np.asarray(thumbnail(container, 40)).astype(int)
        assert np.abs(np.asarray(picture) - ours).max() <= 1

    def test_pictures_with_alpha_stay_whole(self) -> None:
        made = parts.container(300, 200, alpha=True)
        picture = opened(made)
        assert picture.draft(None, (10, 10)) is None
        picture.thumbnail((40, 40))
        assert (picture.size, picture.mode) == ((40, 27), "RGBA")


class TestDamage:
    def test_other_files_are_none_of_ours(self, tmp_path: Path) -> None:
        (tmp_path / "text.bbmr").write_bytes(b"hello, this is text, and long enough")
        with pytest.raises(UnidentifiedImageError):
            Image.open(tmp_path / "text.bbmr")

    @pytest.mark.parametrize("size", [8, 9, 20, 100])
    def test_a_header_that_ends(self, packed: Path, size: int) -> None:
        with pytest.raises(UnidentifiedImageError, match="ends inside"):
            Image.open(io.BytesIO(packed.read_bytes()[:size]))

    def test_a_version_to_come_is_named(self, container: Container) -> None:
        fields, pictures = parts.fields_of(container.to_bytes())
        data = parts.put_together({**fields, "version": 2}, pictures)
        with pytest.raises(UnidentifiedImageError, match="version 2"):
            Image.open(io.BytesIO(data))

    def test_every_cut_is_an_os_error(self, packed: Path) -> None:
        data = packed.read_bytes()
        for size in range(8, len(data), max(1, len(data) // 60)):
            with pytest.raises(OSError, match=r"end|truncated"):
                Image.open(io.BytesIO(data[:size])).load()

    def test_a_changed_byte_is_found_when_it_is_loaded(self, packed: Path) -> None:
        data = bytearray(packed.read_bytes())
        data[-400] ^= 1
        picture = Image.open(io.BytesIO(data))
        with pytest.raises(OSError, match="digest"):
            picture.load()
        with pytest.raises(OSError, match="digest"):
            Image.open(io.BytesIO(data)).verify()

    def test_a_plane_that_was_written_broken(self, container: Container) -> None:
        plane = container.planes[0]
        broken = replace(plane, data=plane.data[:-8] + bytes(8))
        picture = opened(replace(container, planes=(broken, *container.planes[1:])))
        with pytest.raises(OSError, match="decode"):
            picture.load()

    def test_verify_passes_what_is_whole(self, packed: Path) -> None:
        picture = Image.open(packed)
        own = picture.fp
        picture.verify()
        assert own is not None
        assert own.closed

    def test_bombs(self, container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)
        with pytest.raises(Image.DecompressionBombError):
            opened(container)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)
        with pytest.warns(Image.DecompressionBombWarning):
            opened(container)

    def test_sizes_over_our_own_limit_are_bombs_too(self, container: Container) -> None:
        fields, pictures = parts.fields_of(container.to_bytes())
        data = parts.put_together({**fields, "width": DEFAULT_LIMITS.max_side + 1}, pictures)
        with pytest.raises(Image.DecompressionBombError, match="side"):
            Image.open(io.BytesIO(data))


def test_python_guesses_the_media_type() -> None:
    assert mimetypes.guess_type("holiday/photo.bbmr") == ("application/vnd.bbmr", None)
    assert mimetypes.guess_extension("application/vnd.bbmr") == ".bbmr"


class TestVectors:
    """The project's golden and malformed containers, opened with Pillow."""

    @pytest.mark.parametrize("path", sorted((VECTORS / "v1").glob("*.bbmr")), ids=lambda path: path.stem)
    def test_good_ones_are_shown_at_every_size(self, path: Path) -> None:
        expected = preview(Container.from_bytes(path.read_bytes()))
        with Image.open(path) as picture:
            size, mode, info = picture.size, picture.mode, dict(picture.info)
            assert np.array_equal(np.asarray(picture), np.asarray(expected))
        assert (size, mode) == (expected.size, expected.mode)
        assert set(info) == set(expected.info)
        for level in (2, 4, 8, 16):
            small = Image.open(path)
            answer = small.draft(None, (size[0] // level, size[1] // level))
            promised = small.size
            small.load()
            assert small.size == promised
            assert answer is None or small.mode == mode

    @pytest.mark.parametrize("path", sorted((VECTORS / "invalid").glob("*.bbmr")), ids=lambda path: path.stem)
    def test_bad_ones_are_refused_as_pillow_refuses(self, path: Path) -> None:
        with pytest.raises((OSError, Image.DecompressionBombError)) as caught:
            Image.open(path, formats=["BBMR"]).load()  # among them is a PNG with a wrong name
        assert str(caught.value)
        assert "\n" not in str(caught.value)


def test_flipped_bits_raise_nothing_else(packed: Path) -> None:
    data, random = packed.read_bytes(), np.random.default_rng(3)
    for at in random.integers(0, min(len(data), 3000), 300):
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(random.integers(0, 8))
        with pytest.raises((OSError, Image.DecompressionBombError)):
            Image.open(io.BytesIO(flipped)).load()
