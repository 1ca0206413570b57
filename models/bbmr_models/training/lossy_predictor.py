"""Fit the predictor of the network's effect on lossy planes.

    python -m bbmr_models.training.lossy_predictor PHOTOS OUT.json

In: training photos and shipped weights. Out: coefficients with which a client without a network predicts what is left
of each block's error (see `bbmr_client.encoding.network_effect`). Planes are coded by the fast trials of the encoder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image

from bbmr_models.reconstruct import Reconstructor
from bbmr_models.weights import load
from bbmr_shared.block_statistics import BlockStatistics, mean_squared_error
from bbmr_shared.colour import weighted_squared_error
from bbmr_shared.container import Container, Plane
from bbmr_shared.errors import UsageError
from bbmr_shared.grid import BLOCK, BlockGrid
from bbmr_shared.images.codecs import coding_error_byte, decode, encode_plane
from bbmr_shared.prediction import LOSSY_FLOOR, lossy_features
from bbmr_shared.resample import bicubic

from .lossless.pool import SUFFIXES

RATES = (1, 2, 4, 8)
QUALITIES = {1: (2, 88), 2: (8, 78), 4: (24, 85), 8: (40, 90)}
"""Rate → the range that the quality of its plane is drawn from."""
PLANES_PER_RATE = 2
SPEED = 10
FULL_CHROMA_SHARE = 0.35
SHRINK = (0.6, 0.95)
RIDGE = 1e-3
FOLDS = 6


@dataclass(frozen=True)
class Samples:
    """Blocks of one rate: `photo`, `before`, `after` `[blocks]`, and `features` `[blocks, 55]`; errors are means."""

    photo: NDArray[np.int64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    features: NDArray[np.float64]

    @property
    def log_ratio(self) -> NDArray[np.float64]:
        """log₂(after / before); the floor keeps exact blocks finite."""
        return np.asarray(np.log2((self.after + LOSSY_FLOOR) / (self.before + LOSSY_FLOOR)))


def measure(
    picture: NDArray[np.uint8], number: int, reconstructor: Reconstructor, rng: np.random.Generator
) -> dict[int, list[Samples]]:
    """Send a picture of whole blocks through planes of every rate, and measure its blocks before and after."""
    height, width = picture.shape[:2]
    grid = BlockGrid(width, height)
    planes = {1: picture} | {rate: bicubic(picture, width // rate, height // rate) for rate in (2, 4, 8)}
    statistics = {rate: BlockStatistics(planes[rate], grid, rate) for rate in (1, 2, 4)}
    steps = [
        statistics[rate].errors(planes[2 * rate], 2).ravel() / (BLOCK // rate) ** 2 for rate in statistics
    ]
    gradients = statistics[1].gradient_moments().reshape(3, -1)
    found: dict[int, list[Samples]] = {rate: [] for rate in RATES}
    for rate in RATES:
        for _ in range(PLANES_PER_RATE):
            quality = int(rng.integers(*QUALITIES[rate]))
            full = bool(rng.random() < FULL_CHROMA_SHARE)
            codec, data = encode_plane(
                planes[rate],
                "av1",
                quality=quality,
                subsampling="4:4:4" if full else "4:2:0",
                speed=SPEED,
                tune="psnr",
            )
            decoded = decode(data, codec, grid.plane_size(rate))
            coding = mean_squared_error(decoded, planes[rate])
            plane = Plane(rate, codec, data, coding_error_byte(coding))
            container = Container(width, height, np.full(grid.shape, rate, np.uint8), (plane,))
            restored = np.asarray(reconstructor.reconstruct(container))
            before = statistics[1].errors(decoded, rate).ravel() / BLOCK**2
            after = grid.block_sums(weighted_squared_error(picture, restored)).ravel() / BLOCK**2
            features = lossy_features(before, coding, np.stack(steps), gradients, full)
            found[rate].append(Samples(np.full(len(before), number), before, after, features.T))
    return found


def fit(samples: Samples) -> NDArray[np.float64]:
    """Return the ridge regression of the log ratio on the features, `[55]`."""
    x = samples.features
    penalty = RIDGE * len(x) * np.eye(x.shape[1])
    return np.asarray(np.linalg.solve(x.T @ x + penalty, x.T @ samples.log_ratio))


def held_out_report(samples: Samples) -> dict[str, float]:
    """Return how well photos are predicted that were not fitted: dB of whole photos, and R² of blocks."""
    photos = np.unique(samples.photo)
    guess = np.zeros(len(samples.photo))
    for fold in range(FOLDS):
        out = np.isin(samples.photo, photos[fold::FOLDS])
        rest = Samples(*(getattr(samples, name)[~out] for name in Samples.__dataclass_fields__))
        guess[out] = samples.features[out] @ fit(rest)
    truth = samples.log_ratio
    gains, misses = [], []
    for photo in photos:
        own = samples.photo == photo
        before, after = samples.before[own].sum(), samples.after[own].sum()
        gains.append(10 * np.log10(before / after))
        misses.append(10 * np.log10((samples.before[own] * np.exp2(guess[own])).sum() / after))
    return {
        "blocks": len(truth),
        "r2": round(float(1 - ((truth - guess) ** 2).mean() / truth.var()), 3),
        "gain_db": round(float(np.mean(gains)), 3),
        "gain_sd_db": round(float(np.std(gains)), 3),
        "miss_sd_db": round(float(np.std(misses)), 3),
    }


def _crop(path: Path, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A photo, reduced at random and cropped to whole blocks."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    factor = rng.uniform(*SHRINK)
    width, height = (max(2 * BLOCK, int(side * factor) // BLOCK * BLOCK) for side in image.size)
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


def main(
    photos: Annotated[Path, typer.Argument(help="Folder of training photos.")],
    output: Annotated[Path, typer.Argument(help="JSON file for the coefficients.")],
    model: Annotated[str, typer.Option(help="Shipped weights.")] = "light",
    pictures: Annotated[int, typer.Option(help="Number of pictures to use.")] = 150,
    seed: Annotated[int, typer.Option(help="Seed of the choice of pictures and planes.")] = 0,
) -> None:
    """Measure, fit, report on held-out photos, and write the coefficients."""
    torch.set_grad_enabled(False)
    reconstructor, rng = Reconstructor(load(model)), np.random.default_rng(seed)
    paths = sorted(path for path in photos.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UsageError(f"there is no photograph under {photos}")
    chosen = rng.permutation(len(paths))[:pictures]
    parts: dict[int, list[Samples]] = {rate: [] for rate in RATES}
    for number, index in enumerate(chosen.tolist()):
        for rate, found in measure(_crop(paths[index], rng), number, reconstructor, rng).items():
            parts[rate] += found
    tables = {
        rate: Samples(
            *(np.concatenate([getattr(one, name) for one in found]) for name in Samples.__dataclass_fields__)
        )
        for rate, found in parts.items()
    }
    report: dict[str, Any] = {
        "model": model,
        "pictures": len(chosen),
        "held_out": {str(rate): held_out_report(samples) for rate, samples in tables.items()},
        "coefficients": {str(rate): fit(samples).round(6).tolist() for rate, samples in tables.items()},
    }
    output.write_text(json.dumps(report, indent=1) + "\n")
    typer.echo(json.dumps(report["held_out"], indent=1))


if __name__ == "__main__":
    typer.run(main)
