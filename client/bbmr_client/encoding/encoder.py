"""Encodes a photo into a container: the Downscaling Module from end to end.

Pads the picture, downscales all of it to every rate, chooses a rate for each block, and codes one plane for each rate
in use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_client.local import has_network, reconstruct_local
from bbmr_client.photo import Photo, load_photo
from bbmr_shared.compositing.composite import composite
from bbmr_shared.container import FULL_STRENGTH, AlphaPlane, Container, Plane
from bbmr_shared.container.planes import keep_blocks, pad
from bbmr_shared.errors import UnknownModelError, UsageError
from bbmr_shared.grid import BLOCK, RATES, BlockGrid
from bbmr_shared.images.codecs import encode_plane
from bbmr_shared.limits import DEFAULT_LIMITS, Limits
from bbmr_shared.metrics import psnr_rgb

from .budget_search import FixedParts, code_to_psnr, code_within
from .downscale import DOWNSCALER, bicubic_planes
from .lossy import CodedPicture, LossyPicture
from .operating_points import speed
from .options import DEFAULT_MODEL, EncodeOptions
from .original import original_if_smaller
from .predict import coefficients_of
from .rate_map import choose_rates

NETWORK_EFFORT = 7
"""From this effort on the network itself is run, where it is installed."""


def encode(
    image: Photo | Image.Image | NDArray[np.uint8] | str | Path | bytes,
    *,
    quality: int | None = None,
    bpp: float | None = None,
    max_bytes: int | None = None,
    target_psnr: float | None = None,
    rate: float | None = None,
    rates: Sequence[int] = RATES,
    uniform: bool = False,
    lossless: bool = False,
    codec: str | None = None,
    distortion: str = "network",
    model: str | None = DEFAULT_MODEL,
    network: bool = True,
    effort: int = 4,
    block: int = BLOCK,
    metadata: str = "all",
    alpha_quality: int | None = None,
    keep_smaller: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    step: Callable[[], object] | None = None,
) -> Container:
    """Encode a photo: small at a quality, within a budget of bytes, or at an overall downscale rate.

    At most one of `quality`, `bpp`, `max_bytes`, `target_psnr`, `rate` and `lossless`; without any, the quality is 65.

    Args:
        image: a photo, or what `load_photo` takes: a path, the bytes of a file, a PIL image, `uint8 [H, W, 3]`.
        quality: 0 … 100: AVIF's scale; more bytes and a better picture with each step.
        bpp, max_bytes: the file has at most so many bits per pixel, or bytes; the best picture within that.
        target_psnr: dB over RGB that the picture reaches with few bytes: the one without the network, or the one with
            it at efforts that run it.
        rate: overall rate S in 1 … 16: each block has a rate of its own, and all keep at most 1/S² of the padded
            picture's pixels, without loss.
        rates: the palette; a subset of 1, 2, 4, 8, 16.
        uniform: every block at `rate`, which must be in the palette.
        lossless: every block at rate 1, so that every pixel is kept. Excludes `alpha_quality`.
        codec: of the planes: `names.LOSSLESS_CODECS` with `rate` or `lossless`, otherwise `LOSSY_CODECS`.
        distortion: what the rates are chosen by: "network", the error expected after `model`, or "bicubic".
        model: name of the weights that the container asks for.
        network: if not, readers show the picture as it is without a network, and the rates are chosen for that.
        effort: 0 (fast) … 9 (small), of the plane codec.
        block: side of a block in pixels.
        metadata: "all": EXIF, XMP, ICC profile and pixels per inch are kept; "icc": only the profile; "none": nothing,
            and the colours are converted to sRGB first.
        alpha_quality: 0 … 100 codes the alpha channel as lossy AVIF; None keeps it lossless.
        keep_smaller: if the file that the photo comes from has fewer bytes than the container would have, the container
            carries that file as it is.
        limits: how large the photo may be.
        step: called before each step that takes long; an exception that it raises ends the encoding.

    Raises:
        UsageError: an option has a wrong type or is out of its range, or the palette cannot meet the rate.
        PictureError, LimitExceededError: as `load_photo`.
    """
    options = EncodeOptions(
        rate,
        quality,
        bpp,
        max_bytes,
        target_psnr,
        rates,
        uniform,
        lossless,
        codec,
        distortion,
        model,
        network,
        effort,
        block,
        metadata,
        alpha_quality,
    )
    _check_input(limits, step)
    before_step = step or _do_nothing
    source = load_photo(image, limits)
    before_step()
    return encode_photo(source, options, keep_smaller, before_step).container


def _do_nothing() -> None:
    """The default of `step`."""


@dataclass(frozen=True)
class Encoded:
    """A container, and what is not in it.

    Attributes:
        quality: that was used; None with lossless planes, and with the photo's own file.
        psnr: dB over RGB, if that was the target; None otherwise.
        psnr_of: what has this PSNR: "composite", the picture without the network, or "output", that with it.
    """

    container: Container
    quality: int | None = None
    psnr: float | None = None
    psnr_of: str | None = None


@dataclass(frozen=True)
class _Downscaled:
    """A photo's planes at the rates in use, its rate map `uint8 [rows, cols]`, and its strength map of that form."""

    grid: BlockGrid
    rate_map: NDArray[np.uint8]
    strength_map: NDArray[np.uint8] | None
    planes: Mapping[int, NDArray[np.uint8]]


def encode_photo(
    photo: Photo,
    options: EncodeOptions,
    keep_smaller: bool = False,
    before_step: Callable[[], object] = _do_nothing,
) -> Encoded:
    """As `encode`, and return what is known beside the container."""
    encoded = _encode(photo.keeping(options.metadata), options, before_step)
    if not keep_smaller:
        return encoded
    container = original_if_smaller(photo, encoded.container, options.metadata)
    return Encoded(container) if container.original else encoded


def _encode(photo: Photo, options: EncodeOptions, before_step: Callable[[], object]) -> Encoded:
    if options.budget.lossy:
        if options.by_network and options.effort >= NETWORK_EFFORT and has_network():
            try:
                return _encode_lossy(photo, options, before_step, runs_network=True)
            except UnknownModelError:  # the weights are on a server
                pass
        return _encode_lossy(photo, options, before_step, runs_network=False)
    picture = _downscale(photo, options, before_step)
    planes = _code_planes(picture, options, photo.grey, before_step)
    strength = FULL_STRENGTH if options.network else 0
    alpha = _code_alpha(photo, options)
    return Encoded(
        _container(
            photo, options, picture.grid, alpha, picture.rate_map, planes, strength, picture.strength_map
        )
    )


def _encode_lossy(
    photo: Photo, options: EncodeOptions, before_step: Callable[[], object], runs_network: bool
) -> Encoded:
    grid = BlockGrid(photo.width, photo.height, int(options.block))
    by_network = options.by_network
    alpha = _code_alpha(photo, options)

    def container(coded: CodedPicture) -> Container:
        strength = coded.strength if by_network else FULL_STRENGTH if options.network else 0
        return _container(
            photo, options, grid, alpha, coded.rate_map, coded.planes, strength, coded.strength_map
        )

    def restore(coded: CodedPicture) -> NDArray[np.uint8]:
        return np.asarray(reconstruct_local(replace(container(coded), alpha=None)).convert("RGB"))

    def psnr(coded: CodedPicture) -> float:
        picture = restore(coded) if runs_network else composite(coded.decoded, coded.rate_map, grid)
        return psnr_rgb(picture[: photo.height, : photo.width], photo.rgb)

    picture = LossyPicture(
        photo.rgb,
        photo.grey,
        grid,
        options.palette,
        options.model if by_network else None,
        options.plane_codec,
        options.effort,
        before_step,
        restore if runs_network else None,
    )
    budget = options.budget
    most = budget.bytes_for(photo.width, photo.height)
    if most is not None:
        fixed = FixedParts(_metadata_bytes(photo), 0 if alpha is None else len(alpha.data))
        coded, quality = code_within(picture, most, lambda coded: len(container(coded).to_bytes()), fixed)
        return Encoded(container(coded), quality)
    if budget.kind == "target_psnr":
        coded, quality, found = code_to_psnr(picture, budget.value, psnr)
        return Encoded(container(coded), quality, found, "output" if runs_network else "composite")
    quality = int(budget.value)
    return Encoded(container(picture.code(quality)), quality)


def _metadata_bytes(photo: Photo) -> int:
    return sum(len(part) for part in (photo.icc, photo.exif, photo.xmp) if part)


def _container(
    photo: Photo,
    options: EncodeOptions,
    grid: BlockGrid,
    alpha: AlphaPlane | None,
    rate_map: NDArray[np.uint8],
    planes: tuple[Plane, ...],
    strength: int,
    strength_map: NDArray[np.uint8] | None = None,
) -> Container:
    return Container(
        width=photo.width,
        height=photo.height,
        block=grid.block,
        rate_map=rate_map,
        planes=planes,
        alpha=alpha,
        icc=photo.icc,
        exif=photo.exif,
        xmp=photo.xmp,
        dpi=photo.dpi,
        channels=1 if photo.grey else 3,
        downscaler=DOWNSCALER,
        model=options.model,
        strength=strength,
        strength_map=strength_map if strength else None,
    )


def _downscale(photo: Photo, options: EncodeOptions, before_step: Callable[[], object]) -> _Downscaled:
    grid = BlockGrid(photo.width, photo.height, int(options.block))
    padded = pad(photo.rgb, grid)
    strength = None
    if options.uniform_rate is not None:
        rate_map = np.full(grid.shape, options.uniform_rate, np.uint8)
        planes = bicubic_planes(padded, [options.uniform_rate])
    else:
        planes = bicubic_planes(padded, RATES)
        before_step()
        by_network = options.model if options.distortion == "network" else None
        coefficients = coefficients_of(by_network) if by_network else None
        rate_map, strength = choose_rates(
            padded, planes, options.palette, options.overall_rate, grid, coefficients
        )
    if strength is not None and (strength == FULL_STRENGTH).all():
        strength = None
    # Only the planes in use are kept: of a large photo, the others take as many bytes as coding does.
    used = {int(rate): planes[int(rate)] for rate in np.unique(rate_map)}
    return _Downscaled(grid, rate_map, strength, used)


def _code_planes(
    picture: _Downscaled, options: EncodeOptions, grey: bool, before_step: Callable[[], object]
) -> tuple[Plane, ...]:
    coded = []
    for rate in sorted(picture.planes, reverse=True):
        before_step()
        samples = keep_blocks(picture.planes[rate], rate, picture.rate_map, picture.grid)
        name, data = encode_plane(
            samples[..., 0] if grey else samples, options.plane_codec, effort=options.effort
        )
        coded.append(Plane(rate, name, data))
    return tuple(coded)


def _code_alpha(photo: Photo, options: EncodeOptions) -> AlphaPlane | None:
    if photo.alpha is None:
        return None
    if options.alpha_quality is None:
        return AlphaPlane(*encode_plane(photo.alpha, options.alpha_codec, effort=options.effort))
    if not options.budget.lossy:
        return AlphaPlane(*encode_plane(photo.alpha, "avif", quality=options.alpha_quality))
    slow = speed(1, options.effort)
    coded = encode_plane(
        photo.alpha, options.plane_codec, quality=options.alpha_quality, speed=slow, tune="psnr"
    )
    return AlphaPlane(*coded)


def _check_input(limits: object, step: object) -> None:
    if not isinstance(limits, Limits):
        raise UsageError(f"limits is a bbmr_client.Limits, not {limits!r}")
    if step is not None and not callable(step):
        raise UsageError(f"step is a function or None, not {step!r}")
