"""Surveys of photos by fast trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bbmr_client.encoding.operating_points import PlaneSettings
from bbmr_client.encoding.survey import Survey, sample_rows
from bbmr_shared.colour import weighted_squared_error
from bbmr_shared.images.codecs import decode, encode_plane
from bbmr_shared.resample import bicubic

SAMPLE = Path(__file__).parents[3] / "samples" / "lake-sherburne.jpg"


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    with Image.open(SAMPLE) as sample:
        return np.asarray(sample.convert("RGB").crop((700, 500, 1212, 884)))


def survey(picture: NDArray[np.uint8], model: str | None = None) -> Survey:
    return Survey(picture, False, 128, model, lambda: None)


@pytest.mark.parametrize("rate", [1, 2, 4])
def test_a_table_is_close_to_a_real_encode(photo: NDArray[np.uint8], rate: int) -> None:
    settings = PlaneSettings(45, "4:2:0", 6)
    found = survey(photo).table(rate, settings)
    plane = photo if rate == 1 else bicubic(photo, 512 // rate, 384 // rate)
    codec, data = encode_plane(plane, "av1", quality=45, subsampling="4:2:0", speed=6, tune="psnr")
    enlarged = bicubic(decode(data, codec, (512 // rate, 384 // rate)), 512, 384)
    error = float(weighted_squared_error(photo, enlarged).sum())
    assert found.bytes == pytest.approx(len(data), rel=0.3)
    assert found.errors.sum() == pytest.approx(error, rel=0.3)
    assert found.strength == 0


def test_a_full_chroma_table_differs_in_the_chroma_error(photo: NDArray[np.uint8]) -> None:
    one = survey(photo)
    half = one.table(2, PlaneSettings(60, "4:2:0", 6))
    full = one.table(2, PlaneSettings(60, "4:4:4", 6))
    assert full.errors.sum() < half.errors.sum()


def test_the_network_is_expected_to_help_at_low_rates(photo: NDArray[np.uint8]) -> None:
    settings = PlaneSettings(45, "4:2:0", 6)
    without, network = (survey(photo, model).table(4, settings) for model in (None, "light"))
    assert network.strength == 2
    assert network.errors.sum() < without.errors.sum()


def test_small_pictures_are_surveyed_whole() -> None:
    picture = np.zeros((512, 640, 3), np.uint8)
    assert sample_rows(picture) is picture


@pytest.mark.parametrize(("width", "height"), [(2048, 1360), (3840, 2160), (1008, 2000)])
def test_a_sample_of_a_large_picture_has_rows_from_all_of_it(width: int, height: int) -> None:
    picture = np.repeat(np.arange(height)[:, None], width, 1).astype(np.uint16)
    rows = sample_rows(picture.view(np.uint8).reshape(height, width, 2)[..., [0, 1, 1]])
    share = rows.shape[0] / height
    assert rows.shape[0] % 64 == 0
    assert 0.08 < share < 0.6
    found = rows[:, 0, 0].astype(int) + 256 * rows[:, 0, 1].astype(int)
    assert found.min() < height / 4
    assert found.max() > height * 3 / 4
