"""The search for the AVIF that a container is compared with."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from bbmr_server.encode_queue import WorkCancelledError
from bbmr_server.page import avif
from bbmr_server.page.avif import ENCODES, LOW_QUALITY, SPEED, TUNE, Avif, Known, Photo, avif_within, resized
from bbmr_shared.images.codecs import decode, encode_plane
from bbmr_shared.metrics import psnr_rgb

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def detail() -> np.ndarray:
    """A part of the sample photo: uint8 [300, 420, 3]."""
    with Image.open(ROOT / "samples/lake-sherburne.jpg") as photo:
        return np.asarray(photo.crop((440, 180, 860, 480)))


def coded(pixels: np.ndarray, found: Avif, quality: int) -> bytes:
    """Returns the file that the search would have made at another quality."""
    return encode_plane(
        resized(pixels, (round(pixels.shape[1] / found.scale), round(pixels.shape[0] / found.scale))),
        "avif",
        quality=quality,
        subsampling=found.subsampling,
        speed=SPEED,
        tune=TUNE,
    )[1]


def next_size(pixels: np.ndarray, found: Avif) -> int:
    """Returns the bytes of the next quality that has another file."""
    sizes = (len(coded(pixels, found, quality)) for quality in range(found.quality + 1, 101))
    return next((size for size in sizes if size != len(found.data)), 1 << 60)


@pytest.mark.parametrize("size", [2500, 6000, 12_000, 30_000, 80_000])
def test_it_is_the_highest_quality_that_fits(detail: np.ndarray, size: int) -> None:
    found = avif_within(Photo(detail), size, lambda: False)
    assert found is not None
    assert len(found.data) <= size < next_size(detail, found)
    assert found.encodes <= ENCODES
    assert found.data == coded(detail, found, found.quality)
    back = decode(found.data, "avif", (420 // found.scale, 300 // found.scale))
    assert np.array_equal(found.picture, resized(back, (420, 300)))


def test_the_next_larger_file_is_known_unless_the_bytes_are_used_up(detail: np.ndarray) -> None:
    size = len(encode_plane(detail, "avif", quality=60, subsampling="4:4:4", speed=SPEED, tune=TUNE)[1])
    short = avif_within(Photo(detail), size - 1, lambda: False)
    assert short is not None
    assert short.larger is not None
    assert len(short.data) < size - 1 < len(short.larger)
    assert len(short.larger) == next_size(detail, short)
    full = avif_within(Photo(detail), len(short.data), lambda: False)
    assert full is not None
    assert (full.data, full.larger) == (short.data, None)


def test_what_the_encoder_knows_makes_the_first_quality_accurate(detail: np.ndarray) -> None:
    quality = 60
    plane = encode_plane(detail, "av1", quality=quality, subsampling="4:4:4", speed=SPEED, tune=TUNE)[1]
    size = len(plane) + 200
    found = avif_within(Photo(detail), size, lambda: False, quality, Known(1, quality, "4:4:4", len(plane)))
    assert found is not None
    assert found.encodes == 2  # one that fits, and one that does not
    assert len(found.data) <= size < next_size(detail, found)
    misled = avif_within(
        Photo(detail), size, lambda: False, quality, Known(1, quality, "4:4:4", 3 * len(plane))
    )
    assert misled is not None
    assert misled.data == found.data


@pytest.mark.parametrize("start", [0, 100])
def test_a_bad_start_gives_the_same_file(detail: np.ndarray, start: int) -> None:
    found = [avif_within(Photo(detail), 12_000, lambda: False, at) for at in (50, start)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].data == found[1].data


def test_it_is_scaled_down_if_the_whole_photo_does_not_fit(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    smallest = [
        len(
            encode_plane(resized(pixels, size), "avif", quality=0, subsampling="4:2:0", speed=6, tune=TUNE)[1]
        )
        for size in ((200, 150), (100, 75), (50, 38), (25, 19))
    ]
    for before, size, scale in zip(smallest, smallest[1:], (2, 4, 8), strict=False):
        assert size < before
        found = avif_within(Photo(pixels), size, lambda: False)
        assert found is not None
        assert found.scale >= scale
        assert found.picture.shape == pixels.shape
        assert len(found.data) <= size
    assert avif_within(Photo(pixels), smallest[-1] // 2, lambda: False) is None


def test_a_low_quality_is_compared_with_fewer_pixels(
    detail: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(encode_plane(detail, "avif", quality=4, subsampling="4:2:0", speed=SPEED, tune=TUNE)[1])
    found = avif_within(Photo(detail), size, lambda: False)
    assert found is not None
    monkeypatch.setattr(avif, "SCALES", (1,))
    whole = avif_within(Photo(detail), size, lambda: False)
    assert whole is not None
    assert whole.quality < LOW_QUALITY
    assert psnr_rgb(detail, found.picture) >= psnr_rgb(detail, whole.picture) - 0.2  # chosen by a fast trial


def test_chroma_is_kept_where_colours_need_it() -> None:
    grey = np.full((128, 128, 3), 128, np.uint8)
    thin = grey.copy()
    thin[:, ::2, 0] = 250  # lines of colour, one pixel wide
    coloured = avif_within(Photo(thin), 4000, lambda: False)
    assert coloured is not None
    assert coloured.subsampling == "4:4:4"
    plain = avif_within(Photo(grey, grey=True), 4000, lambda: False)
    assert plain is not None
    assert plain.subsampling == "4:0:0"
    with Image.open(io.BytesIO(plain.data)) as picture:
        assert picture.mode in ("L", "RGB")
    assert np.abs(plain.picture.astype(int) - 128).max() <= 1


def test_the_profile_is_in_the_file_and_counts(detail: np.ndarray) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = avif_within(Photo(detail, icc=icc), 12_000, lambda: False)
    without = avif_within(Photo(detail), 12_000, lambda: False)
    assert found is not None
    assert without is not None
    assert len(found.data) <= 12_000
    with Image.open(io.BytesIO(found.data)) as picture:
        assert picture.info["icc_profile"] == icc
    assert found.quality <= without.quality


def test_a_side_that_avif_cannot_have_is_scaled_down(
    monkeypatch: pytest.MonkeyPatch, detail: np.ndarray
) -> None:
    monkeypatch.setattr(avif, "AVIF_MAX_SIDE", 300)
    found = avif_within(Photo(detail), 60_000, lambda: False)
    assert found is not None
    assert found.scale == 2


@pytest.fixture
def after() -> Iterator[Callable[[int], Callable[[], bool]]]:
    """`after(n)`: is false for n calls, then true."""

    def make(count: int) -> Callable[[], bool]:
        left = iter(range(count))
        return lambda: next(left, None) is None

    return make


@pytest.mark.parametrize("checks", [0, 3, 8])
def test_it_can_be_cancelled_at_any_step(
    detail: np.ndarray, after: Callable[[int], Callable[[], bool]], checks: int
) -> None:
    with pytest.raises(WorkCancelledError):
        avif_within(Photo(detail), 6000, after(checks))
