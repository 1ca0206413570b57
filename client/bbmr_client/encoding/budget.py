"""The budget of an encoding: what the file may cost, or how good it must be."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from bbmr_shared.arguments import is_number, is_whole
from bbmr_shared.errors import UsageError

DEFAULT_QUALITY = 65
"""Looks like the photo side by side: docs/cli.md."""

BUDGETS = ("quality", "bpp", "max_bytes", "target_psnr", "rate")
"""The arguments of which at most one is given."""
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1024, "mi": 1024**2, "gi": 1024**3}
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]i?)?b?", re.IGNORECASE | re.ASCII)
LEAST_PSNR, GREATEST_PSNR = 10.0, 60.0
MOST_BYTES = 1 << 40
"""No file is that large."""
MOST_BPP = 1000


@dataclass(frozen=True)
class Budget:
    """One target: `kind` is one of `BUDGETS` or "lossless".

    `value` is a quality 0 … 100, bits per pixel, bytes, dB (PSNR over RGB), or the overall downscale rate.

    Raises:
        UsageError: the value has a wrong type or is out of its range.
    """

    kind: str
    value: float

    def __post_init__(self) -> None:
        kind, value = self.kind, self.value
        if kind == "quality" and not (is_whole(value) and 0 <= value <= 100):
            raise UsageError(f"the quality is a whole number from 0 to 100, not {value!r}")
        if kind == "max_bytes" and not (is_whole(value) and 1 <= value <= MOST_BYTES):
            raise UsageError(f"max_bytes is a whole number from 1 to {MOST_BYTES}, not {value!r}")
        if kind == "bpp" and not (is_number(value) and 0 < value <= MOST_BPP):
            raise UsageError(f"bpp is a number above 0 and at most {MOST_BPP}, not {value!r}")
        if kind == "target_psnr" and not (is_number(value) and LEAST_PSNR <= value <= GREATEST_PSNR):
            raise UsageError(
                f"the target PSNR is a number from {LEAST_PSNR:g} to {GREATEST_PSNR:g} dB, not {value!r}"
            )

    @property
    def lossy(self) -> bool:
        """Whether planes are coded with loss."""
        return self.kind not in ("rate", "lossless")

    def bytes_for(self, width: int, height: int) -> int | None:
        """Returns the most bytes of the file of a picture, or None if the budget does not limit them."""
        if self.kind == "max_bytes":
            return int(self.value)
        return int(self.value * width * height / 8) if self.kind == "bpp" else None


def given_budgets(values: Mapping[str, object]) -> list[str]:
    """Returns those of `BUDGETS` that have a value which is not None."""
    return [name for name in BUDGETS if values.get(name) is not None]


def check_one_budget(values: Mapping[str, object]) -> None:
    """Raises `UsageError` if more than one of `BUDGETS` has a value that is not None."""
    given = given_budgets(values)
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} exclude each other: leave out one")


def parse_bytes(text: str) -> int:
    """Returns a number of bytes: "200000", "200k" (1000 bytes each), "1.5M", "200KiB" (1024 bytes each).

    Raises:
        UsageError: it is none, or below one byte.
    """
    match = _BYTES.fullmatch(text.strip())
    count = 0.0 if match is None else float(match[1]) * _UNITS[(match[2] or "").lower()]
    if not 1 <= count < math.inf:
        raise UsageError(f"a number of bytes is such as 200000, 200k or 1.5M, not {text}")
    return int(count)
