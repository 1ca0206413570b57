"""Fit the predictor of the network's error: `python -m bbmr_models.training.predictor PHOTOS OUT.json`.

In: training photos and shipped weights. Out: coefficients with which a client without torch predicts the network's
error of a block at each rate from the block's bicubic errors (see `bbmr_client.encoding.predict`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from bbmr_models.reconstruct import Reconstructor
from bbmr_models.weights import load
from bbmr_shared.colour import weighted_squared_error
from bbmr_shared.container import Container, Plane
from bbmr_shared.grid import BLOCK, RATES, BlockGrid
from bbmr_shared.images.codecs import encode_plane
from bbmr_shared.prediction import COARSE, FLOOR, features

from .lossless.pool import PicturePool, hold_out, load_pool

RIDGE = 1e-3


def measure(
    pool: PicturePool, index: int, reconstructor: Reconstructor
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean squared errors of a picture's whole blocks, bicubic and network: `[4, blocks]`, rates 2 … 16."""
    picture, errors = pool.plane(index, 1).numpy(), pool.cell_errors(index).numpy()
    height, width = (side // BLOCK * BLOCK for side in picture.shape[:2])
    grid = BlockGrid(width, height)
    plain, network = [], []
    for number, rate in enumerate(COARSE, 1):
        cells = errors[: height // 16, : width // 16, number]
        sums = cells.reshape(grid.rows, BLOCK // 16, grid.cols, BLOCK // 16).sum(axis=(1, 3))
        plain.append(sums.ravel() / BLOCK**2)
        plane = np.ascontiguousarray(pool.plane(index, rate).numpy()[: height // rate, : width // rate])
        uniform = np.full(grid.shape, rate, np.uint8)
        container = Container(width, height, uniform, (Plane(rate, *encode_plane(plane, effort=0)),))
        restored = np.asarray(reconstructor.reconstruct(container))
        error = weighted_squared_error(np.ascontiguousarray(picture[:height, :width]), restored)
        network.append(grid.block_sums(error).ravel() / BLOCK**2)
    return np.array(plain), np.array(network)


def fit(plain: NDArray[np.float64], network: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ridge regression of log₂(network / bicubic) on the features, `[4, features]`."""
    x = features(plain)
    target = log_ratio(plain, network)
    return np.linalg.solve(x @ x.T + RIDGE * x.shape[1] * np.eye(len(x)), x @ target.T).T


def log_ratio(plain: NDArray[np.float64], network: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log₂(network / bicubic); the floor keeps exact blocks finite."""
    return np.asarray(np.log2((network + FLOOR) / (plain + FLOOR)))


def _measure_all(pool: PicturePool, reconstructor: Reconstructor) -> list[NDArray[np.float64]]:
    parts = zip(*(measure(pool, index, reconstructor) for index in range(len(pool))), strict=True)
    return [np.concatenate(part, axis=1) for part in parts]


def main(
    photos: Annotated[Path, typer.Argument(help="Folder of training photos.")],
    output: Annotated[Path, typer.Argument(help="JSON file for the coefficients.")],
    model: Annotated[str, typer.Option(help="Shipped weights.")] = "light",
    pictures: Annotated[int, typer.Option(help="Number of pictures to use.")] = 200,
) -> None:
    """Measure and fit, report on held-out pictures, and write the coefficients."""
    torch.set_grad_enabled(False)
    reconstructor = Reconstructor(load(model))
    pool, held_out = hold_out(load_pool(photos, 2 * BLOCK, 1, 1, pictures), pictures // 8)
    tables = _measure_all(pool, reconstructor)
    coefficients = fit(*tables)
    plain, network = _measure_all(held_out, reconstructor)
    truth, guess = log_ratio(plain, network), coefficients @ features(plain)
    explained = 1 - ((truth - guess) ** 2).mean(axis=1) / truth.var(axis=1)
    report: dict[str, Any] = {
        "model": model,
        "rates": list(RATES[1:]),
        "blocks": tables[0].shape[1],
        "held_out_blocks": plain.shape[1],
        "held_out_mean_log2": truth.mean(axis=1).round(3).tolist(),
        "held_out_r2": explained.round(3).tolist(),
        "coefficients": coefficients.round(5).tolist(),
    }
    output.write_text(json.dumps(report, indent=1) + "\n")
    typer.echo({key: value for key, value in report.items() if key != "coefficients"})


if __name__ == "__main__":
    typer.run(main)
