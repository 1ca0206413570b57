"""The search for AVIF of a given size, and plain rescaling."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bbmr_server.encode_queue import WorkCancelledError
from bbmr_server.page import avif
from bbmr_server.page.avif import LOW_QUALITY, avif_within, resized
from bbmr_server.page.figures import rescaled
from bbmr_shared.images.codecs import encode_plane
from bbmr_shared.metrics import psnr_rgb


def test_avif_is_the_best_that_fits(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    found = avif_within(pixels, 6000, lambda: False)
    assert found is not None
    assert len(found.data) <= 6000
    assert (found.scale, found.quality >= LOW_QUALITY) == (1, True)
    assert len(encode_plane(pixels, "avif", quality=found.quality + 1, speed=8)[1]) > 6000
    assert found.picture.shape == pixels.shape
    assert avif_within(pixels, 100, lambda: False) is None


def test_avif_is_scaled_down_if_the_whole_photo_does_not_fit(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    smallest = [
        len(encode_plane(resized(pixels, size), "avif", quality=0, speed=8)[1])
        for size in ((200, 150), (100, 75), (50, 38), (25, 19))
    ]
    for before, size, scale in zip(smallest, smallest[1:], (2, 4, 8), strict=False):
        assert size < before
        found = avif_within(pixels, before - 1, lambda: False)
        assert found is not None
        assert found.scale >= scale
        assert found.picture.shape == pixels.shape
        assert len(found.data) < before
    assert avif_within(pixels, smallest[-1] - 1, lambda: False) is None


def test_avif_at_a_low_quality_is_compared_with_fewer_pixels(
    photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.asarray(photo)
    whole_at = {q: len(encode_plane(pixels, "avif", quality=q, speed=8)[1]) for q in (0, LOW_QUALITY - 1)}
    for size in whole_at.values():
        found = avif_within(pixels, size, lambda: False)
        tried = []
        for scale in (1, 2):
            monkeypatch.setattr(avif, "SCALES", (scale,))
            tried.append(avif_within(pixels, size, lambda: False))
        monkeypatch.undo()
        whole, half = tried
        assert found is not None
        assert whole is not None
        assert half is not None
        assert whole.quality < LOW_QUALITY
        best = max(psnr_rgb(pixels, whole.picture), psnr_rgb(pixels, half.picture))
        assert psnr_rgb(pixels, found.picture) >= best


def test_the_search_for_avif_can_be_cancelled_at_any_step(photo: Image.Image) -> None:
    pixels, steps = np.asarray(photo), []

    def soon() -> bool:
        steps.append(None)
        return len(steps) > 12  # the 13th check is at the second scale

    with pytest.raises(WorkCancelledError):
        avif_within(pixels, 6000, lambda: True)
    with pytest.raises(WorkCancelledError):
        avif_within(pixels, 100, soon)
    assert len(steps) == 13


def test_rescaling_keeps_at_most_as_many_pixels(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    few, many = rescaled(pixels, 500), rescaled(pixels, 8000)
    assert few is not None
    assert many is not None
    assert few["pixels"] <= 500 < many["pixels"] <= 8000  # type: ignore[operator]
    assert few["psnr_rgb"] < many["psnr_rgb"]  # type: ignore[operator]
    assert few["bytes"] < many["bytes"]  # type: ignore[operator]
    assert rescaled(pixels, 200 * 150) is None
    grey = np.repeat(pixels[..., :1], 3, axis=2)
    one_channel = encode_plane(resized(grey, (few["width"], few["height"]))[..., 0], "webp")  # type: ignore[arg-type]
    assert rescaled(grey, 500, grey=True)["bytes"] == len(one_channel[1])  # type: ignore[index]
