"""The figures of a picture, and of AVIF at exactly as many bytes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from bbmr_server.page.avif import Avif
from bbmr_server.page.figures import at_equal_bytes, facts, measured
from bbmr_shared.container import Container
from bbmr_shared.images.codecs import decode, encode_plane
from bbmr_shared.metrics import psnr_rgb, psnr_y, ssim


@pytest.fixture(scope="module")
def steps(photo: Image.Image) -> tuple[np.ndarray, bytes, bytes, np.ndarray]:
    """A photo, its AVIF of two qualities, and the picture of the lower one."""
    pixels = np.asarray(photo)
    small, large = (encode_plane(pixels, "avif", quality=quality)[1] for quality in (50, 60))
    return pixels, small, large, decode(small, "avif", (200, 150))


def test_figures_are_those_of_the_metrics_module(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    other = np.asarray(photo.resize((100, 75)).resize((200, 150)))
    assert measured(pixels, other, 3000) == {
        "bytes": 3000,
        "bpp": 0.8,
        "psnr_rgb": psnr_rgb(pixels, other),
        "psnr_y": psnr_y(pixels, other),
        "ssim": ssim(pixels, other),
    }
    same = measured(pixels, pixels, 3000)
    assert (same["psnr_rgb"], same["psnr_y"]) == (None, None)  # JSON has no infinity


def test_equal_bytes_lie_between_two_files(steps: tuple[np.ndarray, bytes, bytes, np.ndarray]) -> None:
    pixels, small, large, picture = steps
    best = Avif(1, 50, "4:4:4", 2, small, picture, large)
    figures = measured(pixels, picture, len(small))
    above = psnr_rgb(pixels, decode(large, "avif", (200, 150)))
    assert figures["psnr_rgb"] < above
    at = {size: at_equal_bytes(pixels, best, figures, size)["psnr_rgb"] for size in (len(small), len(large))}
    assert at[len(small)] == pytest.approx(figures["psnr_rgb"])
    assert at[len(large)] == pytest.approx(above)
    middle = round(math.sqrt(len(small) * len(large)))
    half = at_equal_bytes(pixels, best, figures, middle)
    assert half["psnr_rgb"] == pytest.approx((figures["psnr_rgb"] + above) / 2, abs=0.01)
    assert set(half) == {"psnr_rgb", "psnr_y"}


def test_equal_bytes_without_a_larger_file(steps: tuple[np.ndarray, bytes, bytes, np.ndarray]) -> None:
    pixels, small, _, picture = steps
    figures = measured(pixels, picture, len(small))
    own = {name: figures[name] for name in ("psnr_rgb", "psnr_y")}
    alone = Avif(1, 50, "4:4:4", 1, small, picture)
    assert at_equal_bytes(pixels, alone, figures, len(small)) == own
    lossless = encode_plane(pixels, "avif", quality=100, tune="psnr")[1]
    best = Avif(1, 50, "4:4:4", 2, small, picture, lossless)
    found = at_equal_bytes(pixels, best, figures, len(small) + 9)
    assert all(math.isfinite(value) for value in found.values())


def test_facts_of_a_container(container: Container, body: bytes) -> None:
    found = facts(container, len(body))
    assert (found["width"], found["height"], found["bytes"], found["alpha_bytes"]) == (200, 150, len(body), 0)
    rates = [[2 ** int(digit) for digit in row] for row in found["rate_map"]]
    assert rates == container.rate_map.tolist()
