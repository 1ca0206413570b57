"""The sentences about the figures, computed in a real browser: wins, losses, ties, and no senseless numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .browser import Visit, missing, visit

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

ASK = "async ([name, values]) => (await import('./page/results.js'))[name](...values)"


@pytest.fixture(scope="module")
def here(browser: Any, url: str) -> Iterator[Visit]:
    """One visit for all tests: none of them changes the page."""
    yield from visit(browser, url)


def verdict(
    here: Visit, ours: float | None, *, rescaled: Any = 30.0, avif: Any = 40.0, **more: Any
) -> list[str]:
    """Returns the sentences if bbmr has `ours` dB (None: equal to the original) and 100,000 bytes."""
    given: dict[str, Any] = {"share": 0.1, "scale": 1, "bytes": 90_000, "file": 500_000} | more
    figures = {
        "bbmr": {"bytes": 100_000, "psnr_rgb": ours},
        "rescaled": None if rescaled == "all" else {"bytes": given["bytes"], "psnr_rgb": rescaled},
        "model": given.get("model", "light"),
        "avif": None if avif == "none" else {"scale": given["scale"], "psnr_rgb": avif},
    }
    said = here.page.evaluate(ASK, ["verdict", [{"share": given["share"]}, figures, given["file"]]])
    assert not any(word in sentence for sentence in said for word in ("Infinity", "NaN", "undefined", "null"))
    return said


@pytest.mark.parametrize(
    ("ours", "rescaled", "words", "praise"),
    [
        (32.9, 30.0, "With as many pixels, bbmr is 2.9 dB closer to the original than scaling", True),
        (30.5, 30.0, "bbmr is 0.5 dB closer", True),
        (30.4, 30.0, "hardly differs from scaling", False),
        (30.4, 30.0, "it is 0.4 dB closer to the original, and takes", False),
        (29.7, 30.0, "it is 0.3 dB further from the original, and takes", False),
        (30.02, 30.0, "no closer to the original and no further", False),
        (29.0, 30.0, "bbmr loses here: scaling", False),
        (None, 30.0, "bbmr is the original, bit for bit; scaling", False),
        (30.0, None, "gives the original, bit for bit; bbmr does not", False),
        (None, None, "hardly differs", False),
        (30.0, "all", "smaller than the blocks", False),
    ],
)
def test_the_first_sentence_compares_at_the_same_number_of_pixels(
    here: Visit, ours: float | None, rescaled: Any, words: str, praise: bool
) -> None:
    first = verdict(here, ours, rescaled=rescaled)[0]
    assert words in first
    assert ("that is what it is for" in first) == praise
    if rescaled != "all":
        assert "bicubic, no network" in first


@pytest.mark.parametrize(
    ("size", "words"),
    [(61_000, "takes 39 kB more"), (100_400, "takes 400 bytes less"), (100_000, "takes as many bytes")],
)
def test_the_first_sentence_names_the_difference_in_bytes(here: Visit, size: int, words: str) -> None:
    for ours in (33.0, 30.1, 28.0):
        assert words in verdict(here, ours, bytes=size)[0]


@pytest.mark.parametrize(
    ("ours", "avif", "scale", "words"),
    [
        (30.0, 41.0, 1, "AVIF wins: with as many bytes it is closer to the original, by 11.0 dB."),
        (30.0, 41.0, 2, "AVIF wins: with as many bytes (at half size) it is closer"),
        (30.0, None, 1, "AVIF wins: with as many bytes it is the original, bit for bit; bbmr is not."),
        (None, 41.0, 1, "bbmr is the original, bit for bit; AVIF is not."),
        (None, None, 1, "equally close"),
        (30.0, 28.0, 8, "closer to the original than AVIF (at an eighth of the size), by 2.0 dB."),
        (30.0, 30.01, 4, "AVIF (at a quarter of the size) and bbmr are equally close"),
        (30.0, "none", 1, "AVIF cannot make this photo so small, even at an eighth of the size."),
    ],
)
def test_the_second_sentence_is_about_avif(
    here: Visit, ours: float | None, avif: Any, scale: int, words: str
) -> None:
    assert words in verdict(here, ours, avif=avif, scale=scale)[1]


def test_the_network_is_only_mentioned_if_it_ran(here: Visit) -> None:
    assert "block by block and the network do that together" in verdict(here, 33.0)[0]
    assert "network do" not in verdict(here, 33.0, model="none")[0]


def test_sentences_for_rate_1(here: Visit) -> None:
    said = verdict(here, None, rescaled="all", share=1, file=90_000)
    assert said[0] == "Every pixel is kept: the picture is the original."
    assert said[2].startswith("The photo's own file is smaller")
    assert verdict(here, 50.0, rescaled="all", share=1)[0] == "Every pixel is kept."


def test_rows_name_the_size_of_avif(here: Visit) -> None:
    facts = {"pixels": 10_000, "bytes": 5000, "bpp": 0.4, "width": 400, "height": 250}
    rescaled = {"width": 125, "height": 79, "bytes": 4000, "bpp": 0.32, "psnr_rgb": 29.0}
    avif = {"scale": 2, "quality": 41, "speed": 8, "bytes": 4900, "bpp": 0.39, "psnr_rgb": 33.0}
    figures = {"bbmr": {"psnr_rgb": 31.0}, "avif": avif, "rescaled": rescaled}
    rows = here.page.evaluate(ASK, ["rows", [facts, None, figures]])
    assert rows == [
        ["bbmr", "10,000 pixels", 5000, 0.4, 31],
        ["Rescaled, as many pixels", "125 × 79, bicubic, no network", 4000, 0.32, 29],
        ["AVIF, as many bytes", "at half size, quality 41, speed 8", 4900, 0.39, 33],
    ]
