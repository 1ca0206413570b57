"""Lossy encoding: one photo, coded at any quality by the rates, chroma formats and speeds that are best for it.

The choice minimises error + λ · bits (Lagrangian). The error is that in YCbCr, weighted 6:1:1, which the network is
expected to leave; λ belongs to the quality (`operating_points`). Fast trials tell bytes and errors; only what is chosen
is coded at its real speed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.block_statistics import mean_squared_error
from bbmr_shared.compositing.composite import composite
from bbmr_shared.container import FULL_STRENGTH, Plane
from bbmr_shared.container.planes import pad
from bbmr_shared.grid import BlockGrid
from bbmr_shared.images.codecs import coding_error_byte, decode
from bbmr_shared.limits import AVIF_MAX_SIDE

from .candidates import Candidate, RateTable, best_tables, mixed
from .operating_points import PlaneSettings, plane_quality, rates_worth_trying, speed
from .real_effect import best_strengths
from .survey import Survey, sample_rows
from .trial import code_plane

_FULL_CHROMA_FROM = {1: 40}
"""Rate → the quality from which 4:4:4 is tried; 0 for rates that are not named."""
_CLOSE = 1.06
"""4:4:4 is tried at rates whose cost with 4:2:0 is at most so many times the best one's."""
_SLOW_FROM_BPP = 0.1
"""From so many bits per pixel on, a plane at rate 2 is coded at the next slower speed. This takes as long as AVIF takes
for the whole photo; with fewer bits, AVIF is faster."""
_SLOWER_BYTES, _SLOWER_ERROR = 0.985, 0.985
"""Factors that this is expected to have."""
THOROUGH_EFFORT = 5
"""From this effort on, all of a photo is surveyed and not only a sample, rate maps with more than one rate are
candidates, and the two best candidates are coded at their real speeds."""
_RESTORED = 3
"""So many candidates go through the network, if it runs."""
_MIXED_MUST_WIN = 0.995
"""A mixed map is a candidate if its trial costs at most this share of the best single rate's trial."""


@dataclass(frozen=True)
class CodedPicture:
    """The parts of a container that depend on the quality, and the decoded planes."""

    rate_map: NDArray[np.uint8]
    strength: int
    planes: tuple[Plane, ...]
    decoded: Mapping[int, NDArray[np.uint8]]
    strength_map: NDArray[np.uint8] | None = None

    @property
    def bytes(self) -> int:
        """Returns the bytes of all planes."""
        return sum(len(plane.data) for plane in self.planes)


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
        restore: runs the network on a coded picture at full strength and returns `uint8 [height, width, 3]`. With it,
            the best candidates are compared by the network's real output, and each block gets its best strength.
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
        restore: Callable[[CodedPicture], NDArray[np.uint8]] | None = None,
    ) -> None:
        # a plane above the codec's longest side would be written without loss
        self._palette = (
            tuple(rate for rate in palette if max(grid.plane_size(rate)) <= AVIF_MAX_SIDE) or palette
        )
        self.grid, self._grey, self._codec, self._effort = grid, grey, codec, effort
        self._restore = restore
        self._padded = padded = pad(rgb, grid)
        self._strength = 0 if model is None else FULL_STRENGTH
        self._before_step = before_step
        self._whole = Survey(padded, grey, grid.block, model, before_step)
        sample = padded if effort >= THOROUGH_EFFORT else sample_rows(padded)
        self._survey = self._whole
        if sample is not padded:
            self._survey = Survey(sample, grey, grid.block, model, before_step)

    def choose(self, quality: float) -> list[Candidate]:
        """Returns the candidates at this quality, best first."""
        found = [
            (rate, self._survey.table(rate, self._settings(rate, quality)))
            for rate in rates_worth_trying(quality, self._palette)
        ]
        costs = [table.uniform(rate).cost(quality) for rate, table in found]
        for (rate, _), cost in zip(found[:], costs, strict=True):
            if self._tries_full_chroma(rate, quality) and cost <= _CLOSE * min(costs):
                settings = replace(self._settings(rate, quality), subsampling="4:4:4")
                found.append((rate, self._survey.table(rate, settings)))
        candidates = sorted(
            (self._uniform(rate, table) for rate, table in found),
            key=lambda candidate: candidate.cost(quality),
        )
        if self._effort >= THOROUGH_EFFORT:
            candidate = mixed(best_tables(found, quality), self._whole.block_bytes, quality, candidates[0])
            if candidate is not None:
                tried = replace(candidate, bytes=self._whole.tried(candidate))
                if tried.cost(quality) < _MIXED_MUST_WIN * candidates[0].cost(quality):
                    candidates.insert(0, tried)
        return candidates

    def code(self, quality: float) -> CodedPicture:
        """Return the picture, coded at this quality."""
        best, *others = self.choose(quality)
        if self._restore is not None:
            return self._best_restored([best, *others[: _RESTORED - 1]], quality)
        coded = self.code_candidate(best)
        if self._effort < THOROUGH_EFFORT or not others:
            return coded
        other = self.code_candidate(others[0])
        costs = [
            replace(one, bytes=two.bytes).cost(quality) for one, two in ((best, coded), (others[0], other))
        ]
        return coded if costs[0] <= costs[1] else other

    def _best_restored(self, candidates: list[Candidate], quality: float) -> CodedPicture:
        """Return the best of these by the network's real output."""
        assert self._restore is not None
        found: list[tuple[float, CodedPicture]] = []
        for candidate in candidates:
            coded = replace(self.code_candidate(candidate), strength=FULL_STRENGTH)
            self._before_step()
            base = composite(coded.decoded, coded.rate_map, self.grid)
            restored = pad(self._restore(coded), self.grid)
            effect = best_strengths(self._padded, base, restored, self.grid, quality)
            coded = replace(coded, strength=effect.strength, strength_map=effect.strength_map)
            cost = replace(candidate, bytes=coded.bytes, error=effect.error).cost(quality)
            found.append((cost, coded))
        return min(found, key=lambda pair: pair[0])[1]

    def smallest(self) -> list[Candidate]:
        """Returns what to try if the lowest quality is too large: every rate at its lowest quality, fine to coarse."""
        return [
            Candidate(
                np.full(self.grid.shape, rate, np.uint8),
                {rate: replace(self._settings(rate, 0), quality=0)},
                self._strength,
                0.0,
                0.0,
            )
            for rate in self._palette
        ]

    def code_candidate(self, candidate: Candidate) -> CodedPicture:
        """Return the picture with the candidate's rate map."""
        planes, decoded = [], {}
        for rate in sorted(candidate.settings, reverse=True):
            self._before_step()
            settings = candidate.settings[rate]
            samples = self._whole.kept(candidate.rate_map, rate)
            codec, data = code_plane(samples, self._codec, settings)
            decoded[rate] = decode(data, codec, self.grid.plane_size(rate))
            error = self._coding_error(candidate, rate, decoded[rate], samples)
            planes.append(Plane(rate, codec, data, coding_error_byte(error), quality=settings.quality))
        return CodedPicture(candidate.rate_map, candidate.strength, tuple(planes), decoded)

    def _uniform(self, rate: int, table: RateTable) -> Candidate:
        """The candidate with every block at `rate`, for the whole photo."""
        candidate = table.uniform(rate)
        scale = self._whole.pixels / self._survey.pixels
        size, error, settings = candidate.bytes * scale, candidate.error * scale, table.settings
        if rate == 2 and self._effort < THOROUGH_EFFORT and 8 * size >= _SLOW_FROM_BPP * self._whole.pixels:
            settings = replace(settings, speed=max(settings.speed - 1, 0))
            size, error = size * _SLOWER_BYTES, error * _SLOWER_ERROR
        rate_map = np.full(self.grid.shape, rate, np.uint8)
        return Candidate(rate_map, {rate: settings}, candidate.strength, size, error)

    def _coding_error(
        self, candidate: Candidate, rate: int, decoded: NDArray[np.uint8], samples: NDArray[np.uint8]
    ) -> float:
        """The mean squared error of the samples of a plane's own blocks."""
        if len(candidate.settings) == 1:
            return mean_squared_error(decoded, samples)
        own = self.grid.expand(candidate.rate_map == rate, rate)
        three = samples if samples.ndim == 3 else samples[..., None]
        difference = np.subtract(decoded[own], three[own], dtype=np.float32)
        return float(np.square(difference).mean())

    def _settings(self, rate: int, quality: float) -> PlaneSettings:
        chroma = "4:0:0" if self._grey else "4:2:0"
        return PlaneSettings(plane_quality(quality, rate), chroma, speed(rate, self._effort))

    def _tries_full_chroma(self, rate: int, quality: float) -> bool:
        return not self._grey and quality >= _FULL_CHROMA_FROM.get(rate, 0)
