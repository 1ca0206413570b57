"""Fixtures for the tests of the models: the reduced sample photo and a small untrained network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from bbmr_models.jointsr import JointSR, JointSRConfig
from bbmr_models.networks import make_network
from bbmr_models.training.lossless.pool import PicturePool, load_pool

from .training_parts import make_folder

SAMPLE = Path(__file__).parents[2] / "samples" / "lake-sherburne.jpg"


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """A part of the sample photo with water, trees and rock, `uint8 [500, 700, 3]`: not a multiple of 16."""
    with Image.open(SAMPLE) as image:
        return np.asarray(image.convert("RGB").resize((1280, 720), Image.Resampling.LANCZOS))[
            150:650, 300:1000
        ]


@pytest.fixture(scope="module")
def folder(photo: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photographs to train on, with files that training must skip."""
    return make_folder(tmp_path_factory.mktemp("photos"), photo)


@pytest.fixture(scope="module")
def pool(folder: Path) -> PicturePool:
    return load_pool(folder, 64, 1, 0)


def small_network(seed: int = 0, gain: float = 1.0, **config: Any) -> JointSR:
    """An untrained network whose correction is clearly not zero."""
    torch.manual_seed(seed)
    sizes = {"channels": (8, 12, 16), "blocks": 1, "tile": 256, "halo": 64, "lossy": True} | config
    model = make_network(JointSRConfig(**sizes)).eval()
    with torch.no_grad():
        model.head.weight.mul_(10 * gain)
    return model


def small_backbone(seed: int = 0, gain: float = 1.0, **config: Any) -> JointSR:
    """The same with a published backbone and all of its inputs."""
    return small_network(seed, gain, **{"backbone": "omnisr", "channels": 16, "deblock": 8} | config)
