"""What the encoder promises, measured on a photo: time, memory, order of qualities, budgets, cost of a plain plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bbmr_client
from bbmr_shared.container import Container
from bbmr_shared.container.planes import pad
from bbmr_shared.grid import BlockGrid
from bbmr_shared.images.codecs import encode_plane
from benchmarks.common import read_rgb

from .bbmr_codecs import DEFAULT_MODEL, bbmr_codecs
from .costs import memory_costs, time_costs
from .metrics import PSNRS
from .points import Point, PointFile, at_qualities

Picture = NDArray[np.uint8]
QUALITIES = tuple(range(0, 101, 10))
PLAIN_QUALITIES = (10, 40, 70)
PLAIN_SPEEDS = (6, 7, 5, 8)
BUDGETS = 5
OVERHEAD_LIMIT = 200


def promises_of(path: Path, points: PointFile) -> dict[str, Any]:
    """Return all checks of one photo."""
    photo = read_rgb(path)
    network, shown = _default_codecs()
    by_network = at_qualities(photo, network, points, QUALITIES, PSNRS)
    by_composite = at_qualities(photo, shown, points, QUALITIES, PSNRS)
    sizes = [point.bytes for point in by_network]
    return {
        # A codec of its own: `network` answers from memory what it has encoded.
        "time": time_costs(path.stem, photo, _default_codecs()[0], QUALITIES),
        "memory": memory_costs(path),
        "order": order(by_network),
        "order_composite": order(by_composite),
        "budgets": budgets(photo, _within, sizes[1], sizes[-2]),
        "plain": [plain_plane(photo, _plain(photo, quality)) for quality in PLAIN_QUALITIES],
    }


def order(points: Sequence[Point], metric: str = "psnr-611") -> dict[str, Any]:
    """Return the pairs of neighbouring qualities at which bytes or the metric fall; `points` ascend in quality."""
    pairs = list(pairwise(points))
    return {
        "qualities": len(points),
        "fewer_bytes": [_qualities(pair) for pair in pairs if pair[1].bytes < pair[0].bytes],
        "lower_psnr": [
            _qualities(pair) for pair in pairs if pair[1].metrics[metric] < pair[0].metrics[metric]
        ],
    }


def budgets(
    photo: Picture, encode: Callable[[Picture, int], Container], smallest: int, largest: int
) -> list[dict[str, Any]]:
    """Return what `encode(photo, max_bytes)` makes of budgets between two sizes, in equal steps of the logarithm."""
    rows = []
    for budget in np.geomspace(smallest, largest, BUDGETS).astype(int).tolist():
        size = len(encode(photo, budget).to_bytes())
        rows.append({"budget": budget, "bytes": size, "kept": size <= budget})
    return rows


def plain_plane(photo: Picture, container: Container) -> dict[str, Any]:
    """Return the bytes of a container with every block at rate 1, and how many more they are than an AVIF file.

    The AVIF file is of the photo alone, without padding, with the options of the plane: those with which the padded
    photo gives the same plane again. `extra` is None if none do.

    Args:
        container: as encoded just now, so that the plane's quality is known.
    """
    [plane] = container.planes
    padded = pad(photo, BlockGrid(container.width, container.height, container.block))
    size, extra = len(container.to_bytes()), None
    for chroma, speed in product(("4:2:0", "4:4:4"), PLAIN_SPEEDS):
        options: dict[str, Any] = {
            "quality": plane.quality,
            "subsampling": chroma,
            "speed": speed,
            "tune": "psnr",
        }
        if encode_plane(padded, plane.codec, **options)[1] == plane.data:
            extra = size - len(encode_plane(photo, "avif", **options)[1])
            break
    return {
        "bytes": size,
        "header": size - len(plane.data),
        "extra": extra,
        "kept": extra is not None and extra <= OVERHEAD_LIMIT,
    }


def _default_codecs() -> tuple[Any, Any]:
    by_name = {codec.name: codec for codec in bbmr_codecs([DEFAULT_MODEL], 0, float("inf"))}
    return by_name[f"bbmr-{DEFAULT_MODEL}"], by_name[f"bbmr-{DEFAULT_MODEL}-composite"]


def _plain(photo: Picture, quality: int) -> Container:
    return bbmr_client.encode(photo, quality=quality, rates=(1,))


def _within(photo: Picture, budget: int) -> Container:
    return bbmr_client.encode(photo, max_bytes=budget)


def _qualities(pair: tuple[Point, Point]) -> list[float]:
    return [point.key.quality for point in pair]
