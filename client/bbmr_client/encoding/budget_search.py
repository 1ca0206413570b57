"""Searches the quality that keeps a budget of bytes or reaches a PSNR, with few encodes at the real speed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from bbmr_shared.errors import UsageError

from .lossy import CodedPicture, LossyPicture
from .operating_points import QUALITIES

_SLOPE = 0.036
"""Growth of the logarithm of the bytes per step of quality, before it is known better."""
_DECIBELS = 0.22
"""Growth of the PSNR per step of quality, likewise."""
_START = 45
_ENCODES = 6
"""Encodes after which the best one is taken."""
_SAME_SIDE = 3
"""Encodes that are all too large, or all too small, after which the remaining qualities are halved."""
_CLOSE = 0.985
"""A file of this share of the budget is not made any larger."""
_CLOSE_DB = 0.08


@dataclass(frozen=True)
class FixedParts:
    """Bytes of the parts of a file that do not depend on the quality."""

    metadata: int = 0
    alpha: int = 0

    @property
    def bytes(self) -> int:
        """All of them."""
        return self.metadata + self.alpha

    def explain(self, smallest: int, most: int) -> str:
        """Returns the message that a photo whose smallest file has `smallest` bytes does not fit into `most`."""
        message = (
            f"the smallest file of this photo has {smallest} bytes, more than the {most} that are allowed"
        )
        if smallest - self.bytes > most:
            return message
        parts = []
        if self.metadata:
            parts.append(f"{self.metadata} of them are metadata, which can be left out")
        if self.alpha:
            parts.append(f"{self.alpha} of them are the alpha channel, which can have a lower quality")
        return f"{message}: {'; '.join(parts)}"


@dataclass
class _Bracket:
    """The qualities between which something that grows with the quality reaches its goal.

    Attributes:
        slope: its growth per step of quality before two values are known.
        low, high: the highest quality below the goal, and the lowest one above it.
    """

    slope: float
    low: int = QUALITIES[0] - 1
    high: int = QUALITIES[1] + 1
    _values: dict[int, float] = field(default_factory=dict)

    def add(self, quality: int, value: float, is_low: bool) -> None:
        """Note how far a quality between `low` and `high` is above the goal (below: negative), and which end it is."""
        others = [(other, known) for other, known in self._values.items() if math.isfinite(known)]
        if others and math.isfinite(value):
            other, known = others[-1]
            measured = (value - known) / (quality - other)
            self.slope = min(max(measured, self.slope / 4), self.slope * 4)
        self._values[quality] = value
        if is_low:
            self.low = quality
        else:
            self.high = quality

    def is_settled(self, found: bool) -> bool:
        """Returns whether to stop. found: something that can be returned was among the values."""
        return self.high - self.low <= 1 or (found and len(self._values) >= _ENCODES)

    def guess(self) -> int:
        """Returns the quality to try next, between `low` and `high`. At least one value is known."""
        below, above = self._values.get(self.low), self._values.get(self.high)
        if below is not None and above is not None:
            share = -below / (above - below) if math.isfinite(above) and below < above else 0.5
            wanted = self.low + share * (self.high - self.low)
        elif len(self._values) >= _SAME_SIDE:
            wanted = (self.low + self.high) / 2
        elif below is not None:
            wanted = self.low - below / self.slope
        else:
            assert above is not None
            wanted = self.high - above / self.slope
        return round(min(max(wanted, self.low + 1), self.high - 1))


def code_within(
    picture: LossyPicture, most: int, size: Callable[[CodedPicture], int], fixed: FixedParts
) -> tuple[CodedPicture, int]:
    """Return the best picture whose file has at most `most` bytes, and its quality.

    Args:
        picture: the photo.
        most: bytes.
        size: bytes of the whole file with these planes.
        fixed: the parts of the file that are no planes.

    Raises:
        UsageError: no quality and no rate keeps the budget; the message names the smallest file.
    """
    free = math.log(max(most - fixed.bytes, 1))
    quality, slope = _expected_quality(picture, free)
    bracket = _Bracket(slope)
    best: CodedPicture | None = None
    while not bracket.is_settled(best is not None):
        coded = picture.code(quality)
        found = size(coded)
        if found <= most:
            best = coded
        bracket.add(quality, _excess(found, most, fixed.bytes), is_low=found <= most)
        if _CLOSE * most <= found <= most:
            break
        quality = bracket.guess()
    if best is not None:
        return best, bracket.low
    return _coarsest_within(picture, most, size, fixed), QUALITIES[0]


def code_to_psnr(
    picture: LossyPicture, target: float, psnr: Callable[[CodedPicture], float]
) -> tuple[CodedPicture, int, float]:
    """Return the smallest picture that is at least as good as `target` dB, its quality and its PSNR.

    If even the highest quality is worse, that one is returned.
    """
    bracket = _Bracket(_DECIBELS)
    best: tuple[CodedPicture, int, float] | None = None
    quality = _START
    while not bracket.is_settled(best is not None):
        coded = picture.code(quality)
        found = psnr(coded)
        bracket.add(quality, found - target - _CLOSE_DB / 2, is_low=found < target)
        if found >= target or quality == QUALITIES[1]:
            best = coded, quality, found
        if target <= found <= target + _CLOSE_DB:
            break
        quality = bracket.guess()
    assert best is not None, "the highest quality was among them"
    return best


def _excess(found: int, most: int, fixed: int) -> float:
    """Returns how far the logarithm of the planes' bytes is above that of a budget which is nearly used up."""
    wanted = most * (1 + _CLOSE) / 2
    return math.log(max(found - fixed, 1) / max(wanted - fixed, 1))


def _expected_quality(picture: LossyPicture, wanted: float) -> tuple[int, float]:
    """Returns the quality at which planes are expected to have exp(`wanted`) bytes, by trials, and the slope there."""
    points: list[tuple[int, float]] = []
    quality, slope = _START, _SLOPE
    for _ in range(3):
        points.append((quality, math.log(picture.choose(quality)[0].bytes)))
        if len(points) > 1 and points[-1][0] != points[-2][0]:
            measured = (points[-1][1] - points[-2][1]) / (points[-1][0] - points[-2][0])
            slope = min(max(measured, _SLOPE / 3), _SLOPE * 3)
        step = round((wanted - points[-1][1]) / slope)
        if abs(step) <= 1:
            break
        quality = min(max(quality + step, QUALITIES[0]), QUALITIES[1])
    return quality, slope


def _coarsest_within(
    picture: LossyPicture, most: int, size: Callable[[CodedPicture], int], fixed: FixedParts
) -> CodedPicture:
    """Return the finest uniform rate at its lowest quality that keeps the budget."""
    sizes = []
    for candidate in picture.smallest():
        coded = picture.code_candidate(candidate)
        sizes.append(size(coded))
        if sizes[-1] <= most:
            return coded
    raise UsageError(fixed.explain(min(sizes), most))
