"""The sentences about the figures, computed in a real browser: wins, losses, ties, and no senseless numbers."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.server.parts import read_parts

from .browser import Visit, missing, visit

if missing() is None:
    from playwright.sync_api import expect

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

ASK = "async ([name, values]) => (await import('./page/results.js'))[name](...values)"


@pytest.fixture(scope="module")
def still(browser: Any, url: str) -> Iterator[Visit]:
    """One visit for all tests that do not change the page."""
    yield from visit(browser, url)


def ask(still: Visit, name: str, *values: Any) -> Any:
    said = still.page.evaluate(ASK, [name, list(values)])
    assert not any(word in json.dumps(said) for word in ("Infinity", "NaN", "undefined"))
    return said


AT = "at equal bytes it is"
CLOSER = "dB closer to the original"
COLOURS = "over red, green and blue"
TIE = "At equal bytes, bbmr and AVIF are equally close to the original."


@pytest.mark.parametrize(
    ("ours", "theirs", "scale", "words"),
    [
        ((39.3, 42.0), (38.5, 41.6), 1, f"bbmr wins: {AT} 0.8 {CLOSER} than AVIF."),
        ((39.3, 42.0), (38.5, 41.6), 2, f"bbmr wins: {AT} 0.8 {CLOSER} than AVIF (at half size)."),
        ((38.5, 41.6), (39.3, 42.0), 1, f"AVIF wins: {AT} 0.8 {CLOSER} than bbmr."),
        (
            (38.5, 41.6),
            (39.3, 42.0),
            8,
            f"AVIF (at an eighth of the size) wins: {AT} 0.8 {CLOSER} than bbmr.",
        ),
        ((39.30, 42.0), (39.32, 41.97), 1, TIE),
        ((39.30, 42.4), (39.32, 42.0), 1, TIE),  # AVIF in another chroma format may be closer in luma
        ((39.30, 42.0), (39.28, 42.4), 1, f"AVIF wins: {AT} 0.4 {CLOSER} in luma than bbmr."),
        ((39.4, 42.0), (39.3, 42.02), 1, f"bbmr wins: {AT} 0.1 {CLOSER} than AVIF."),
        (
            (39.8, 41.0),
            (39.3, 42.2),
            1,
            f"Neither wins: at equal bytes, bbmr is 0.5 {CLOSER} {COLOURS}, AVIF 1.2 dB closer in luma.",
        ),
        ((39.3, 42.2), (39.8, 41.0), 2, f"AVIF (at half size) wins: {AT} 0.5 {CLOSER} than bbmr."),
        (
            (None, None),
            (39.8, 41.0),
            1,
            "bbmr wins: with as many bytes it is the original, bit for bit; AVIF is not.",
        ),
        (
            (39.8, 41.0),
            (None, None),
            1,
            "AVIF wins: with as many bytes it is the original, bit for bit; bbmr is not.",
        ),
        ((None, None), (None, None), 1, TIE),
        ((39.8, None), (39.1, 41.0), 1, f"bbmr wins: {AT} 0.7 {CLOSER} than AVIF."),
        ((39.8, 41.0), (39.1, None), 1, f"bbmr wins: {AT} 0.7 {CLOSER} than AVIF."),
    ],
)
def test_one_sentence_says_who_wins(
    still: Visit, ours: tuple[Any, Any], theirs: tuple[Any, Any], scale: int, words: str
) -> None:
    (rgb, y), (their_rgb, their_y) = ours, theirs
    equal = {"psnr_rgb": their_rgb, "psnr_y": their_y}
    figures = {
        "bbmr": {"psnr_rgb": rgb, "psnr_y": y},
        "avif": {
            "scale": scale,
            "psnr_rgb": 20.0,
            "psnr_y": 20.0,
            "equal": equal,
        },  # the file has fewer bytes
    }
    assert ask(still, "verdict", figures) == words


def test_the_sentence_without_an_avif(still: Visit) -> None:
    said = ask(still, "verdict", {"bbmr": {"psnr_rgb": 30.0, "psnr_y": 32.0}, "avif": None})
    assert said == "No AVIF of this photo is so small, even at an eighth of the size."


def one(size: int, psnr: float | None, **more: float) -> dict[str, Any]:
    return {"bytes": size, "bpp": size / 10_000, "psnr_rgb": psnr, "psnr_y": psnr, "ssim": 0.95} | more


def test_rows_mark_the_better_one(still: Visit) -> None:
    figures = {"bbmr": one(123_456, 31.001), "avif": one(500, 31.004, ssim=0.94, psnr_y=None)}
    found = {row["name"]: (row["cells"], row["best"]) for row in ask(still, "rows", {}, figures)}
    assert found == {
        "bytes": (["123,456", "500"], -1),
        "bpp": (["12.35", "0.050"], -1),
        "psnr_rgb": (["31.00", "31.00"], -1),  # nobody sees a difference
        "psnr_y": (["31.00", "equal"], 1),
        "ssim": (["0.9500", "0.9400"], 0),
    }
    found = {row["name"]: (row["cells"], row["best"]) for row in ask(still, "rows", one(400, 0), None)}
    assert found["bytes"] == (["400", "–"], -1)
    without = ask(still, "rows", {}, {"bbmr": one(400, 30), "avif": None})
    assert [row["cells"][1] for row in without] == ["–"] * 5


def test_remarks_name_rates_and_the_photos_own_file(still: Visit) -> None:
    facts = {"bytes": 100_000, "rates": {"1": 0, "2": 12, "4": 0, "8": 0, "16": 0}}
    assert ask(still, "remarks", facts, "light", 400_000) == [
        "All blocks have the rate 2: one pixel in 4 is coded, the others come from the network.",
        "The photo's own file has 400 kB; this one is 25 % of it.",
    ]
    assert "the others are interpolated" in ask(still, "remarks", facts, "none", 0)[0]
    mixed = facts | {"rates": {"16": 1, "1": 3, "2": 4, "4": 0, "8": 0}}
    said = ask(still, "remarks", mixed, "light", 90_000)
    assert said[0] == "Its blocks have the rates 1, 2 and 16; the rate map shows where."
    assert said[1].startswith("The photo's own file is smaller")
    assert len(ask(still, "remarks", facts, "light", 0)) == 1


def test_the_method_names_the_settings_of_both(still: Visit) -> None:
    facts = {"planes": [{"rate": 2, "codec": "av1", "bytes": 9000}], "alpha_bytes": 0}
    figures = {"bbmr": {"bytes": 10_000}, "avif": {"bytes": 9990}, "notes": ["it has 2 pictures"]}
    avif = {"speed": 6, "tune": "psnr", "subsampling": "4:2:0", "quality": 41, "scale": 2}
    said = ask(still, "method", {"quality": 30}, facts, figures, avif)
    assert said[0] == "bbmr: quality 30, one plane of rate 2 (av1, 9 kB)."
    for words in ("speed 6", "tune psnr", "4:2:0", "quality 41", "at half size"):
        assert words in said[1]
    assert said[2:] == ["The photo: it has 2 pictures."]
    unused = ask(still, "method", {"quality": 30}, facts, figures | {"avif": {"bytes": 9400}}, avif)
    assert "6.0 % of the bytes unused" in unused[2]
    alpha = ask(
        still,
        "method",
        {"quality": 30},
        facts | {"alpha_bytes": 600},
        figures | {"avif": {"bytes": 9400}},
        avif,
    )
    assert alpha[2].startswith("The 600 bytes of the alpha channel")
    assert len(ask(still, "method", {"quality": 30}, facts, figures | {"avif": None}, None)) == 2
    full_chroma = ask(still, "method", {"quality": 30}, facts, figures, avif | {"subsampling": "4:4:4"})
    assert "4:2:0 may have a higher PSNR-Y" in full_chroma[2]


def changed(whole: bytes, change: Any) -> bytes:
    """Returns the answer with `change(figures)` in place of its figures."""
    parts = read_parts(whole)
    figures, _ = parts[-1]
    line = json.dumps(figures).encode() + b"\n"
    assert whole.endswith(line)
    change(figures)
    return whole[: -len(line)] + json.dumps(figures).encode() + b"\n"


def test_avif_wins_is_shown_as_plainly(here: Visit, url: str, photo: bytes) -> None:
    whole = httpx.post(
        f"{url}/page/compare", content=photo, headers={"Content-Type": "image/png"}, timeout=60
    ).content

    def avif_wins(figures: dict[str, Any]) -> None:
        ours, theirs = figures["bbmr"], figures["avif"]
        for name in ("psnr_rgb", "psnr_y"):
            theirs[name] = theirs["equal"][name] = ours[name] + 1.5

    body = changed(whole, avif_wins)
    here.page.route("**/page/compare*", lambda route: route.fulfill(body=body))
    here.choose("rock.png", photo)
    here.wait()
    verdict = here.page.locator("#verdict")
    assert verdict.inner_text() == "AVIF wins: at equal bytes it is 1.5 dB closer to the original than bbmr."
    assert here.page.locator("#rows tr[data-name=psnr_rgb] td").nth(1).get_attribute("class") == "best"
    shape = verdict.evaluate("e => [getComputedStyle(e).fontSize, getComputedStyle(e).color]")
    here.page.unroute_all()
    here.page.locator("#quality").fill("40")
    expect(here.page.locator("#tag-after")).to_have_text("bbmr, quality 40", timeout=60_000)
    here.wait()
    assert verdict.evaluate("e => [getComputedStyle(e).fontSize, getComputedStyle(e).color]") == shape


def test_a_photo_that_avif_cannot_make_so_small(here: Visit) -> None:
    out = io.BytesIO()
    Image.fromarray(np.full((60, 90, 3), 77, np.uint8)).save(out, "PNG")
    here.choose("plain.png", out.getvalue())
    here.wait()
    assert here.page.locator("#verdict").inner_text().startswith("No AVIF of this photo is so small")
    assert here.page.locator("#left-avif").is_disabled()
    assert here.page.locator("#avif-file").is_hidden()
    assert here.cells("bytes")[1] == "–"


def test_a_browser_without_avif_says_so(here: Visit, photo: bytes) -> None:
    here.page.evaluate(
        """() => {
            const decode = HTMLImageElement.prototype.decode;
            let decoded = 0;
            HTMLImageElement.prototype.decode = async function () {
                decoded += 1;  // the original, the reconstruction, the AVIF
                if (decoded === 3) throw new DOMException("no", "EncodingError");
                return decode.call(this);
            };
        }"""
    )
    here.choose("rock.png", photo)
    here.wait()
    assert "This browser cannot show AVIF files." in here.page.locator("#remarks").inner_text()
    assert here.page.locator("#left-avif").is_disabled()
    assert "–" not in here.cells("psnr_rgb")
