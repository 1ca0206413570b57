"""The picture on the page: keyboard, narrow screens, touch, and the rates written over it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_shared.container import Container

from .browser import DONE, Visit, missing, visit

if missing() is None:
    from playwright.sync_api import expect

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
RECORD = """() => {
    window.written = [];
    const write = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
        written.push([text, x, y]);
        return write.call(this, text, x, y);
    };
}"""


@pytest.fixture(params=[True, False], ids=["fingers", "mouse"])
def narrow(browser: Any, url: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A visit at 320 pixels: the smallest phone, and a desktop of 1280 at 400 % zoom."""
    fingers = request.param
    yield from visit(
        browser, url, viewport={"width": 320, "height": 640}, has_touch=fingers, is_mobile=fingers
    )


def test_nothing_is_wider_than_320_pixels(narrow: Visit) -> None:
    fingers = narrow.page.evaluate("matchMedia('(pointer: coarse)').matches")
    assert narrow.sideways() <= 0
    assert ("drop it" in narrow.page.locator("#welcome .hint").inner_text()) != fingers
    narrow.page.get_by_role("button", name="The ridge").click()
    narrow.wait()
    narrow.page.locator("summary").click()
    narrow.page.locator("#quality").fill("100")
    assert narrow.page.locator("#quality-value").bounding_box()["height"] < 30  # one line
    narrow.page.get_by_role("button", name="Cancel").wait_for()
    assert narrow.sideways() <= 0
    narrow.wait()
    assert narrow.page.locator("#quality-value").bounding_box()["height"] < 30
    assert narrow.sideways() <= 0
    cut = narrow.page.evaluate(
        """() => [...document.querySelectorAll("button, a, label, output, .tag, td, th, li, #status")]
            .filter(e => e.offsetParent && !e.closest("#marks"))
            .filter(e => getComputedStyle(e).clipPath === "none" && e.getBoundingClientRect().right > innerWidth)
            .map(e => e.outerHTML)"""
    )
    assert cut == []
    hint = narrow.page.locator("#keys").inner_text()
    assert ("Pinch" in hint) == fingers
    assert ("Wheel" in hint) != fingers
    narrow.refusals = True
    narrow.choose("a-name-without-a-space-that-is-longer-than-the-screen-is-wide.png", b"\x89PNG\r\n\x1a\n")
    narrow.page.get_by_role("alert").wait_for()
    assert narrow.sideways() <= 0


def test_the_focus_stays_with_the_picture(here: Visit) -> None:
    here.page.get_by_role("button", name="The ridge").focus()
    here.page.keyboard.press("Enter")
    here.page.locator("#stage").wait_for()
    assert here.page.evaluate("document.activeElement.id") == "stage"
    assert here.page.evaluate("scrollY") == 0
    here.wait()
    assert here.page.evaluate("document.activeElement.id") == "stage"


def test_arrows_on_the_stage(here: Visit, photo: bytes) -> None:
    here.choose("rock.png", photo)
    here.wait()
    here.page.set_viewport_size({"width": 1200, "height": 500})  # so that the page can scroll
    here.page.locator("#stage").focus()
    handle, image = here.page.locator("#handle"), here.page.locator("#before img")
    place = image.evaluate("e => e.style.transform")
    for key, value in (("ArrowRight", "52"), ("ArrowLeft", "50"), ("Shift+ArrowLeft", "40")):
        here.page.keyboard.press(key)
        assert handle.get_attribute("aria-valuenow") == value
        assert image.evaluate("e => e.style.transform") == place
    here.page.keyboard.press("ArrowDown")
    for _ in range(50):  # the page scrolls, as anywhere else
        if here.page.evaluate("scrollY"):
            break
        here.page.wait_for_timeout(50)
    assert here.page.evaluate("scrollY") > 0
    assert handle.get_attribute("aria-valuenow") == "40"
    # Zoomed in, arrows move the picture.
    for key in ("+", "+", "ArrowRight", "ArrowDown"):
        before = image.evaluate("e => e.style.transform")
        here.page.keyboard.press(key)
        assert image.evaluate("e => e.style.transform") != before
    assert handle.get_attribute("aria-valuenow") == "40"


def show(here: Visit, container: Container) -> None:
    """Shows a container, and its rate map."""
    here.choose("kept.bbmr", container.to_bytes())
    expect(here.page.locator("#status")).to_have_text(DONE, timeout=60_000)
    here.page.get_by_role("button", name="Rate map").click()


def test_rates_are_written_into_blocks_that_are_large_enough(
    here: Visit, photo: bytes, container: Container
) -> None:
    here.page.evaluate(RECORD)
    show(here, container)
    rates = container.rate_map
    written = here.page.evaluate("written")
    assert [int(text) for text, _, _ in written] == rates.flatten().tolist()
    places = np.array([[x, y] for _, x, y in written]).reshape(*rates.shape, 2)
    assert (np.diff(places[..., 0], axis=1) > 40).all()
    assert (np.diff(places[..., 1], axis=0) > 40).all()
    # Zoomed out, there is no room for rates.
    here.page.set_viewport_size({"width": 340, "height": 600})
    here.page.get_by_role("button", name="Another photo").last.wait_for()
    here.page.locator("#zoom-out").click()
    here.page.evaluate("written.length = 0")
    show(here, encode(_wide(photo), rate=4))
    assert here.page.evaluate("written") == []
    for _ in range(8):
        here.page.locator("#zoom-in").click()
    assert here.page.evaluate("written.length") > 0


def test_the_map_has_the_colours_of_its_legend(here: Visit) -> None:
    for shade in (20, 235):  # whatever the photo is like
        show(here, encode(_half_plain(shade), rate=2))
        here.page.mouse.move(2, 2)
        shown = here.look()
        height, width = shown.shape[:2]
        seen = shown[int(height * 0.7), int(width * 0.2)]
        legend = here.page.evaluate(
            """() => [...document.querySelectorAll("#legend i")].map(e =>
                getComputedStyle(e).backgroundColor.match(/\\d+/g).map(Number))"""
        )
        far = [np.abs(seen - colour).sum() for colour in np.array(legend)]
        assert int(np.argmin(far)) == 4  # rate 16
        assert min(far) < 140


def _wide(photo: bytes) -> bytes:
    out = io.BytesIO()
    with Image.open(io.BytesIO(photo)) as picture:
        picture.resize((1300, 500)).save(out, "JPEG")
    return out.getvalue()


def _half_plain(shade: int) -> np.ndarray:
    """Plain on the left, noise on the right."""
    picture = np.full((384, 512, 3), shade, np.uint8)
    picture[:, 384:] = np.random.default_rng(1).integers(0, 255, (384, 128, 3))
    return picture
