"""What the tests of the container share: small pictures, their planes, and files put together field by field.

Nothing here uses the client, so that the format is tested apart from the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from bbmr_shared.container import AlphaPlane, Container, Plane
from bbmr_shared.container.frame import SIGNATURE, digest, write_frame
from bbmr_shared.container.strict_msgpack import bin_header, unpack_map
from bbmr_shared.grid import RATES, BlockGrid
from bbmr_shared.images.codecs import coding_error_byte, encode_plane
from bbmr_shared.images.names import LOSSY_CODECS
from bbmr_shared.limits import DEFAULT_LIMITS

GREY = 128
Picture = NDArray[np.uint8]
Fields = dict[str, Any]


def picture(width: int, height: int, seed: int = 1) -> Picture:
    """A smooth colour gradient with edges and some noise, `uint8 [height, width, 3]`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(x / 17 + c) + np.cos(y / 11 - c) + 0.8 * np.sign(np.sin((x + 2 * y) / 29)) for c in range(3)
    ]
    noise = rng.normal(0, 4, (height, width, 3))
    return np.clip(128 + 36 * np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8)


def rate_map(grid: BlockGrid, rates: Sequence[int] = RATES, seed: int = 2) -> NDArray[np.uint8]:
    """A random rate map that uses every one of `rates` where there are blocks enough."""
    rng = np.random.default_rng(seed)
    flat = rng.choice(np.array(rates, np.uint8), grid.rows * grid.cols)
    flat[: len(rates)] = rates[: flat.size]
    return rng.permutation(flat).reshape(grid.shape)


def plane_samples(full: Picture, rates: NDArray[np.uint8], grid: BlockGrid) -> dict[int, Picture]:
    """The planes of a picture by box means, grey outside their own blocks: rate → `uint8 [H/r, W/r, 3]`."""
    bottom, right = grid.padded_height - grid.height, grid.padded_width - grid.width
    padded = np.pad(full, ((0, bottom), (0, right), (0, 0)), mode="edge")
    planes = {}
    for rate in sorted({int(rate) for rate in rates.flat}, reverse=True):
        width, height = grid.plane_size(rate)
        means = padded.reshape(height, rate, width, rate, 3).mean(axis=(1, 3))
        own = grid.expand(rates == rate, rate)
        planes[rate] = np.where(own[:, :, None], np.rint(means), GREY).astype(np.uint8)
    return planes


def container(
    width: int = 150,
    height: int = 100,
    *,
    block: int = 32,
    rates: Sequence[int] = RATES,
    codec: str | Mapping[int, str] = "webp",
    quality: int = 60,
    alpha: bool = False,
    seed: int = 1,
    **fields: Any,
) -> Container:
    """A container of a synthetic picture with a random rate map; `fields` go to `Container`."""
    grid = BlockGrid(width, height, block)
    rates_of_blocks = rate_map(grid, rates, seed)
    planes = []
    for rate, samples in plane_samples(picture(width, height, seed), rates_of_blocks, grid).items():
        name = codec if isinstance(codec, str) else codec[rate]
        used, data = encode_plane(samples, name, quality=quality if name in LOSSY_CODECS else None)
        planes.append(Plane(rate, used, data, coding_error_byte(20.0 if used in LOSSY_CODECS else 0.0)))
    if alpha:
        fields["alpha"] = AlphaPlane(*encode_plane(picture(width, height, seed + 1)[..., 0]))
    return Container(width, height, rates_of_blocks, tuple(planes), block=block, **fields)


def fields_of(data: bytes) -> tuple[Fields, list[bytes]]:
    """A good file taken apart: its header as a map that may be changed, and the coded pictures."""
    view = memoryview(data)[len(SIGNATURE) :]
    fields, at = unpack_map(view, DEFAULT_LIMITS)
    pictures = []
    entries: list[Fields] = [*fields["planes"], *([fields["alpha"]] if fields.get("alpha") else [])]  # type: ignore[misc, list-item]
    for entry in entries:
        at += len(bin_header(entry["bytes"]))
        pictures.append(bytes(view[at : at + entry["bytes"]]))
        at += entry["bytes"]
    return dict(fields), pictures


def put_together(fields: Mapping[str, Any], pictures: Sequence[bytes]) -> bytes:
    """A file with right digests around any header and pictures."""
    return write_frame(fields, pictures)


def with_picture(fields: Fields, pictures: list[bytes], index: int, data: bytes) -> bytes:
    """A file whose picture `index`, planes first, then alpha, is `data`; its entry's length and digest fit."""
    changed = {**fields, "planes": [dict(entry) for entry in fields["planes"]]}
    if fields.get("alpha"):
        changed["alpha"] = dict(fields["alpha"])
    entries = [*changed["planes"], changed.get("alpha")]
    entries[index] |= {"bytes": len(data), "digest": digest(data)}
    return write_frame(changed, [*pictures[:index], data, *pictures[index + 1 :]])


def sealed(body: bytes) -> bytes:
    """Any bytes after the signature, with the trailing digest that fits."""
    whole = SIGNATURE + body
    return whole + digest(whole)


def packed(value: object) -> bytes:
    """Shortest msgpack of a value."""
    result: bytes = msgpack.packb(value)
    return result
