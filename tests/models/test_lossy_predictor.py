"""The predictor of the network's effect on lossy planes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bbmr_client.encoding.network_effect import lossy_coefficients
from bbmr_models.reconstruct import Reconstructor
from bbmr_models.training.lossy_predictor import RATES, Samples, fit, held_out_report, measure
from bbmr_models.weights import load
from bbmr_shared.prediction import LOSSY_FEATURES

SAMPLE = Path(__file__).parents[2] / "samples" / "lake-sherburne.jpg"


def samples(photos: int = 12, blocks: int = 30) -> Samples:
    """Blocks whose log ratio is a linear function of two features, with noise."""
    rng = np.random.default_rng(1)
    count = photos * blocks
    features = rng.normal(0, 1, (count, LOSSY_FEATURES))
    features[:, 0] = 1
    before = rng.uniform(5, 50, count)
    after = before * np.exp2(-0.5 + 0.2 * features[:, 3] - 0.1 * features[:, 7] + rng.normal(0, 0.02, count))
    return Samples(np.arange(count) // blocks, before, after, features)


def test_a_linear_effect_is_found_and_its_report_is_true() -> None:
    one = samples()
    found = fit(one)
    assert found.shape == (LOSSY_FEATURES,)
    assert found[3] == pytest.approx(0.2, abs=0.02)
    assert found[7] == pytest.approx(-0.1, abs=0.02)
    report = held_out_report(one)
    assert report["blocks"] == 360
    assert report["r2"] < 1
    assert report["gain_db"] == pytest.approx(1.5, abs=0.3)


def test_a_picture_gives_blocks_of_every_rate() -> None:
    with Image.open(SAMPLE) as image:
        picture = np.asarray(image.convert("RGB").crop((600, 400, 856, 656)))
    found = measure(picture, 5, Reconstructor(load("light")), np.random.default_rng(2))
    assert set(found) == set(RATES)
    for rate, parts in found.items():
        for part in parts:
            assert part.features.shape == (4, LOSSY_FEATURES)
            assert (part.photo == 5).all()
            assert (part.before > 0).all()
            # the network is not a disaster at any rate
            assert part.after.sum() < 1.5 * part.before.sum(), rate


def test_the_shipped_coefficients_have_every_rate() -> None:
    found = lossy_coefficients("light")
    assert found is not None
    assert set(found) == set(RATES)
    assert all(values.shape == (LOSSY_FEATURES,) for values in found.values())
    assert lossy_coefficients("nobody") is None
