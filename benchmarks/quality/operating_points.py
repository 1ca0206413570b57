"""How good the encoder's estimates are, and the numbers in `bbmr_client.encoding.operating_points` and `trial`.

In: a folder of training photos. Out: `operating-points.json` and `operating-points.md`: λ of each quality, the best
quality of each rate's plane at that λ, bytes and errors of fast trials against those at real speeds, and the estimates
of bytes per block against planes that hold only a part of the blocks.

    python -m benchmarks.quality.operating_points train --pictures 16
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image

from bbmr_client.encoding.block_bytes import block_bytes
from bbmr_client.encoding.trial import SPEED as TRIAL_SPEED
from bbmr_models import load
from bbmr_models.reconstruct import Reconstructor
from bbmr_shared.block_statistics import mean_squared_error
from bbmr_shared.colour import weighted_squared_error
from bbmr_shared.container import Container, Plane
from bbmr_shared.container.planes import keep_blocks
from bbmr_shared.grid import BlockGrid
from bbmr_shared.images.codecs import coding_error_byte, decode, encode_plane
from bbmr_shared.resample import bicubic
from benchmarks.common import Partial, photos, read_rgb
from benchmarks.render.pages import write

NAME = "operating-points"
QUALITIES = (4, 10, 18, 26, 34, 42, 52, 62, 72)
"""Qualities at rate 1, for which λ and the planes of the other rates are found."""
PLANE_QUALITIES = {
    1: QUALITIES,
    2: (10, 18, 26, 34, 42, 50, 58, 66, 76),
    4: (24, 34, 44, 54, 64, 76, 88),
    8: (40, 55, 70, 85),
}
SPEED = 6
REDUCED = 0.75
"""Training photos are reduced by this, which removes the errors of their own codec."""
SUBSETS = ("scattered", "half")
KEPT_QUALITIES = {1: (15, 40), 2: (28, 55), 4: (45,)}

Picture = NDArray[np.uint8]


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of training photos.")],
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("docs/benchmarks"),
    pictures: Annotated[int, typer.Option(help="Number of photos to use.")] = 16,
    model: Annotated[str, typer.Option(help="Weights.")] = "light",
    seed: Annotated[int, typer.Option(help="Seed of the choice of photos and blocks.")] = 5,
) -> None:
    """Measure, print and write."""
    torch.set_grad_enabled(False)
    reconstructor = Reconstructor(load(model))
    paths = photos([folder])
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.permutation(len(paths))[:pictures].tolist())
    partial = Partial(output, NAME, {"model": reconstructor.model.config.to_dict(), "chosen": chosen})
    for index in chosen:
        if partial.find(picture=paths[index].stem) is None:
            picture = reduced(read_rgb(paths[index]))
            row = {"picture": paths[index].stem, "pixels": picture.shape[0] * picture.shape[1]}
            partial.add(row | measure(picture, reconstructor, np.random.default_rng([seed, index])))
            print(row["picture"], flush=True)
    results = summary(partial.rows) | {"model": model, "pictures": len(partial.rows)}
    print(write(output, NAME, json.loads(json.dumps(results))))
    partial.finish()


def reduced(photo: Picture) -> Picture:
    """Return the photo reduced, with sides that are multiples of 16."""
    height, width = (int(side * REDUCED) // 16 * 16 for side in photo.shape[:2])
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS))


def measure(picture: Picture, reconstructor: Reconstructor, rng: np.random.Generator) -> dict[str, Any]:
    """Return all points of one picture."""
    height, width = picture.shape[:2]
    grid = BlockGrid(width, height)
    planes = {
        rate: picture if rate == 1 else bicubic(picture, width // rate, height // rate)
        for rate in PLANE_QUALITIES
    }
    points = [
        point(picture, planes[rate], rate, quality, reconstructor)
        for rate, qualities in PLANE_QUALITIES.items()
        for quality in qualities
    ]
    kept = [
        kept_bytes(planes[rate], rate, quality, grid, subset, rng)
        for rate, qualities in KEPT_QUALITIES.items()
        for quality in qualities
        for subset in SUBSETS
    ]
    return {"points": points, "kept": [pair for pair in kept if pair is not None]}


def point(
    picture: Picture, plane: Picture, rate: int, quality: int, reconstructor: Reconstructor
) -> dict[str, Any]:
    """Return bytes and errors of the whole picture at one rate: at real speed with the network, and of the trial."""
    height, width = picture.shape[:2]
    grid = BlockGrid(width, height)
    row: dict[str, Any] = {"rate": rate, "quality": quality}
    for name, speed in (("real", SPEED), ("trial", TRIAL_SPEED)):
        codec, data = encode_plane(
            plane, "av1", quality=quality, subsampling="4:2:0", speed=speed, tune="psnr"
        )
        coding = mean_squared_error(decode(data, codec, grid.plane_size(rate)), plane)
        row |= {f"{name}_bytes": len(data), f"{name}_coding": coding}
        if name == "real":
            coded = Plane(rate, codec, data, coding_error_byte(coding))
            container = Container(width, height, np.full(grid.shape, rate, np.uint8), (coded,))
            restored = np.asarray(reconstructor.reconstruct(container))
            row["error"] = float(weighted_squared_error(picture, restored).mean())
    return row


def kept_bytes(
    plane: Picture, rate: int, quality: int, grid: BlockGrid, subset: str, rng: np.random.Generator
) -> dict[str, Any] | None:
    """Return estimated and real bytes of a plane that keeps some blocks; None if the draw keeps all or none."""
    if subset == "scattered":
        kept = rng.random(grid.shape) < 0.5
    else:
        kept = np.add.outer(np.arange(grid.rows), rng.uniform(-1, 1) * np.arange(grid.cols)) > grid.rows / 2
    if kept.all() or not kept.any():
        return None
    sizes = [
        len(encode_plane(samples, "av1", quality=quality, subsampling="4:2:0", speed=SPEED, tune="psnr")[1])
        for samples in (plane, keep_blocks(plane, rate, np.where(kept, rate, 16).astype(np.uint8), grid))
    ]
    estimate = float(block_bytes(plane, rate, grid, quality, sizes[0])[kept].sum())
    by_area = sizes[0] * float(grid.areas()[kept].sum() / grid.areas().sum())
    return {"subset": subset, "rate": rate, "real": sizes[1], "estimate": estimate, "by_area": by_area}


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return λ, the best plane qualities, and the factors of trials and block estimates, over all pictures."""
    multipliers = {quality: statistics.median(_slopes(rows, quality)) for quality in QUALITIES}
    best = {
        quality: {
            rate: statistics.fmean(_best_quality(row, rate, multiplier) for row in rows)
            for rate in PLANE_QUALITIES
        }
        for quality, multiplier in multipliers.items()
    }
    return {
        "multipliers": multipliers,
        "plane_qualities": best,
        "trials": list(_trial_factors(rows)),
        "block_bytes": list(_block_factors(rows)),
    }


def _slopes(rows: Sequence[Mapping[str, Any]], quality: int) -> list[float]:
    """−d(error) / d(bits per pixel) of each picture at rate 1."""
    found = []
    for row in rows:
        curve = sorted((p for p in row["points"] if p["rate"] == 1), key=lambda p: p["quality"])
        bits = np.log([8 * p["real_bytes"] / row["pixels"] for p in curve])
        errors = np.log([p["error"] for p in curve])
        index = [p["quality"] for p in curve].index(quality)
        slope = -np.gradient(errors, bits)[index]
        found.append(float(slope * np.exp(errors[index] - bits[index])))
    return found


def _best_quality(row: Mapping[str, Any], rate: int, multiplier: float) -> int:
    """The plane quality of least error + λ · bits."""

    def cost(p: Mapping[str, Any]) -> float:
        return float(p["error"] + multiplier * 8 * p["real_bytes"] / row["pixels"])

    return int(min((p for p in row["points"] if p["rate"] == rate), key=cost)["quality"])


def _trial_factors(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for rate, qualities in PLANE_QUALITIES.items():
        for quality in qualities:
            points = [
                p for row in rows for p in row["points"] if (p["rate"], p["quality"]) == (rate, quality)
            ]
            sizes = [math.log(p["real_bytes"] / p["trial_bytes"]) for p in points]
            errors = [math.log(p["real_coding"] / p["trial_coding"]) for p in points if p["trial_coding"]]
            yield {
                "rate": rate,
                "quality": quality,
                "bytes": math.exp(statistics.fmean(sizes)),
                "bytes_sd": statistics.pstdev(sizes),
                "coding": math.exp(statistics.fmean(errors)),
                "coding_sd": statistics.pstdev(errors),
            }


def _block_factors(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for subset in SUBSETS:
        for name in ("estimate", "by_area"):
            logs = [
                math.log(pair["real"] / pair[name])
                for row in rows
                for pair in row["kept"]
                if pair["subset"] == subset
            ]
            if logs:
                yield {
                    "subset": subset,
                    "by": name,
                    "planes": len(logs),
                    "real_per_estimate": math.exp(statistics.fmean(logs)),
                    "sd": statistics.pstdev(logs),
                }


if __name__ == "__main__":
    typer.run(main)
