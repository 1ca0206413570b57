"""The page in a real browser, over a real server with the shipped weights: what a visitor does, and what goes wrong."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from bbmr_client.encoder import encode
from bbmr_client.server_process import running_server
from bbmr_client.view import RATE_COLOURS
from bbmr_shared.container import MEDIA_TYPE, Container
from bbmr_shared.grid import RATES
from bbmr_shared.metrics import psnr_rgb

from .browser import chromium, missing

if missing() is None:
    from playwright.sync_api import expect

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
DONE = re.compile(r"Restored by light")
MEASURED = re.compile(r"^(AVIF wins|With as many bytes|AVIF cannot)")
PROBLEM = {"content-type": "application/problem+json"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_server({"BBMR_DEVICE": "cpu"}) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@dataclass
class Visit:
    """One visit of the page. `refusals`: whether answers of 400 and above are expected."""

    page: Any
    refusals: bool = False
    errors: list[str] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)

    def asked(self, path: str) -> int:
        return sum(urlsplit(request.url).path == path for request in self.requests)

    def choose(self, name: str, data: bytes) -> None:
        self.page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": data})

    def wait(self) -> None:
        """Until the picture is there and measured."""
        expect(self.page.locator("#status")).to_have_text(DONE, timeout=60_000)
        expect(self.page.locator("#verdict p").first).to_have_text(MEASURED, timeout=60_000)
        expect(self.page.locator("#working")).to_be_hidden(timeout=60_000)

    def look(self) -> np.ndarray:
        """What the stage shows, as RGB, without what lies over the pictures."""
        show = (
            "value => { for (const e of document.querySelectorAll('#handle, .tag')) e.style.opacity = value }"
        )
        self.page.evaluate(show, "0")  # the page's policy lets no style sheet in
        shot = self.page.locator("#stage").screenshot(caret="initial")
        self.page.evaluate(show, "1")
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)

    def sideways(self) -> int:
        """By how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")


def visit(browser: Any, url: str, **options: Any) -> Iterator[Visit]:
    context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
    here = Visit(context.new_page())
    here.page.on("request", lambda request: here.requests.append(request))
    here.page.on("pageerror", lambda error: here.errors.append(str(error)))

    def hear(message: Any) -> None:
        refused = here.refusals and message.text.startswith("Failed to load resource")
        if message.type in ("error", "warning") and not refused:
            here.errors.append(message.text)

    here.page.on("console", hear)
    here.page.goto(url)
    yield here
    hosts = {urlsplit(request.url).netloc for request in here.requests if not request.url.startswith("blob:")}
    context.close()
    assert here.errors == []
    assert hosts == {urlsplit(url).netloc}


@pytest.fixture
def here(browser: Any, url: str) -> Iterator[Visit]:
    """A visit at the size of a desktop; afterwards: no error in the console, no request to another host."""
    yield from visit(browser, url)


@pytest.fixture
def phone(browser: Any, url: str) -> Iterator[Visit]:
    """A visit at the size of a small phone, with touch."""
    yield from visit(browser, url, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)


@pytest.fixture(scope="module")
def photo(detail: np.ndarray) -> bytes:
    """420×300 pixels of sky, rock and snow as PNG."""
    out = io.BytesIO()
    Image.fromarray(detail).save(out, "PNG")
    return out.getvalue()


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
    # The mouse moves it, too.
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


def test_a_photo_chosen_meanwhile_is_the_one_that_is_shown(here: Visit, photo: bytes) -> None:
    small = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(small, "PNG")
    # The browser takes its time over the first photo.
    here.page.evaluate(
        """() => {
            const decode = HTMLImageElement.prototype.decode;
            const gate = new Promise((open) => (window.openGate = open));
            window.held = new Promise((hold) => {
                HTMLImageElement.prototype.decode = async function () {
                    HTMLImageElement.prototype.decode = decode;
                    hold();
                    await gate;
                    return decode.call(this);
                };
            });
        }"""
    )
    here.choose("small.png", small.getvalue())
    here.page.evaluate("() => held")
    here.choose("rock.png", photo)
    here.wait()
    here.page.locator("#handle").press("End")
    before = here.look()
    here.page.evaluate("() => { openGate(); return new Promise((done) => setTimeout(done, 200)); }")
    assert here.page.locator("#name").inner_text() == "rock.png · 420 × 300"
    assert np.abs(here.look() - before).mean() < 0.1
    assert here.asked("/encode") == 1


def test_the_figures_are_true(here: Visit, url: str, photo: bytes, detail: np.ndarray) -> None:
    here.choose("rock.png", photo)
    here.wait()
    container = encode(photo, rate=3, metadata="icc", model="light").to_bytes()
    answer = httpx.post(
        f"{url}/reconstruct", content=container, headers={"Content-Type": MEDIA_TYPE}, timeout=60
    )
    with Image.open(io.BytesIO(answer.content)) as picture:
        psnr = psnr_rgb(detail, np.asarray(picture.convert("RGB")))
    row = here.page.locator("#rows tr.ours td").all_inner_texts()
    assert int(row[0].replace(",", "")) == len(container)
    assert float(row[1]) == pytest.approx(len(container) * 8 / detail[..., 0].size, abs=0.005)
    assert float(row[2]) == pytest.approx(psnr, abs=0.011)
    # What it says about AVIF follows from the table.
    avif = here.page.locator("#rows tr").nth(1)
    assert "AVIF" in avif.locator("th").inner_text()
    theirs = float(avif.locator("td").nth(2).inner_text())
    words = here.page.locator("#verdict").inner_text()
    assert (theirs > psnr + 0.06) == ("AVIF wins" in words)
    # The file is what the client would make.
    with here.page.expect_download() as download:
        here.page.locator("#download").click()
    assert download.value.suggested_filename == "rock.bbmr"
    assert Path(download.value.path()).read_bytes() == container


def test_the_rate_map_lies_over_the_picture(here: Visit, photo: bytes) -> None:
    here.choose("rock.png", photo)
    here.wait()
    plain = here.look()
    button = here.page.get_by_role("button", name="Rate map")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    container = encode(photo, rate=3, metadata="icc", model="light")
    drawn = here.page.locator("#map canvas").evaluate(
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


def test_the_budget_changes_the_file_once_it_rests(here: Visit, photo: bytes) -> None:
    here.choose("rock.png", photo)
    here.wait()
    size = here.page.locator("#rows tr.ours td").first
    first = int(size.inner_text().replace(",", ""))
    for value in ("6", "8", "9"):
        here.page.locator("#rate").fill(value)
    assert here.page.locator("#rate").get_attribute("aria-valuetext") == "12, 1/144 of the pixels"
    expect(size).not_to_have_text(f"{first:,}", timeout=60_000)
    here.wait()
    assert int(size.inner_text().replace(",", "")) < first / 3
    assert here.asked("/encode") == 2  # not one for each step of the slider


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
    assert here.page.locator("#rate").is_hidden()
    handle = here.page.locator("#handle")
    handle.press("End")
    composite = here.look()
    handle.press("Home")
    assert np.abs(here.look() - composite).mean() > 0.1
    assert here.asked("/encode") == here.asked("/page/compare") == 0


def test_a_format_that_browsers_do_not_know(here: Visit, detail: np.ndarray) -> None:
    out = io.BytesIO()
    Image.fromarray(detail).save(out, "TIFF")
    here.choose("scan.tif", out.getvalue())
    here.wait()
    assert here.asked("/page/photo") == 1
    here.page.locator("#handle").press("End")
    assert here.look().std() > 20


@pytest.mark.parametrize(
    ("name", "mime", "data", "words"),
    [
        ("torn.jpg", "image/jpeg", b"\xff\xd8\xff\xe0 and no more", r"This photo cannot be read\W+.*damaged"),
        ("empty.png", "image/png", b"", "0 bytes"),
        ("paper.pdf", "application/pdf", b"%PDF-1.7", "no photo"),
        ("paper.dat", "", b"%PDF-1.7", r"This photo cannot be read\W+.*PDF"),
        ("torn.bbmr", "", b"\x8bBBM\r\n\x1a\n and no more", r"This \.bbmr file cannot be read\W+.*ends"),
    ],
)
def test_what_cannot_be_shown_is_said_in_words(
    here: Visit, photo: bytes, name: str, mime: str, data: bytes, words: str
) -> None:
    here.refusals = True
    here.page.set_input_files("#file", {"name": name, "mimeType": mime, "buffer": data})
    alert = here.page.get_by_role("alert")
    alert.wait_for()
    assert re.search(words, alert.inner_text())
    assert name in alert.inner_text()
    assert "body" not in alert.inner_text()
    assert here.page.locator("#work").is_hidden()
    if name == "torn.jpg":
        here.choose("rock.png", photo)
        here.wait()
        assert alert.is_hidden()


def fulfil(route: Any, *, body: str) -> None:
    route.fulfill(body=body, content_type="application/json")


def limit(here: Visit, url: str, **less: int) -> None:
    """Let the page believe that the server takes no more."""
    limits = httpx.get(f"{url}/page/limits").json()
    here.page.unroute_all()
    here.page.route("**/page/limits", partial(fulfil, body=json.dumps(limits | less)))
    here.page.reload()


def test_a_refused_file_takes_no_finished_work_away(here: Visit, photo: bytes, detail: np.ndarray) -> None:
    here.choose("rock.png", photo)
    here.wait()
    with here.page.expect_response("**/page/compare*"):
        here.page.locator("#rate").fill("6")
    here.wait()
    here.page.locator("#rate").evaluate("e => e.blur()")
    shown, figures = here.look(), here.page.locator("#work").inner_text()
    out = io.BytesIO()
    Image.fromarray(detail[:200]).save(out, "JPEG")
    here.refusals = True
    refused = [
        ("paper.pdf", "application/pdf", b"%PDF-1.7", "This is no photo"),
        ("torn.bbmr", "", b"\x8bBBM\r\n\x1a\n and no more", "This .bbmr file cannot be read"),
        (
            "cut.jpg",
            "image/jpeg",
            out.getvalue()[:-500],
            "This photo cannot be read",
        ),  # Chromium shows a part
    ]
    for name, mime, data, words in refused:
        here.page.set_input_files("#file", {"name": name, "mimeType": mime, "buffer": data})
        here.page.get_by_role("alert").get_by_text(words).wait_for()
        told = here.page.get_by_role("alert").inner_text()
        assert name in told
        assert "processed" not in told
        expect(here.page.locator("#work")).to_have_text(figures, use_inner_text=True)
        expect(here.page.locator("#handle")).to_be_visible()
        assert np.abs(here.look() - shown).mean() < 4  # it may lie on other parts of the screen's pixels
        with here.page.expect_download() as download:
            here.page.locator("#download").click()
        assert download.value.suggested_filename == "rock.bbmr"
        expected = encode(photo, rate=5, metadata="icc", model="light").to_bytes()
        assert Path(download.value.path()).read_bytes() == expected
    # And the slider is about the photo that is shown.
    here.page.locator("#rate").fill("7")
    size = len(encode(photo, rate=6, metadata="icc", model="light").to_bytes())
    expect(here.page.locator("#rows tr.ours td").first).to_have_text(f"{size:,}", timeout=60_000)
    assert here.page.get_by_role("alert").is_hidden()
    assert here.page.locator("#name").inner_text() == "rock.png · 420 × 300"


def test_a_photo_that_only_the_browser_can_read_is_not_worked_on(here: Visit, detail: np.ndarray) -> None:
    out = io.BytesIO()
    Image.fromarray(detail).save(out, "JPEG")
    here.refusals = True
    here.choose("cut.jpg", out.getvalue()[:-500])
    here.page.get_by_role("alert").get_by_text("cut.jpg: The photo is damaged or cut short.").wait_for()
    assert here.page.locator("#welcome").is_visible()
    assert here.page.locator("#work").is_hidden()


def test_a_folder_is_refused_in_words(here: Visit) -> None:
    here.page.evaluate(
        """() => {
            const file = new File(["x"], "holiday");
            file.slice = () => ({ arrayBuffer: () => Promise.reject(new DOMException("gone", "NotFoundError")) });
            const event = new Event("drop", { bubbles: true });
            event.dataTransfer = { files: [file], types: ["Files"] };
            document.body.dispatchEvent(event);
        }"""
    )
    here.page.get_by_role("alert").get_by_text("holiday is a folder").wait_for()


def test_a_setting_that_is_refused_leaves_what_is_shown(here: Visit, url: str, detail: np.ndarray) -> None:
    out = io.BytesIO()
    Image.fromarray(detail).save(out, "JPEG", quality=50)
    photo = out.getvalue()
    sizes = {rate: len(encode(photo, rate=rate, metadata="icc").to_bytes()) for rate in (1, 2, 3)}
    most = (sizes[2] + len(photo)) - 1
    assert sizes[3] + len(photo) <= most < sizes[1]
    limit(here, url, max_body_bytes=most)
    here.choose("rock.jpg", photo)
    here.wait()
    slider, verdict = here.page.locator("#rate"), here.page.locator("#verdict")
    # Rate 2: shown and not measured, so nothing is said of the figures of rate 3.
    slider.fill("2")
    size = here.page.locator("#rows tr.ours td").first
    expect(size).to_have_text(f"{sizes[2]:,}", timeout=60_000)
    expect(verdict).to_have_text(re.compile(r"^Not measured\. Photo and container together have \d+ kB"))
    expect(here.page.locator("#working")).to_be_hidden()
    # Rate 1: not even shown; everything is about rate 2 again.
    before = here.page.locator("#work").inner_text()
    slider.fill("0")
    alert = here.page.get_by_role("alert")
    words = r"At rate 1 the container has \d+ kB; this server takes at most \d+ kB\. Choose fewer pixels\."
    alert.get_by_text(re.compile(words)).wait_for()
    assert slider.input_value() == "2"
    assert slider.get_attribute("aria-valuetext") == "2, 1/4 of the pixels"
    assert here.page.locator("#work").inner_text() == before
    # Rate 3 fits, as before.
    slider.fill("4")
    here.wait()
    assert alert.is_hidden()
    assert size.inner_text() == f"{sizes[3]:,}"


def test_the_first_setting_is_refused_and_the_photo_stays(here: Visit, url: str, photo: bytes) -> None:
    out = io.BytesIO()
    Image.open(io.BytesIO(photo)).save(out, "JPEG", quality=10)
    sizes = {rate: len(encode(out.getvalue(), rate=rate, metadata="icc").to_bytes()) for rate in (3, 12)}
    most = sizes[3] - 1
    assert max(sizes[12], len(out.getvalue())) < most
    limit(here, url, max_body_bytes=most)
    here.choose("rock.jpg", out.getvalue())
    here.page.get_by_role("alert").get_by_text("Choose fewer pixels").wait_for()
    assert here.page.locator("#rate").input_value() == "4"
    assert here.page.locator("#tag-before").is_visible()
    here.page.locator("#rate").fill("9")
    expect(here.page.locator("#status")).to_have_text(DONE, timeout=60_000)
    assert here.page.get_by_role("alert").is_hidden()


def test_figures_that_could_not_be_measured_are_not_those_of_before(here: Visit, photo: bytes) -> None:
    here.choose("rock.png", photo)
    here.wait()
    here.refusals = True
    problem = {"type": "urn:bbmr:problem:deadline", "title": "Not finished in time", "detail": "too late"}
    here.page.route(
        "**/page/compare*", lambda route: route.fulfill(status=504, headers=PROBLEM, body=json.dumps(problem))
    )
    here.page.locator("#rate").fill("9")
    here.page.get_by_role("alert").get_by_text("This took too long").wait_for()
    assert here.page.locator("#verdict").inner_text() == "Not measured."
    assert here.page.locator("#rate").input_value() == "9"
    expect(here.page.locator("#status")).to_have_text(DONE)
    here.page.unroute_all()
    here.page.get_by_role("button", name="Try again").click()
    here.wait()


def test_the_hint_about_dragging_waits_for_the_border(here: Visit, photo: bytes) -> None:
    held: list[Any] = []
    here.page.route("**/reconstruct*", lambda route: held.append(route))
    with here.page.expect_request("**/reconstruct*"):
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
    assert here.asked("/encode") == 2
    assert here.asked("/models") == here.asked("/page/limits") == 1


def test_what_is_too_large_is_not_sent(here: Visit, photo: bytes, url: str) -> None:
    for less in ({"max_body_bytes": len(photo) - 1}, {"max_photo_pixels": 420 * 300 - 1}):
        limit(here, url, **less)
        here.choose("rock.png", photo)
        here.page.get_by_role("alert").get_by_text("at most").wait_for()
    assert here.asked("/encode") == here.asked("/page/photo") == 0


@pytest.mark.parametrize(
    ("status", "slug", "words"),
    [
        (429, "queue-full", "The server is busy."),
        (429, "rate-limited", "This server takes only so many requests in a minute."),
        (503, "not-ready", "The server is starting."),
    ],
)
def test_a_full_server_is_asked_again(here: Visit, photo: bytes, status: int, slug: str, words: str) -> None:
    here.refusals = True
    refused = []

    def refuse(route: Any) -> None:
        if refused:
            route.continue_()
            return
        refused.append(route)
        body = json.dumps({"type": f"urn:bbmr:problem:{slug}"})
        route.fulfill(status=status, headers=PROBLEM | {"Retry-After": "1"}, body=body)

    here.page.route("**/encode*", refuse)
    here.choose("rock.png", photo)
    here.page.get_by_text(f"{words} Trying again in 1 s").wait_for()
    here.wait()


def test_without_a_connection_it_can_be_tried_again(here: Visit, photo: bytes) -> None:
    here.refusals = True
    here.page.route("**/encode*", lambda route: route.abort("connectionrefused"))
    here.choose("rock.png", photo)
    here.page.get_by_role("alert").get_by_text("cannot be reached").wait_for()
    here.page.unroute_all()
    here.page.get_by_role("button", name="Try again").click()
    here.wait()
    # What is tried again is what was refused, though the slider went back to what is shown.
    here.page.route("**/encode*", lambda route: route.abort("connectionrefused"))
    here.page.locator("#rate").fill("6")
    here.page.get_by_role("alert").get_by_text("cannot be reached").wait_for()
    assert here.page.locator("#rate").input_value() == "4"
    here.page.unroute_all()
    with here.page.expect_request(lambda request: "/encode?rate=5&" in request.url):
        here.page.get_by_role("button", name="Try again").click()
    assert here.page.locator("#rate").input_value() == "6"
    here.wait()


def test_the_key_is_asked_for_and_kept_in_the_tab(here: Visit, photo: bytes) -> None:
    here.refusals = True
    sent = []

    def guard(route: Any) -> None:
        sent.append(route.request.headers.get("authorization"))
        if sent[-1] != "Bearer open-sesame":
            body = json.dumps({"title": "An API key is needed", "detail": "this server wants an API key"})
            route.fulfill(status=401 if sent[-1] is None else 403, headers=PROBLEM, body=body)
        else:
            route.continue_()

    for path in ("models", "encode*", "reconstruct*"):
        here.page.route(f"**/{path}", guard)
    here.choose("rock.png", photo)
    field = here.page.get_by_label("API key", exact=True)
    for key in ("wrong", "open-sesame"):
        field.wait_for()
        field.fill(key)
        field.press("Enter")
    here.wait()
    assert sent[:3] == [None, "Bearer wrong", "Bearer open-sesame"]
    assert here.page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_it_all_works_by_keyboard(here: Visit) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(30):
            here.page.keyboard.press("Tab")
            if here.page.evaluate("s => document.activeElement.matches(s)", selector):
                outline = here.page.evaluate(
                    """() => [document.activeElement, ...document.activeElement.children]
                        .some(e => getComputedStyle(e).outlineStyle !== 'none')"""
                )
                assert outline, f"{selector} does not show that it has the focus"
                return
        raise AssertionError(f"{selector} cannot be reached")

    tab_to("[data-choose]")
    tab_to("[data-sample$='ridge.jpg']")
    here.page.keyboard.press("Enter")
    here.wait()
    tab_to("#overlay")
    here.page.keyboard.press("Space")
    assert here.page.locator("#legend").is_visible()
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
    tab_to("#rate")
    with here.page.expect_request(lambda request: "/encode?rate=16&" in request.url):
        here.page.keyboard.press("End")
        assert here.page.locator("#rate").get_attribute("aria-valuetext").startswith("16,")
    here.wait()
    tab_to("#picture")


def test_a_phone_shows_it_without_scrolling_sideways(phone: Visit, photo: bytes) -> None:
    assert phone.sideways() <= 0
    phone.page.get_by_role("button", name="The ridge").tap()
    phone.wait()
    phone.page.get_by_role("button", name="Rate map").tap()
    assert phone.sideways() <= 0
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
        """() => [...document.querySelectorAll("button, select, .button")]
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
    here.refusals = True  # the server itself has only one
    here.page.get_by_label("Network").select_option("other")
    here.page.locator("#problem-text").get_by_text("other").wait_for()
    assert here.page.get_by_label("Network").input_value() == "light"  # which made what is shown
    here.page.get_by_label("Network").select_option("light")
    here.wait()
    assert here.page.get_by_role("alert").is_hidden()
