"""Warm-up: a container as small as one block of every rate allows, to run the whole network once."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from bbmr_shared.container import Container, Plane
from bbmr_shared.grid import BLOCK, RATES, BlockGrid


def tiny_container() -> Container:
    """A grey picture of one block of each rate, in a row."""
    grid = BlockGrid(BLOCK * len(RATES), BLOCK)
    rate_map = np.array([RATES], np.uint8)
    planes = tuple(
        Plane(rate, "png", _grey(*grid.plane_size(rate)), 0) for rate in sorted(RATES, reverse=True)
    )
    return Container(width=grid.width, height=grid.height, rate_map=rate_map, planes=planes)


def _grey(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (128, 128, 128)).save(file, "PNG")
    return file.getvalue()
