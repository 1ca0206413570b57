"""Budgets: their values, and the search that keeps them, with a picture whose bytes and errors are formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from bbmr_client.encoding.budget import BUDGETS, Budget, check_one_budget, parse_bytes
from bbmr_client.encoding.budget_search import FixedParts, code_to_psnr, code_within
from bbmr_shared.errors import UsageError


class TestParseBytes:
    @pytest.mark.parametrize(
        ("text", "count"),
        [
            ("200000", 200_000),
            ("200k", 200_000),
            ("200K", 200_000),
            ("200kB", 200_000),
            (" 200 KiB ", 204_800),
            ("1.5M", 1_500_000),
            ("0.5MiB", 524_288),
            ("1g", 10**9),
            ("0.0015k", 1),
        ],
    )
    def test_numbers_with_units(self, text: str, count: int) -> None:
        assert parse_bytes(text) == count

    @pytest.mark.parametrize(
        "text", ["", "k", "-1", "0", "0.4", "1e6", "200x", "2 0", "inf", "1.5.2", "\u0663k", "9" * 400]
    )
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(UsageError, match=r"such as 200000, 200k or 1\.5M"):
            parse_bytes(text)


class TestBudget:
    @pytest.mark.parametrize(
        ("kind", "value"),
        [("quality", 0), ("quality", np.int64(100)), ("bpp", 0.01), ("max_bytes", 1), ("target_psnr", 60)],
    )
    def test_the_ends_of_the_ranges(self, kind: str, value: float) -> None:
        assert Budget(kind, value).lossy

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            *[("quality", value) for value in (-1, 101, 50.0, True, "50", math.nan)],
            *[("bpp", value) for value in (0, -1, 1001, math.nan, math.inf, "1", True)],
            *[("max_bytes", value) for value in (0, -5, 1.5, "200k", True, 10**400)],
            *[("target_psnr", value) for value in (9.9, 60.1, math.nan, math.inf, "40")],
        ],
    )
    def test_what_is_out_of_them(self, kind: str, value: Any) -> None:
        with pytest.raises(UsageError):
            Budget(kind, value)

    def test_the_message_names_the_highest_value(self) -> None:
        with pytest.raises(UsageError, match="at most 1000, not 2000"):
            Budget("bpp", 2000)

    def test_the_most_bytes(self) -> None:
        assert Budget("max_bytes", 777).bytes_for(4000, 3000) == 777
        assert Budget("bpp", 0.5).bytes_for(1000, 100) == 6250
        assert Budget("bpp", 1).bytes_for(3, 3) == 1
        assert Budget("quality", 50).bytes_for(1000, 100) is None

    def test_lossless_planes(self) -> None:
        assert not Budget("rate", 4).lossy
        assert not Budget("lossless", 1).lossy

    def test_only_one(self) -> None:
        for name in BUDGETS:
            check_one_budget({**dict.fromkeys(BUDGETS), name: 0})
        with pytest.raises(UsageError, match="bpp and rate exclude each other"):
            check_one_budget({"rate": 1, "bpp": 2})


@dataclass(frozen=True)
class Coded:
    bytes: int
    psnr: float


@dataclass(frozen=True)
class Candidate:
    bytes: float


@dataclass
class Formula:
    """A picture of known bytes and PSNR at each quality; `off` is how wrong its trials are."""

    bytes_at: Callable[[float], float]
    psnr_at: Callable[[float], float] = lambda quality: 25 + quality / 4
    coarse: tuple[int, ...] = ()
    off: float = 1.1
    encodes: int = 0
    seen: list[int] = field(default_factory=list)

    def choose(self, quality: float) -> list[Candidate]:
        return [Candidate(self.bytes_at(quality) * self.off)]

    def code(self, quality: int) -> Coded:
        assert 0 <= quality <= 100
        self.seen.append(quality)
        return Coded(int(self.bytes_at(quality)), self.psnr_at(quality))

    def smallest(self) -> list[Candidate]:
        return [Candidate(size) for size in self.coarse]

    def code_candidate(self, candidate: Candidate) -> Coded:
        return Coded(int(candidate.bytes), 0)


def growing(first: float, last: float) -> Callable[[float], float]:
    return lambda quality: first * (last / first) ** (quality / 100)


def stepped(quality: float) -> float:
    """As AVIF's 64 steps: two or one of our qualities each."""
    return growing(3000, 900_000)(quality * 63 // 100 * 100 / 63)


PICTURES = {
    "steep": growing(2000, 2_000_000),
    "flat": growing(40_000, 90_000),
    "bent": lambda quality: 1000 + 20 * quality**2 + (quality > 85) * (quality - 85) * 50_000,
    "stepped": stepped,
}


class TestCodeWithin:
    @pytest.mark.parametrize("fixed", [0, 30_000])
    @pytest.mark.parametrize("off", [0.8, 1.25])
    @pytest.mark.parametrize("name", PICTURES)
    def test_the_best_quality_within_the_budget(self, name: str, off: float, fixed: int) -> None:
        bytes_at = PICTURES[name]
        for share in (0.02, 0.2, 0.5, 0.8, 0.99):
            most = int(bytes_at(100) ** share * bytes_at(0) ** (1 - share)) + fixed
            picture: Any = Formula(bytes_at, off=off)
            coded, quality = code_within(
                picture, most, lambda coded: coded.bytes + fixed, FixedParts(metadata=fixed)
            )
            assert coded.bytes + fixed <= most
            assert coded.bytes == int(bytes_at(quality))
            assert len(picture.seen) <= 9
            finer = next((q for q in range(quality, 101) if int(bytes_at(q)) > coded.bytes), 101)
            worth = 1 if finer > 100 else (coded.bytes + fixed) / most
            assert worth > 0.9 or bytes_at(finer) + fixed > most

    def test_all_qualities_fit(self) -> None:
        picture: Any = Formula(growing(1000, 50_000))
        assert code_within(picture, 10**7, lambda coded: coded.bytes, FixedParts())[1] == 100

    def test_coarser_rates_where_no_quality_fits(self) -> None:
        picture: Any = Formula(growing(5000, 50_000), coarse=(5000, 3000, 1500, 900))
        coded, quality = code_within(picture, 2000, lambda coded: coded.bytes, FixedParts())
        assert (coded.bytes, quality) == (1500, 0)

    @pytest.mark.parametrize("most", [0, 1, 899])
    def test_nothing_fits(self, most: int) -> None:
        picture: Any = Formula(growing(5000, 50_000), coarse=(5000, 3000, 900))
        with pytest.raises(UsageError, match=f"has 900 bytes, more than the {most} that are allowed$"):
            code_within(picture, most, lambda coded: coded.bytes, FixedParts())

    def test_what_could_be_left_out_is_named_if_it_is_the_reason(self) -> None:
        parts = FixedParts(metadata=700, alpha=300)
        assert parts.explain(1500, 400).endswith("more than the 400 that are allowed")
        assert parts.explain(1500, 1400).endswith(
            "allowed: 700 of them are metadata, which can be left out; "
            "300 of them are the alpha channel, which can have a lower quality"
        )
        assert "alpha" not in FixedParts(metadata=700).explain(1500, 1400)
        assert "metadata" not in FixedParts(alpha=300).explain(1500, 1400)


class TestCodeToPsnr:
    @pytest.mark.parametrize(
        "psnr_at",
        [
            lambda quality: 25 + quality / 4,
            lambda quality: 18 + quality / 2.5,
            lambda quality: 30 + (quality / 100) ** 3 * 20,
            lambda quality: 24 + quality * 63 // 100 * 0.4,
        ],
        ids=["as expected", "steep", "bent", "stepped"],
    )
    @pytest.mark.parametrize("target", [31, 36.5, 44])
    def test_the_lowest_quality_that_reaches_it(
        self, psnr_at: Callable[[float], float], target: float
    ) -> None:
        picture: Any = Formula(growing(1000, 9000), psnr_at)
        coded, quality, found = code_to_psnr(picture, target, lambda coded: coded.psnr)
        assert found == coded.psnr == psnr_at(quality) >= target
        assert len(picture.seen) <= 9
        assert psnr_at(quality - 1) < target or found <= target + 0.3

    def test_out_of_reach(self) -> None:
        picture: Any = Formula(growing(1000, 9000), lambda quality: 20 + quality / 10)
        coded, quality, found = code_to_psnr(picture, 45, lambda coded: coded.psnr)
        assert (quality, found, coded.psnr) == (100, 30, 30)

    def test_an_exact_picture(self) -> None:
        picture: Any = Formula(growing(1000, 9000), lambda quality: math.inf)
        assert code_to_psnr(picture, 60, lambda coded: coded.psnr)[1:] == (0, math.inf)

    def test_exact_from_some_quality_on(self) -> None:
        picture: Any = Formula(growing(1000, 9000), lambda quality: math.inf if quality > 70 else 30)
        _, quality, found = code_to_psnr(picture, 40, lambda coded: coded.psnr)
        assert found == math.inf
        assert 71 <= quality <= 75
