"""Lossy encoding: one photo, coded at any quality by the rates, chroma formats and speeds that are best for it.

The choice minimises error + λ · bits (Lagrangian). The error is that in YCbCr, weighted 6:1:1, which the network is
expected to leave; λ belongs to the quality (`operating_points`). Fast trials tell bytes and errors; only what is chosen
is coded at its real speed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.block_statistics import BlockStatistics, mean_squared_error
from bbmr_shared.container import FULL_STRENGTH, Plane
from bbmr_shared.container.planes import pad
from bbmr_shared.grid import RATES, BlockGrid
from bbmr_shared.images.codecs import coding_error_byte, decode, encode_plane

from .downscale import bicubic_planes
from .network_effect import NetworkEffect
from .operating_points import PlaneSettings, multiplier, plane_quality, rates_worth_trying, speed
from .trial import Trial, run_trial

_FULL_CHROMA_FROM = {1: 40}
"""Rate → the quality from which 4:4:4 is tried; 0 for rates that are not named."""
_PYRAMID = 3
REAL_CHOICE_EFFORT = 5
"""From this effort on, the two best candidates are coded at their real speeds."""


@dataclass(frozen=True)
class Candidate:
    """The whole picture at one rate: what it is expected to need, and how bad it is expected to be.

    Attributes:
        strength: of the network, in halves.
        bytes: of the plane.
        error: squared error after the network, summed over the padded picture.
    """

    rate: int
    settings: PlaneSettings
    strength: int
    bytes: float
    error: float

    def cost(self, quality: float) -> float:
        """Returns error + λ · bits."""
        return self.error + multiplier(quality) * 8 * self.bytes


@dataclass(frozen=True)
class CodedPicture:
    """The parts of a container that depend on the quality, and the decoded planes."""

    rate_map: NDArray[np.uint8]
    strength: int
    planes: tuple[Plane, ...]
    decoded: dict[int, NDArray[np.uint8]]


class LossyPicture:
    """A photo to be coded once or more. What does not depend on the quality is made once.

    Args:
        rgb: `uint8 [height, width, 3]`.
        grey: whether all channels are equal, so that planes are coded as grey.
        grid: of the picture.
        palette: the rates that may be used, ascending.
        model: the weights by which the rates are chosen; None: there is no network.
        codec: "av1" or "avif".
        effort: 0 … 9.
        before_step: called before each step that takes long.
    """

    def __init__(
        self,
        rgb: NDArray[np.uint8],
        grey: bool,
        grid: BlockGrid,
        palette: tuple[int, ...],
        model: str | None,
        codec: str,
        effort: int,
        before_step: Callable[[], object],
    ) -> None:
        self.grid, self._palette, self._model, self._grey = grid, palette, model, grey
        self._codec, self._effort, self._before_step = codec, effort, before_step
        self._planes = {1: pad(rgb, grid)}
        self._statistics: dict[int, BlockStatistics] = {}
        self._downscaled: dict[int, NDArray[np.float64]] = {1: np.zeros(grid.shape)}
        self._candidates: dict[tuple[int, PlaneSettings], Candidate] = {}

    def choose(self, quality: float) -> list[Candidate]:
        """Returns the candidates at this quality, best first."""
        candidates = [
            self._candidate(rate, settings)
            for rate in rates_worth_trying(quality, self._palette)
            for settings in self._settings(rate, quality)
        ]
        return sorted(candidates, key=lambda candidate: candidate.cost(quality))

    def code(self, quality: float) -> CodedPicture:
        """Return the picture, coded at this quality."""
        best, *others = self.choose(quality)
        coded = self.code_candidate(best)
        if self._effort < REAL_CHOICE_EFFORT or not others:
            return coded
        other = self.code_candidate(others[0])
        real = [self._real_cost(*pair, quality) for pair in ((best, coded), (others[0], other))]
        return coded if real[0] <= real[1] else other

    def code_candidate(self, candidate: Candidate) -> CodedPicture:
        """Return the picture with every block at the candidate's rate."""
        self._before_step()
        rate, settings = candidate.rate, candidate.settings
        samples = self._samples(rate)
        codec, data = encode_plane(
            samples,
            self._codec,
            quality=settings.quality,
            subsampling=settings.subsampling,
            speed=settings.speed,
            tune=settings.tune,
        )
        decoded = decode(data, codec, self.grid.plane_size(rate))
        error = coding_error_byte(mean_squared_error(decoded, samples))
        plane = Plane(rate, codec, data, error, quality=settings.quality)
        return CodedPicture(
            np.full(self.grid.shape, rate, np.uint8), candidate.strength, (plane,), {rate: decoded}
        )

    def smallest(self) -> list[Candidate]:
        """Returns what to try if the lowest quality is too large: every rate at its lowest quality, fine to coarse."""
        strength = 0 if self._model is None else FULL_STRENGTH
        chroma = "4:0:0" if self._grey else "4:2:0"
        return [
            Candidate(rate, PlaneSettings(0, chroma, speed(rate, self._effort)), strength, 0.0, 0.0)
            for rate in self._palette
        ]

    def _real_cost(self, candidate: Candidate, coded: CodedPicture, quality: float) -> float:
        rate = candidate.rate
        errors = self._picture.errors(coded.decoded[rate], rate)
        coding = mean_squared_error(coded.decoded[rate], self._samples(rate))
        trial = Trial(rate, candidate.settings, len(coded.planes[0].data), errors, coding)
        expected, strength = self._effect.expect(trial)
        return Candidate(rate, candidate.settings, strength, trial.bytes, float(expected.sum())).cost(quality)

    def _candidate(self, rate: int, settings: PlaneSettings) -> Candidate:
        key = rate, settings
        if key not in self._candidates:
            self._before_step()
            trial = run_trial(
                self._samples(rate), rate, settings, self._picture, self._downscaling_errors(rate)
            )
            expected, strength = self._effect.expect(trial)
            self._candidates[key] = Candidate(rate, settings, strength, trial.bytes, float(expected.sum()))
        return self._candidates[key]

    def _settings(self, rate: int, quality: float) -> list[PlaneSettings]:
        number, slow = plane_quality(quality, rate), speed(rate, self._effort)
        if self._grey:
            return [PlaneSettings(number, "4:0:0", slow)]
        full = quality >= _FULL_CHROMA_FROM.get(rate, 0)
        return [
            PlaneSettings(number, chroma, slow) for chroma in (("4:2:0", "4:4:4") if full else ("4:2:0",))
        ]

    def _plane(self, rate: int) -> NDArray[np.uint8]:
        if rate not in self._planes:
            self._planes |= bicubic_planes(self._planes[1], [rate])
        return self._planes[rate]

    def _samples(self, rate: int) -> NDArray[np.uint8]:
        plane = self._plane(rate)
        return plane[..., 0] if self._grey else plane

    def _statistics_at(self, rate: int) -> BlockStatistics:
        if rate not in self._statistics:
            self._statistics[rate] = BlockStatistics(self._plane(rate), self.grid, rate)
        return self._statistics[rate]

    @property
    def _picture(self) -> BlockStatistics:
        return self._statistics_at(1)

    def _downscaling_errors(self, rate: int) -> NDArray[np.float64]:
        if rate not in self._downscaled:
            self._downscaled[rate] = self._picture.errors(self._plane(rate), rate)
        return self._downscaled[rate]

    @cached_property
    def _effect(self) -> NetworkEffect:
        areas = self.grid.areas()
        if self._model is None:
            return NetworkEffect(None, areas, np.zeros((0, 0)), np.zeros((0, 0)))
        pyramid = []
        for rate in RATES[:_PYRAMID]:
            errors = self._statistics_at(rate).errors(self._plane(2 * rate), 2)
            pyramid.append(errors / (areas / rate**2))
        return NetworkEffect(self._model, areas, np.stack(pyramid), self._picture.gradient_moments())
