"""The container (.bbmr), version 1: what is needed to reconstruct one picture. docs/container.md specifies it.

    signature (8 bytes) · header (one msgpack map) · planes, coarse to fine, then alpha (msgpack bins) ·
    BLAKE2b-128

Reading checks everything and decodes nothing; `decode_planes` decodes. `frame` checks the signature, the length, the
digests and the headers of the planes; `header` checks the header map.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.arguments import check_type
from bbmr_shared.errors import MalformedContainerError
from bbmr_shared.grid import BLOCK, RATES, BlockGrid
from bbmr_shared.images import codecs
from bbmr_shared.limits import DEFAULT_LIMITS, Limits

from . import block_maps
from .frame import Bytes, read_frame, write_frame
from .header import ALPHA_FIELDS, KNOWN_FIELDS, PLANE_FIELDS, Header, check_extra, check_name
from .header_writer import header_map
from .planes import AlphaPlane, Plane, pad
from .rules import check_together, check_types
from .signature import MEDIA_TYPE

__all__ = ["FULL_STRENGTH", "MEDIA_TYPE", "AlphaPlane", "Container", "Plane"]

FULL_STRENGTH = 2


@dataclass(frozen=True, eq=False)
class Container:
    """One picture as blocks of different rates. Two containers are equal if their bytes are.

    Attributes:
        width, height: in pixels.
        rate_map: `uint8 [rows, cols]`, the rate of every block.
        planes: exactly the rates in use, coarse to fine.
        block: side of a block in pixels.
        alpha: the alpha channel, if the picture has one.
        icc, exif, xmp: the photo's metadata.
        downscaler, downscaler_version: what made the planes.
        model: name of the weights that the container was made for.
        strength: how much of the network's correction is added, in halves (0, 1, 2).
        strength_map: `uint8 [rows, cols]`, the same for every block.
        channels: 1 for a grey picture.
        dpi: pixels per inch across and down.
        original: the only plane, of rate 1, is the source file itself, byte for byte and not padded; there is no alpha
            channel, and a network corrects nothing.
        extra: unknown optional fields of the header.

    Raises:
        MalformedContainerError: a part has the wrong type, or the parts do not fit together.
    """

    width: int
    height: int
    rate_map: NDArray[np.uint8] = field(repr=False)
    planes: tuple[Plane, ...] = field(repr=False)
    block: int = BLOCK
    alpha: AlphaPlane | None = field(default=None, repr=False)
    icc: bytes | None = field(default=None, repr=False)
    exif: bytes | None = field(default=None, repr=False)
    xmp: bytes | None = field(default=None, repr=False)
    downscaler: str = "bicubic"
    downscaler_version: int = 1
    model: str | None = "light"
    strength: int = FULL_STRENGTH
    strength_map: NDArray[np.uint8] | None = field(default=None, repr=False)
    channels: int = 3
    dpi: tuple[float, float] | None = None
    original: bool = False
    extra: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)
        try:
            grid = BlockGrid(self.width, self.height, self.block)
            object.__setattr__(self, "rate_map", _frozen_map(self.rate_map, grid, "rate map"))
            block_maps.rates_to_symbols(self.rate_map)
        except ValueError as error:
            raise MalformedContainerError(str(error)) from None
        object.__setattr__(self, "planes", tuple(self.planes))
        if self.strength_map is not None:
            object.__setattr__(self, "strength_map", _frozen_map(self.strength_map, grid, "strength map"))
        self._check_planes()
        self._check_numbers()
        self._check_names_and_extra()
        check_together(self)

    def _check_planes(self) -> None:
        rates = [plane.rate for plane in self.planes]
        in_use = np.unique(self.rate_map)[::-1].tolist()
        if rates != in_use:
            raise MalformedContainerError(
                f"the planes have the rates {rates}, the rate map uses {in_use} (coarse to fine)"
            )

    def _check_numbers(self) -> None:
        if not all(0 <= plane.error <= 255 for plane in self.planes):
            raise MalformedContainerError("a coding error is one byte")
        if not 0 <= self.strength <= FULL_STRENGTH:
            raise MalformedContainerError(f"the strength is 0, 1 or 2 halves, not {self.strength}")
        if self.strength_map is not None and int(self.strength_map.max()) > FULL_STRENGTH:
            raise MalformedContainerError("a strength map holds 0, 1 and 2 halves")
        if not 0 <= self.downscaler_version < 1 << 32:
            raise MalformedContainerError(
                f"the downscaler's version has 32 bits, unlike {self.downscaler_version}"
            )

    def _check_names_and_extra(self) -> None:
        alpha_codec = None if self.alpha is None else self.alpha.codec
        for name in (self.downscaler, self.model, alpha_codec, *(plane.codec for plane in self.planes)):
            if name is not None:
                check_name(name)
        check_extra(self.extra, KNOWN_FIELDS, "the header")
        for plane in self.planes:
            check_extra(plane.extra, PLANE_FIELDS, "a plane", 3)
        if self.alpha is not None:
            check_extra(self.alpha.extra, ALPHA_FIELDS, "the alpha channel", 2)

    @cached_property
    def grid(self) -> BlockGrid:
        """Returns the block grid of the picture."""
        return BlockGrid(self.width, self.height, self.block)

    @property
    def samples(self) -> int:
        """Returns how many low-resolution samples are kept: Σ over blocks of padded area / rate²."""
        return self.grid.samples(self.rate_map)

    @property
    def coding_errors(self) -> dict[int, int]:
        """Returns the coding error byte of every rate in use."""
        return {plane.rate: plane.error for plane in self.planes}

    @property
    def strengths(self) -> NDArray[np.uint8]:
        """Returns the network strength of every block in halves, `uint8 [rows, cols]`."""
        if self.strength_map is not None:
            return self.strength_map
        return np.full(self.grid.shape, self.strength, dtype=np.uint8)

    @property
    def uses_network(self) -> bool:
        """Returns whether a network corrects any block; otherwise reconstruction is the composite, bit for bit."""
        return bool(self.strengths.any())

    @classmethod
    def from_bytes(cls, data: Bytes, limits: Limits = DEFAULT_LIMITS, verify: bool = True) -> Container:
        """Returns the container in `data`; no picture in it is decoded. `verify=False` does not check the digests.

        Raises:
            ContainerError: `data` is no readable container; `errors` lists the kinds.
            LimitExceededError: a size is over `limits`.
            InvalidArgumentError: `data` are no bytes.
        """
        check_type("limits", limits, Limits)
        header, pictures = read_frame(data, limits, verify)
        return _assemble(cls, header, pictures)

    def to_bytes(self) -> bytes:
        """Returns the file; the same parts always give the same bytes."""
        pictures = [plane.data for plane in self.planes]
        if self.alpha is not None:
            pictures.append(self.alpha.data)
        return write_frame(header_map(self), pictures)

    def source_file(self, format: str) -> bytes | None:
        """Returns the original file if there is one in that format ("jpeg", "png", "webp", "avif"), otherwise None."""
        only = self.planes[0]
        return only.data if self.original and only.codec == format else None

    def decode_planes(self, rates: Collection[int] = RATES) -> dict[int, NDArray[np.uint8]]:
        """Returns the decoded planes of `rates`: rate → `uint8 [padded_height/rate, padded_width/rate, 3]`.

        Raises:
            PlaneError: a plane does not decode to what its entry declares.
        """
        grid = self.grid
        if self.original:
            only = self.planes[0]
            return {1: pad(codecs.decode(only.data, only.codec, (self.width, self.height)), grid)}
        return {
            plane.rate: codecs.decode(plane.data, plane.codec, grid.plane_size(plane.rate))
            for plane in self.planes
            if plane.rate in rates
        }

    def decode_alpha(self) -> NDArray[np.uint8] | None:
        """Returns the decoded alpha channel, `uint8 [height, width]`, or None if there is none.

        Raises:
            PlaneError: it does not decode to what its entry declares.
        """
        if self.alpha is None:
            return None
        return codecs.decode_grey(self.alpha.data, self.alpha.codec, (self.width, self.height))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Container) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())


def _assemble(cls: type[Container], header: Header, pictures: list[bytes]) -> Container:
    grid = BlockGrid(header.width, header.height, header.block)
    planes = tuple(
        Plane(entry.rate, entry.codec, data, entry.error, entry.extra)
        for entry, data in zip(header.planes, pictures, strict=False)
    )
    alpha = None
    if header.alpha is not None:
        alpha = AlphaPlane(header.alpha.codec, pictures[-1], header.alpha.extra)
    strength_map = None
    if header.strength_map is not None:
        strength_map = block_maps.decode_map(header.strength_map.model_dump(), grid.shape)
    return cls(
        width=header.width,
        height=header.height,
        rate_map=block_maps.symbols_to_rates(block_maps.decode_map(header.map.model_dump(), grid.shape)),
        planes=planes,
        block=header.block,
        alpha=alpha,
        icc=header.icc,
        exif=header.exif,
        xmp=header.xmp,
        downscaler=header.downscaler,
        downscaler_version=header.downscaler_version,
        model=header.model,
        strength=header.strength,
        strength_map=strength_map,
        channels=header.channels or 3,
        dpi=None if header.dpi is None else (header.dpi[0], header.dpi[1]),
        original=header.original is not None,
        extra=header.extra,
    )


def _frozen_map(values: NDArray[np.uint8], grid: BlockGrid, what: str) -> NDArray[np.uint8]:
    if not isinstance(values, np.ndarray):
        raise MalformedContainerError(f"a {what} is an array, not {type(values).__name__}")
    if values.shape != grid.shape or values.dtype != np.uint8:
        raise MalformedContainerError(f"a {what} is uint8 {grid.shape}, not {values.dtype} {values.shape}")
    copy = values.copy()
    copy.setflags(write=False)
    return copy
