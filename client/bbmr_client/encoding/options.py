"""The options of `encode`: their defaults, and the checks of their types, ranges and combinations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bbmr_client.photo.metadata import check_metadata
from bbmr_shared.arguments import is_number, is_whole
from bbmr_shared.container.header import check_name
from bbmr_shared.errors import MalformedContainerError, UsageError
from bbmr_shared.grid import BLOCK, RATES, BlockGrid
from bbmr_shared.images.names import DEFAULT_CODEC, DEFAULT_LOSSY_CODEC, LOSSLESS_CODECS, LOSSY_CODECS

from .budget import DEFAULT_QUALITY, Budget, check_one_budget, given_budgets

DISTORTIONS = ("network", "bicubic")
DEFAULT_MODEL = "light"


@dataclass(frozen=True)
class EncodeOptions:
    """The options of `bbmr_client.encode`, which describes them.

    Raises:
        UsageError: an option has a wrong type or is out of its range, or two exclude each other.
    """

    rate: float | None = None
    quality: int | None = None
    bpp: float | None = None
    max_bytes: int | None = None
    target_psnr: float | None = None
    rates: Sequence[int] = RATES
    uniform: bool = False
    lossless: bool = False
    codec: str | None = None
    distortion: str = "network"
    model: str | None = DEFAULT_MODEL
    network: bool = True
    effort: int = 4
    block: int = BLOCK
    metadata: str = "all"
    alpha_quality: int | None = None

    def __post_init__(self) -> None:
        self._check_budget()
        if self.lossless:
            self._check_lossless()
        self._check_rates()
        self._check_coding()
        _check_choice("distortion", self.distortion, DISTORTIONS)
        check_metadata(self.metadata)
        _check_model(self.model)
        _check_block(self.block)

    @property
    def budget(self) -> Budget:
        """The one target that was passed, or the default quality."""
        if self.lossless:
            return Budget("lossless", 1)
        named = given_budgets(vars(self))
        return Budget(named[0], getattr(self, named[0])) if named else Budget("quality", DEFAULT_QUALITY)

    @property
    def by_network(self) -> bool:
        """Whether lossy planes are chosen by the error expected after the network."""
        return self.network and self.distortion == "network"

    @property
    def overall_rate(self) -> float:
        """The overall rate of lossless planes."""
        return 1.0 if self.rate is None else float(self.rate)

    @property
    def plane_codec(self) -> str:
        """The codec of the planes, with the default where none was passed."""
        if self.codec is not None:
            return self.codec
        return DEFAULT_LOSSY_CODEC if self.budget.lossy else DEFAULT_CODEC

    @property
    def alpha_codec(self) -> str:
        """The codec of a lossless alpha channel."""
        return self.plane_codec if self.plane_codec in LOSSLESS_CODECS else DEFAULT_CODEC

    @property
    def palette(self) -> tuple[int, ...]:
        """The allowed rates, ascending."""
        return tuple(sorted({int(rate) for rate in self.rates}))

    @property
    def uniform_rate(self) -> int | None:
        """The rate that every block has; None if the blocks have rates of their own."""
        return int(self.overall_rate) if self.uniform or self.lossless else None

    def _check_budget(self) -> None:
        check_one_budget(vars(self))
        given = given_budgets(vars(self))
        if self.lossless and given:
            raise UsageError(f"lossless and {given[0]} exclude each other: leave out {given[0]}")
        _ = self.budget

    def _check_lossless(self) -> None:
        if self.alpha_quality is not None:
            raise UsageError("lossless and alpha_quality exclude each other: leave out alpha_quality")
        if not isinstance(self.rates, Collection) or 1 not in self.rates:
            raise UsageError("lossless needs the rate 1: leave out rates")

    def _check_rates(self) -> None:
        allowed = ", ".join(map(str, RATES))
        is_list = isinstance(self.rates, Collection) and not isinstance(self.rates, str)
        if not is_list or not len(self.rates) or any(rate not in RATES for rate in self.rates):
            shown = ", ".join(map(str, self.rates)) if is_list else repr(self.rates)
            raise UsageError(f"the rates are among {allowed}, not {shown}")
        if not (self.rate is None or is_number(self.rate)) or not 1 <= self.overall_rate <= 16:
            shown = f"{self.rate:g}" if is_number(self.rate) else repr(self.rate)
            raise UsageError(f"the overall rate is a number from 1 to 16, not {shown}")
        rate, palette = self.overall_rate, self.palette
        if rate > palette[-1]:
            raise UsageError(f"an overall rate of {rate:g} needs a rate of at least {rate:g} in the palette")
        if self.uniform and self.rate is None and not self.lossless:
            raise UsageError("uniform needs an overall rate: add rate")
        if (self.uniform or self.lossless) and rate not in palette:
            raise UsageError(
                f"a uniform rate of {rate:g} must be one of the palette {', '.join(map(str, palette))}"
            )

    def _check_coding(self) -> None:
        if self.codec is not None and self.codec not in LOSSLESS_CODECS + LOSSY_CODECS:
            raise UsageError(
                f"the codec is one of {', '.join(LOSSLESS_CODECS + LOSSY_CODECS)}, not {self.codec}"
            )
        if self.budget.lossy and self.plane_codec in LOSSLESS_CODECS:
            raise UsageError(f"{self.codec} planes are lossless: add rate or lossless, or leave out codec")
        if not self.budget.lossy and self.plane_codec in LOSSY_CODECS:
            raise UsageError(
                f"with an overall rate the planes are lossless: codec {' or '.join(LOSSLESS_CODECS)}, not {self.codec}"
            )
        _check_whole("effort", self.effort, 9)
        if self.alpha_quality is not None:
            _check_whole("quality of the alpha channel", self.alpha_quality, 100)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UsageError(f"the {name} is {' or '.join(choices)}, not {value}")


def _check_whole(name: str, value: int, highest: int) -> None:
    if not is_whole(value) or not 0 <= value <= highest:
        raise UsageError(f"the {name} is a whole number from 0 to {highest}, not {value!r}")


def _check_model(model: str | None) -> None:
    if model is None:
        return
    if not isinstance(model, str):
        raise UsageError(f"the model is a name or None, not {model!r}")
    try:
        check_name(model)
    except MalformedContainerError as error:
        raise UsageError(f"the model: {error}") from None


def _check_block(block: int) -> None:
    if not is_whole(block):
        raise UsageError(f"the block side is a whole number of pixels, not {block!r}")
    try:
        BlockGrid(1, 1, int(block))
    except ValueError as error:
        raise UsageError(str(error)) from None
