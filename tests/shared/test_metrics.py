"""Metrics equal their definitions, written out in plain Python, and known values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bbmr_shared.colour import luma, weighted_squared_error
from bbmr_shared.metrics import compare, psnr_rgb, psnr_y, ssim
from tests.shared import parts

A = parts.picture(60, 40, seed=1)
B = np.clip(A.astype(int) + np.random.default_rng(2).integers(-9, 10, A.shape), 0, 255).astype(np.uint8)


def test_luma_is_bt_601_studio_range() -> None:
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert np.allclose(luma(colours), [[16, 235, 81.481, 144.553, 40.966]])


def test_psnr_of_a_known_difference() -> None:
    grey = np.full((30, 20, 3), 100, np.uint8)
    assert psnr_rgb(grey, grey + np.uint8(1)) == pytest.approx(20 * math.log10(255))
    assert psnr_rgb(grey * 0, grey * 0 + np.uint8(255)) == pytest.approx(0)
    assert psnr_y(grey, grey + np.uint8(1)) == pytest.approx(20 * math.log10(255 / (219 / 255)))


def test_psnr_against_the_definition_over_more_rows_than_one_strip() -> None:
    tall, other = parts.picture(17, 700, seed=3), parts.picture(17, 700, seed=4)
    rgb = np.mean((tall.astype(float) - other) ** 2)
    y = np.mean((luma(tall) - luma(other)) ** 2)
    assert psnr_rgb(tall, other) == pytest.approx(10 * math.log10(255**2 / rgb), abs=1e-9)
    assert psnr_y(tall, other) == pytest.approx(10 * math.log10(255**2 / y), abs=1e-9)


def test_ssim_against_the_definition_window_by_window() -> None:
    a, b = luma(A), luma(B)
    offsets = np.arange(-5, 6)
    gauss = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(gauss, gauss) / gauss.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    assert ssim(A, B) == pytest.approx(float(np.mean(values)), abs=1e-9)


@pytest.mark.parametrize(("height", "width"), [(700, 30), (256 + 10, 30), (11, 11), (5, 40), (1, 1)])
def test_ssim_of_any_size(height: int, width: int) -> None:
    picture = parts.picture(width, height)
    assert ssim(picture, picture) == pytest.approx(1)
    assert ssim(picture, 255 - picture) < 1


def test_ssim_does_not_depend_on_the_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ssim(A, B)
    monkeypatch.setattr("bbmr_shared.metrics._STRIP_ROWS", 7)
    assert ssim(A, B) == pytest.approx(whole, abs=1e-12)


def test_compare_says_all_of_it() -> None:
    found = compare(A, B)
    assert found == {
        "psnr_rgb": psnr_rgb(A, B),
        "psnr_y": psnr_y(A, B),
        "ssim": ssim(A, B),
        "max_difference": int(np.abs(A.astype(int) - B).max()),
    }
    same = compare(A, A)
    assert (same["psnr_rgb"], same["psnr_y"], same["max_difference"]) == (None, None, 0)


@pytest.mark.parametrize("metric", [psnr_rgb, psnr_y, ssim])
def test_pictures_of_unequal_size_are_refused(metric: object) -> None:
    with pytest.raises(ValueError, match="unequal shape"):
        metric(A, A[:-1])  # type: ignore[operator]


def test_the_weighted_error_is_6_1_1_in_ycbcr() -> None:
    a, b = A.astype(float), B.astype(float)
    y = [0.299 * p[..., 0] + 0.587 * p[..., 1] + 0.114 * p[..., 2] for p in (a, b)]
    cb = [(p[..., 2] - luma_) / 1.772 for p, luma_ in zip((a, b), y, strict=True)]
    cr = [(p[..., 0] - luma_) / 1.402 for p, luma_ in zip((a, b), y, strict=True)]
    expected = (6 * (y[0] - y[1]) ** 2 + (cb[0] - cb[1]) ** 2 + (cr[0] - cr[1]) ** 2) / 8
    assert np.allclose(weighted_squared_error(A, B), expected, atol=1e-2)
