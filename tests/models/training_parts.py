"""Helpers for the tests of training: a folder of small pictures, good and bad, and the smallest run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_models.jointsr import JointSRConfig
from bbmr_models.training.config import TrainingConfig

CONFIG = JointSRConfig(channels=(8, 12, 16), blocks=1, halo=64)
TRAINING = TrainingConfig(minutes=1 / 60, batch=2, crop=64, held_out=1, warmup=5, lossless=True)
OPTIONS = ["--channels", "8,12,16", "--blocks", "1", "--crop", "64", "--batch", "2", "--lossless"]


def make_folder(path: Path, photo: NDArray[np.uint8]) -> Path:
    """Write three crops, a text file with a picture's name, a truncated picture and one that is too small."""
    for index in range(3):
        Image.fromarray(photo[:300, index * 200 : index * 200 + 300]).save(path / f"{index}.png")
    (path / "text.jpg").write_text("not a picture")
    (path / "half.png").write_bytes((path / "0.png").read_bytes()[:5000])
    Image.fromarray(photo[:40, :40]).save(path / "tiny.png")
    return path
