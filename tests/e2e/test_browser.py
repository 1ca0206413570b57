"""The page in a real browser with a real server and the shipped weights: normal use."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from bbmr_client.encoding.budget import DEFAULT_QUALITY
from bbmr_client.encoding.encoder import encode
from bbmr_client.reports.ratemap import RATE_COLOURS
from bbmr_shared.container import MEDIA_TYPE, Container
from bbmr_shared.grid import RATES
from bbmr_shared.metrics import psnr_rgb, psnr_y, ssim

from .browser import DONE, GATE, Visit, missing

if missing() is None:
    from playwright.sync_api import expect

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def test_a_photo_appears_before_and_after(here: Visit, photo: bytes, detail: np.ndarray) -> None:
    here.choose("rock.png", photo)
    here.wait()
    handle = here.page.locator("#handle")
    handle.press("End")
    before = here.look()
    handle.press("Home")
    after = here.look()
    assert np.abs(before - after).mean() > 1
    for _ in range(3):
        handle.press("Shift+ArrowRight")
    assert handle.get_attribute("aria-valuenow") == "30"
    mixed = here.look()
    border = round(mixed.shape[1] * 0.3)
    assert np.abs(mixed[:, : border - 3] - before[:, : border - 3]).max() <= 2
    assert np.abs(mixed[:, border + 3 :] - after[:, border + 3 :]).max() <= 2
    # The mouse moves the border too.
    box = here.page.locator("#stage").bounding_box()
    here.page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 50)
    here.page.mouse.down()
    here.page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 60, steps=4)
    here.page.mouse.up()
    assert handle.get_attribute("aria-valuenow") == "75"
    # At 1:1 the left side is the photo, sample by sample.
    here.page.locator("#actual").click()
    handle.press("End")
    shown = here.look()
    top, left = (shown.shape[0] - 300) // 2, (shown.shape[1] - 420) // 2
    crop = shown[top + 10 : top + 290, left + 10 : left + 410]
    assert np.abs(crop - detail[10:290, 10:410].astype(int)).mean() < 3


def test_a_newer_photo_replaces_one_that_is_still_loading(here: Visit, photo: bytes) -> None:
    small = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(small, "PNG")
    # The browser is slow to decode the first photo.
    here.page.evaluate(GATE)
    here.choose("small.png", small.getvalue())
    here.page.evaluate("() => held")
    here.choose("rock.png", photo)
    here.wait()
    here.page.locator("#handle").press("End")
    before = here.look()
    here.page.evaluate("() => { openGate(); return new Promise((done) => setTimeout(done, 200)); }")
    assert here.page.locator("#name").inner_text() == "rock.png · 420 × 300"
    assert np.abs(here.look() - before).mean() < 0.1
    assert here.asked("/page/compare") == 1


def test_the_figures_match_independent_measurements(
    here: Visit, url: str, photo: bytes, detail: np.ndarray
) -> None:
    here.choose("rock.png", photo)
    here.wait()
    container = encode(
        photo, metadata="icc", model="light"
    ).to_bytes()  # the quality is the product's default
    answer = httpx.post(
        f"{url}/reconstruct", content=container, headers={"Content-Type": MEDIA_TYPE}, timeout=60
    )
    with Image.open(io.BytesIO(answer.content)) as picture:
        restored = np.asarray(picture.convert("RGB"))
    files = []
    for button in ("#download", "#avif-file"):
        here.page.locator("#method").evaluate("e => (e.open = true)")
        with here.page.expect_download() as download:
            here.page.locator(button).click()
        files.append((download.value.suggested_filename, Path(download.value.path()).read_bytes()))
    assert files[0] == ("rock.bbmr", container)  # the file is the one that the client makes
    assert files[1][0] == "rock.avif"
    with Image.open(io.BytesIO(files[1][1])) as picture:
        assert picture.format == "AVIF"
        avif = np.asarray(picture.convert("RGB"))
    sizes = [int(text.replace(",", "")) for text in here.cells("bytes")]
    assert sizes == [len(container), len(files[1][1])]
    assert sizes[1] <= sizes[0]
    for name, metric, places in (("psnr_rgb", psnr_rgb, 2), ("psnr_y", psnr_y, 2), ("ssim", ssim, 4)):
        expected = [metric(detail, shown) for shown in (restored, avif)]
        assert [float(text) for text in here.cells(name)] == pytest.approx(expected, abs=1.1 * 10**-places)
    bpp = [size * 8 / detail[..., 0].size for size in sizes]
    assert [float(text) for text in here.cells("bpp")] == pytest.approx(bpp, abs=0.005)


def test_the_left_side_shows_the_original_or_the_avif(here: Visit, photo: bytes) -> None:
    here.choose("rock.png", photo)
    here.wait()
    handle, tag = here.page.locator("#handle"), here.page.locator("#tag-before")
    handle.press("End")
    original = here.look()
    here.page.get_by_label("AVIF at equal bytes").check(force=True)
    here.page.evaluate("() => document.querySelector('#before img').decode()")
    assert re.fullmatch(r"AVIF, \d+ kB", tag.inner_text())
    avif = here.look()
    assert 0.3 < np.abs(avif - original).mean() < 10
    # A new quality: the original is shown until there is an AVIF of as many bytes.
    held: list[Any] = []
    here.page.route("**/page/compare*", lambda route: held.append(route))
    with here.page.expect_request("**/page/compare*"):
        here.page.locator("#quality").fill("20")
    assert tag.inner_text().startswith("AVIF")
    held.pop().continue_()
    here.wait()
    assert tag.inner_text().startswith("AVIF")
    here.page.evaluate("() => document.querySelector('#before img').decode()")
    assert np.abs(here.look() - avif).mean() > 0.5
    here.page.get_by_label("Original").check(force=True)
    assert tag.inner_text() == "Original"
    here.page.evaluate("() => document.querySelector('#before img').decode()")
    assert np.abs(here.look() - original).max() <= 2


def test_the_rate_map_lies_over_the_picture(here: Visit, container: Container) -> None:
    here.choose("kept.bbmr", container.to_bytes())
    expect(here.page.locator("#status")).to_have_text(DONE, timeout=60_000)
    plain = here.look()
    button = here.page.get_by_role("button", name="Rate map")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    drawn = here.page.locator("#tint").evaluate(
        "c => [c.width, c.height, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]"
    )
    colours = np.array(drawn[2]).reshape(drawn[1], drawn[0], 4)[..., :3]
    expected = [[RATE_COLOURS[int(rate)] for rate in row] for row in container.rate_map]
    assert np.array_equal(colours, np.array(expected))
    legend = here.page.locator("#legend li").all_inner_texts()
    for rate, text in zip(RATES, legend, strict=True):
        assert re.search(rf"Rate {rate}\b", text)
        assert re.search(rf"\b{np.count_nonzero(container.rate_map == rate)} block", text)
    assert np.abs(here.look() - plain).mean() > 10
    button.click()
    assert here.page.locator("#legend").is_hidden()
    assert np.abs(here.look() - plain).max() <= 2
    used = np.unique(container.rate_map).tolist()
    words = f"Its blocks have the rates {', '.join(map(str, used[:-1]))} and {used[-1]}"
    assert words in here.page.locator("#remarks").inner_text()


@pytest.mark.parametrize(("quality", "words"), [(80, "rate 1: every pixel"), (2, "one pixel in ")])
def test_one_rate_for_all_blocks_is_said_in_words(here: Visit, quality: int, words: str) -> None:
    out = io.BytesIO()
    ramp = np.add.outer(np.arange(256), np.arange(256)) // 2
    Image.fromarray(ramp.astype(np.uint8)).save(out, "PNG")
    here.choose("ramp.png", out.getvalue())
    here.wait()
    here.page.locator("#quality").fill(str(quality))
    expect(here.page.locator("#tag-after")).to_have_text(f"bbmr, quality {quality}", timeout=60_000)
    here.wait()
    assert here.page.locator("#overlay").is_hidden()
    assert words in here.page.locator("#remarks").inner_text()


def test_the_slider_sends_one_request_once_it_rests(here: Visit, photo: bytes) -> None:
    here.choose("rock.png", photo)
    here.wait()
    first = here.cells("bytes")[0]
    slider, value = here.page.locator("#quality"), here.page.locator("#quality-value")
    size = f"{int(first.replace(',', '')) / 1000:.0f} kB"
    assert value.inner_text() == f"{DEFAULT_QUALITY} · {size}"
    for quality in ("50", "30", "10"):
        slider.fill(quality)
    assert value.inner_text() == "10"  # its bytes are not known yet
    expect(here.page.locator("#tag-after")).to_have_text("bbmr, quality 10", timeout=60_000)
    here.wait()
    assert int(here.cells("bytes")[0].replace(",", "")) < int(first.replace(",", "")) / 3
    assert re.fullmatch(r"10, \d+ kB", slider.get_attribute("aria-valuetext"))
    assert here.asked("/page/compare") == 2  # not one for each step of the slider
    # A quality that was shown before is not computed again.
    slider.fill(str(DEFAULT_QUALITY))
    expect(here.page.locator("#tag-after")).to_have_text(f"bbmr, quality {DEFAULT_QUALITY}")
    here.wait()
    assert here.cells("bytes")[0] == first
    assert here.asked("/page/compare") == 2
    assert here.asked("/encode") == here.asked("/reconstruct") == here.asked("/page/facts") == 0


def test_zoom_and_pan(here: Visit, photo: bytes) -> None:
    here.choose("rock.png", photo)
    here.wait()
    stage, zoom = here.page.locator("#stage"), here.page.locator("#zoom")
    fitted, whole = zoom.inner_text(), here.look()
    box = stage.bounding_box()
    here.page.mouse.move(box["x"] + 100, box["y"] + 100)
    here.page.mouse.wheel(0, -400)
    assert int(zoom.inner_text().split()[0]) > int(fitted.split()[0])
    zoomed = here.look()
    here.page.mouse.down()
    here.page.mouse.move(box["x"] + 40, box["y"] + 60, steps=3)
    here.page.mouse.up()
    assert np.abs(here.look() - zoomed).mean() > 1
    here.page.get_by_role("button", name="Fit").click()
    assert zoom.inner_text() == fitted
    assert np.abs(here.look() - whole).max() <= 2
    here.page.locator("#actual").click()
    assert zoom.inner_text() == "100 %"


def test_a_dropped_container_is_shown(here: Visit, container: Container) -> None:
    handed = here.page.evaluate_handle(
        """bytes => {
            const all = new DataTransfer();
            all.items.add(new File([new Uint8Array(bytes)], "kept.bbmr"));
            return all;
        }""",
        list(container.to_bytes()),
    )
    here.page.dispatch_event("body", "dragenter", {"dataTransfer": handed})
    assert here.page.locator("#veil").is_visible()
    here.page.dispatch_event("body", "drop", {"dataTransfer": handed})
    assert here.page.locator("#veil").is_hidden()
    expect(here.page.locator("#status")).to_have_text(DONE, timeout=60_000)
    assert here.page.locator("#tag-before").inner_text() == "Without the network"
    for part in ("#quality", "#left", "#table"):
        assert here.page.locator(part).is_hidden()
    handle = here.page.locator("#handle")
    handle.press("End")
    composite = here.look()
    handle.press("Home")
    assert np.abs(here.look() - composite).mean() > 0.1
    assert here.asked("/page/compare") == 0


def test_a_format_that_browsers_do_not_know(here: Visit, detail: np.ndarray) -> None:
    out = io.BytesIO()
    Image.fromarray(detail).save(out, "TIFF")
    here.choose("scan.tif", out.getvalue())
    here.wait()
    assert here.asked("/page/photo") == 1
    here.page.locator("#handle").press("End")
    assert here.look().std() > 20


def test_the_dragging_hint_appears_with_the_border(here: Visit, photo: bytes) -> None:
    held: list[Any] = []
    here.page.route("**/page/compare*", lambda route: held.append(route))
    with here.page.expect_request("**/page/compare*"):
        here.choose("rock.png", photo)
    assert here.page.locator("#tag-before").is_visible()
    assert here.page.locator("#keys").is_hidden()
    held.pop().continue_()
    here.wait()
    assert here.page.locator("#keys").is_visible()


def test_networks_are_asked_for_once(here: Visit, photo: bytes) -> None:
    for _ in range(2):
        with here.page.expect_response("**/page/compare*"):
            here.choose("rock.png", photo)
        here.wait()
    assert here.asked("/page/compare") == 2
    assert here.asked("/models") == here.asked("/page/limits") == 1


def test_everything_works_by_keyboard(here: Visit) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(30):
            here.page.keyboard.press("Tab")
            if here.page.evaluate("s => document.activeElement.matches(s)", selector):
                outline = here.page.evaluate(
                    """() => [document.activeElement, ...document.activeElement.children,
                        document.activeElement.nextElementSibling].filter(Boolean)
                        .some(e => getComputedStyle(e).outlineStyle !== 'none')"""
                )
                assert outline, f"{selector} does not show the focus"
                return
        raise AssertionError(f"{selector} cannot be reached")

    tab_to("[data-choose]")
    tab_to("[data-sample$='ridge.jpg']")
    here.page.keyboard.press("Enter")
    here.wait()
    tab_to("#left-original")
    here.page.keyboard.press("ArrowRight")
    assert here.page.locator("#left-avif").is_checked()
    assert here.page.locator("#tag-before").inner_text().startswith("AVIF, ")
    zoom = here.page.locator("#zoom")
    fitted = zoom.inner_text()
    tab_to("#stage")
    here.page.keyboard.press("+")
    assert zoom.inner_text() != fitted
    zoomed = here.look()
    here.page.keyboard.press("ArrowRight")
    assert np.abs(here.look() - zoomed).max() > 0
    here.page.keyboard.press("0")
    assert zoom.inner_text() == fitted
    tab_to("#handle")
    here.page.keyboard.press("ArrowRight")
    assert here.page.get_by_role("slider", name="Border").get_attribute("aria-valuenow") == "52"
    tab_to("#quality")
    with here.page.expect_request(lambda request: "/page/compare?quality=0" in request.url):
        here.page.keyboard.press("Home")
        assert here.page.locator("#quality").get_attribute("aria-valuetext") == "0"
    here.wait()
    tab_to("#picture")


def test_a_phone_shows_it_without_scrolling_sideways(phone: Visit, photo: bytes) -> None:
    assert phone.sideways() <= 0
    phone.page.get_by_role("button", name="The ridge").tap()
    phone.wait()
    phone.page.locator("label", has_text="AVIF at equal bytes").tap()
    assert phone.page.locator("#tag-before").inner_text().startswith("AVIF, ")
    phone.page.locator("summary").tap()
    assert phone.sideways() <= 0
    phone.page.locator("#name").scroll_into_view_if_needed()
    box = phone.page.locator("#stage").bounding_box()
    phone.page.touchscreen.tap(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    assert phone.page.locator("#handle").get_attribute("aria-valuenow") == "25"
    # Two fingers zoom the picture, and not the page.
    zoom = phone.page.locator("#zoom")
    fitted = int(zoom.inner_text().split()[0])
    fingers = phone.page.context.new_cdp_session(phone.page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for kind, apart in (("touchStart", 30), ("touchMove", 60), ("touchMove", 90), ("touchEnd", 0)):
        points = [{"x": x - apart, "y": y, "id": 1}, {"x": x + apart, "y": y, "id": 2}] if apart else []
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert 2 * fitted < int(zoom.inner_text().split()[0]) < 4 * fitted + 4
    assert phone.page.evaluate("visualViewport.scale") == 1
    small = phone.page.evaluate(
        """() => [...document.querySelectorAll("button, select, .button, .choice label")]
            .filter(e => e.offsetParent && Math.min(e.offsetWidth, e.offsetHeight) < 36).map(e => e.outerHTML)"""
    )
    assert small == []  # large enough for a finger
    phone.refusals = True
    phone.choose("a-name-without-a-space-that-is-longer-than-the-screen-is-wide.png", b"\x89PNG\r\n\x1a\n")
    phone.page.get_by_role("alert").wait_for()
    assert phone.sideways() <= 0


def test_a_second_network_can_be_chosen(here: Visit, url: str, photo: bytes) -> None:
    models = httpx.get(f"{url}/models").json()
    models["models"].append({**models["models"][0], "name": "other"})
    here.page.route("**/models", lambda route: route.fulfill(json=models))
    here.choose("rock.png", photo)
    here.wait()
    here.refusals = True  # the server has only one network
    here.page.get_by_label("Network").select_option("other")
    here.page.locator("#problem-text").get_by_text("other").wait_for()
    assert (
        here.page.get_by_label("Network").input_value() == "light"
    )  # the network that made the picture on the screen
    here.page.get_by_label("Network").select_option("light")
    here.wait()
    assert here.page.get_by_role("alert").is_hidden()
