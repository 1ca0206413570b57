"""Encoding: a photo and a budget become a container. The Downscaling Module from end to end.

In: a photo and the overall rate. Out: `Container`. Steps: pad, downscale the whole picture to every rate,
measure each block's distortion at every rate, allocate, cut the blocks, code one plane per rate in use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_client.photo import Photo, load_photo
from bbmr_client.photo.metadata import check_metadata
from bbmr_shared.container import FULL_STRENGTH, AlphaPlane, Container, Plane
from bbmr_shared.container.header import check_name
from bbmr_shared.container.planes import keep_blocks, pad
from bbmr_shared.errors import MalformedContainerError, UsageError
from bbmr_shared.grid import BLOCK, RATES, BlockGrid
from bbmr_shared.images.codecs import CODECS, encode_plane
from bbmr_shared.limits import DEFAULT_LIMITS, Limits

from .allocate import allocate
from .distortion import bicubic_distortion
from .downscale import bicubic_planes
from .original import smaller
from .predict import coefficients, predict

LOSSLESS_CODECS = tuple(name for name, codec in CODECS.items() if codec.lossless)
DISTORTIONS = ("network", "bicubic")
DEFAULT_RATE = 4.0
DEFAULT_MODEL = "light"


def encode(
    image: Photo | Image.Image | NDArray[np.uint8] | str | Path | bytes,
    *,
    rate: float = DEFAULT_RATE,
    rates: Sequence[int] = RATES,
    uniform: bool = False,
    codec: str = "webp",
    downscaler: str = "bicubic",
    distortion: str = "network",
    model: str | None = DEFAULT_MODEL,
    effort: int = 4,
    block: int = BLOCK,
    metadata: str = "all",
    alpha_quality: int | None = None,
    keep_smaller: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    step: Callable[[], object] | None = None,
) -> Container:
    """Encode a photo at an overall downscale rate, each block at a rate of its own.

    Args:
        image: a photo, or what `load_photo` takes: a path, the bytes of a file, a PIL image, `uint8 [H, W, 3]`.
        rate: overall rate S in 1 … 16: the blocks keep at most 1/S² of the padded picture's pixels.
        rates: the palette; a subset of 1, 2, 4, 8, 16.
        uniform: every block at `rate`, which must be in the palette.
        codec: of the planes: "webp" (lossless) or "png".
        downscaler: "bicubic".
        distortion: what the rates are chosen by: "network", the error expected after `model`, or "bicubic".
        model: name of the weights that the container asks for.
        effort: 0 (fast) … 9 (small), of the plane codec.
        block: side of a block in pixels.
        metadata: "all": EXIF, XMP, ICC profile and pixels per inch are kept; "icc": only the profile; "none":
            nothing, and the colours are brought to sRGB first.
        alpha_quality: 0 … 100 codes the alpha channel as lossy AVIF; without it, it is lossless.
        keep_smaller: where the file the photo comes from has fewer bytes than the container would have, the
            container carries that file as it is. What it says about that is in `original.notes`.
        step: called before each step that takes long; what it raises ends the encoding.

    Raises:
        UsageError: an option is out of its range, or the palette cannot meet the rate.
        PictureError, LimitExceededError: as `load_photo`.
    """
    palette = _check(rate, rates, uniform, codec, downscaler, effort)
    if distortion not in DISTORTIONS:
        raise UsageError(f"the distortion is {' or '.join(DISTORTIONS)}, not {distortion}")
    if alpha_quality is not None and not 0 <= alpha_quality <= 100:
        raise UsageError(f"the quality of the alpha channel is 0 to 100, not {alpha_quality}")
    check_metadata(metadata)
    if model is not None:
        try:
            check_name(model)
        except MalformedContainerError as error:
            raise UsageError(f"the model: {error}") from None
    pause = step or _go_on
    source = image if isinstance(image, Photo) else load_photo(image, limits)
    pause()
    photo = source.keeping(metadata)
    grid = _grid(photo, block)
    padded = pad(photo.rgb, grid)
    strength = None
    if uniform:
        rate_map = np.full(grid.shape, int(rate), np.uint8)
        planes = bicubic_planes(padded, [int(rate)])
    else:
        planes = bicubic_planes(padded, RATES)
        pause()
        fit = coefficients(model) if model and distortion == "network" else None
        rate_map, strength = choose_rates(padded, planes, palette, rate, grid, fit)
    used = {int(each): planes[int(each)] for each in np.unique(rate_map)}
    del padded, planes  # of a large photo, as many bytes as coding takes
    container = Container(
        width=grid.width,
        height=grid.height,
        block=grid.block,
        rate_map=rate_map,
        planes=_code(used, rate_map, grid, codec, effort, photo.grey, pause),
        alpha=None if photo.alpha is None else _code_alpha(photo.alpha, codec, effort, alpha_quality),
        icc=photo.icc,
        exif=photo.exif,
        xmp=photo.xmp,
        dpi=photo.dpi,
        channels=1 if photo.grey else 3,
        downscaler=downscaler,
        model=model,
        strength_map=None if strength is None or (strength == FULL_STRENGTH).all() else strength,
    )
    return smaller(source, container, metadata) if keep_smaller else container


def choose_rates(
    padded: NDArray[np.uint8],
    planes: dict[int, NDArray[np.uint8]],
    palette: Sequence[int],
    rate: float,
    grid: BlockGrid,
    fit: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """The rate map of least distortion with at most 1/rate² of the samples, and the strength of the network.

    Args:
        padded: `uint8 [H, W, 3]`.
        planes: of every rate, from `bicubic_planes`.
        palette: the rates that blocks may have.
        rate: the overall rate.
        grid: of the picture.
        fit: from `predict.coefficients`; without it the distortion is bicubic's.

    Returns:
        `uint8 [rows, cols]` twice; the strength is None without `fit`.
    """
    areas = grid.areas()
    allowed = [RATES.index(r) for r in palette]
    cost = np.stack([areas / r**2 for r in palette])
    baseline = palette.index(int(rate)) if rate in palette else None
    distortion, strength = bicubic_distortion(padded, planes, RATES, grid), None
    if fit is not None:
        distortion, strength = predict(distortion, areas, fit)
    choice = allocate(cost, distortion[allowed], areas.sum() / rate**2, baseline)
    rate_map = np.asarray(palette, np.uint8)[choice]
    if strength is not None:
        strength = np.take_along_axis(strength[allowed], choice[None], 0)[0]
    return rate_map, strength


def _check(
    rate: float, rates: Sequence[int], uniform: bool, codec: str, downscaler: str, effort: int
) -> tuple[int, ...]:
    palette = tuple(sorted(set(rates)))
    if not palette or not set(palette) <= set(RATES):
        raise UsageError(
            f"the rates are among {', '.join(map(str, RATES))}, not {', '.join(map(str, rates))}"
        )
    if not 1 <= rate <= 16:
        raise UsageError(f"the overall rate is a number from 1 to 16, not {rate:g}")
    if rate > palette[-1]:
        raise UsageError(f"an overall rate of {rate:g} needs a rate of at least {rate:g} in the palette")
    if uniform and rate not in palette:
        raise UsageError(
            f"a uniform rate of {rate:g} must be one of the palette {', '.join(map(str, palette))}"
        )
    if codec not in LOSSLESS_CODECS:
        raise UsageError(
            f"with an overall rate the planes are lossless: codec {' or '.join(LOSSLESS_CODECS)}, not {codec}"
        )
    if downscaler != "bicubic":
        raise UsageError(f"the downscaler '{downscaler}' is not available; use bicubic")
    if not 0 <= effort <= 9:
        raise UsageError(f"the effort is 0 to 9, not {effort}")
    return palette


def _go_on() -> None:
    """What is done between two steps where nothing is asked for."""


def _grid(photo: Photo, block: int) -> BlockGrid:
    height, width = photo.rgb.shape[:2]
    try:
        return BlockGrid(width, height, block)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _code(
    planes: dict[int, NDArray[np.uint8]],
    rate_map: NDArray[np.uint8],
    grid: BlockGrid,
    codec: str,
    effort: int,
    grey: bool,
    pause: Callable[[], object],
) -> tuple[Plane, ...]:
    coded = []
    for rate in sorted(planes, reverse=True):
        pause()
        samples = keep_blocks(planes[rate], rate, rate_map, grid)
        name, data = encode_plane(samples[..., 0] if grey else samples, codec, effort=effort)
        coded.append(Plane(rate, name, data))
    return tuple(coded)


def _code_alpha(alpha: NDArray[np.uint8], codec: str, effort: int, quality: int | None) -> AlphaPlane:
    if quality is None:
        return AlphaPlane(*encode_plane(alpha, codec, effort=effort))
    return AlphaPlane(*encode_plane(alpha, "avif", quality=quality))
