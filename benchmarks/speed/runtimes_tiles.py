"""Tiles of photos as files, which the processes of `benchmarks.speed.runtimes` share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bbmr_models.inference.tile_input import TileInput
from benchmarks.common import cut


def save_tile(path: Path, photo: NDArray[np.uint8], height: int, width: int, rate: float) -> None:
    """Write the middle of a photo, encoded as the network sees it, and the photo itself."""
    from bbmr_client.encoding.encoder import encode
    from bbmr_models.config import JointSRConfig
    from bbmr_models.inference.tile_input import TileSource

    top, left = max(0, photo.shape[0] - height) // 2, max(0, photo.shape[1] - width) // 2
    photo = cut(photo[top:, left:], width, height)
    source = TileSource(encode(photo, rate=rate), (0, 0, width, height), None, JointSRConfig(tile=4096))
    (tile,) = source.tiles
    seen = source.cut(tile)
    np.savez(
        path, photo=photo, **{name: samples for name, samples in vars(seen).items() if samples is not None}
    )


def tile_of(path: Path) -> tuple[TileInput, NDArray[np.uint8]]:
    """Return the tile and its photo."""
    with np.load(path) as arrays:
        return TileInput(**{name: arrays[name] for name in arrays.files if name != "photo"}), arrays["photo"]
