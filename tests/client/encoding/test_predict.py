"""Prediction of the network's error: what holds for any coefficients, and what holds for the shipped ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_client.encoding.predict import coefficients_of, predict
from bbmr_shared.errors import UsageError

SAMPLE = Path(__file__).parents[3] / "samples" / "lake-sherburne.jpg"


def table(seed: int = 0, blocks: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Bicubic squared errors of blocks from exact to very detailed, and their areas."""
    rng = np.random.default_rng(seed)
    steps = rng.exponential(1, (5, 1, blocks)) * 10.0 ** rng.uniform(-3, 3, (1, blocks))
    steps[0] = 0
    areas = np.full((1, blocks), 128 * 128)
    return np.cumsum(steps, axis=0) * areas, areas


def test_the_network_is_never_expected_to_add_error_nor_to_do_wonders() -> None:
    bicubic, areas = table()
    fit = np.random.default_rng(1).normal(0, 5, (4, 15))
    expected, strength = predict(bicubic, areas, fit)
    assert (expected <= bicubic).all()
    assert (expected >= bicubic * 2**-2.5 * 0.999).all()
    assert (expected[0] == 0).all()
    assert set(np.unique(strength)) <= {0, 1, 2}


def test_strength_falls_as_the_expected_gain_does() -> None:
    bicubic, areas = table()
    for log_ratio, halves in ((0.2, 0), (-0.01, 0), (-0.1, 1), (-0.5, 2)):
        fit = np.zeros((4, 15))
        fit[:, 0] = log_ratio
        _, strength = predict(bicubic, areas, fit)
        assert (strength[1:] == halves).all()
        assert (strength[0] == 2).all(), "blocks at rate 1 are exact; nothing is asked of them"


def test_the_shipped_coefficients_know_detail_from_exactness() -> None:
    fit = coefficients_of("light")
    assert fit is not None
    bicubic = np.array([0, 4, 40, 120, 300.0])[:, None, None] * 128**2
    expected, strength = predict(bicubic, np.full((1, 1), 128**2), fit)
    assert (strength[1:3] == 2).all()
    assert (expected[1:3] < 0.95 * bicubic[1:3]).all()
    _, strength = predict(bicubic * 1e-5, np.full((1, 1), 128**2), fit)
    assert (strength[1:] == 0).all()


def test_weights_nobody_knows_are_planned_as_bicubic() -> None:
    assert coefficients_of("no-such-model") is None
    assert coefficients_of("../predictors/light") is None
    photo = np.asarray(Image.open(SAMPLE).convert("RGB").resize((640, 360)))
    unknown, bicubic = encode(photo, rate=4, model="other"), encode(photo, rate=4, distortion="bicubic")
    np.testing.assert_array_equal(unknown.rate_map, bicubic.rate_map)
    assert unknown.strength_map is None
    assert bicubic.strength_map is None


def test_exact_blocks_ask_for_no_network() -> None:
    photo = np.full((256, 512, 3), 90, np.uint8)
    photo[:, 384:] = np.random.default_rng(0).integers(0, 256, (256, 128, 3), dtype=np.uint8)
    container = encode(photo, rate=4)
    assert container.strength_map is not None
    assert (container.strength_map[:, :2] == 0).all()


def test_an_unknown_distortion_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="network or bicubic"):
        encode(np.zeros((20, 20, 3), np.uint8), distortion="psychic")
