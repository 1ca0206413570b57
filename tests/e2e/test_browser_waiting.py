"""The page in a real browser while work is under way: status, old results, cancelling, retries."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .browser import DONE, GATE, Visit, missing

if missing() is None:
    from playwright.sync_api import expect

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
OLD = re.compile(r"\bstale\b")
FULL = {"part": "problem", "status": 429, "type": "urn:bbmr:problem:queue-full", "retry_after": 1}
WATCH = """() => {
    window.said = [];
    new MutationObserver(() => said.push(document.querySelector("#status").textContent))
        .observe(document.querySelector("#status"), { childList: true, characterData: true, subtree: true });
}"""


def hold(here: Visit, path: str) -> list[Any]:
    """Holds requests to `path`. Returns the list in which they wait."""
    held: list[Any] = []
    here.page.route(path, lambda route: held.append(route))
    return held


def release(here: Visit, held: list[Any]) -> None:
    for route in held:
        route.continue_()
    here.page.unroute_all()


@pytest.fixture(scope="module")
def small(detail: np.ndarray) -> bytes:
    """Another photo, of 200×120 pixels."""
    out = io.BytesIO()
    Image.fromarray(detail[:120, :200]).save(out, "PNG")
    return out.getvalue()


def test_old_results_are_marked_while_new_work_runs(here: Visit, photo: bytes) -> None:
    here.choose("rock.png", photo)
    here.wait()
    numbers, take, download = (here.page.locator(name) for name in ("#numbers", "#take", "#download"))
    tag, status, elapsed = (here.page.locator(name) for name in ("#tag-after", "#status", "#elapsed"))
    plain = download.evaluate("e => [getComputedStyle(e).opacity, getComputedStyle(e).backgroundColor]")
    assert tag.inner_text() == "bbmr, quality 65"
    held = hold(here, "**/page/compare*")
    with here.page.expect_request("**/page/compare*"):
        here.page.locator("#quality").fill("10")
        for part in (numbers, take):  # at once, before the first request
            assert OLD.search(part.get_attribute("class"))
            assert part.get_attribute("aria-busy") == "true"
        assert here.asked("/page/compare") == 1
    expect(status).to_have_text("Encoding at quality 10 …")
    assert tag.inner_text() == "bbmr, quality 65"
    assert "(quality 65, " in download.inner_text()
    dimmed = download.evaluate("e => [getComputedStyle(e).opacity, getComputedStyle(e).backgroundColor]")
    assert float(dimmed[0]) < float(plain[0])
    assert dimmed[1] != plain[1]
    # Seconds are shown, and not read aloud.
    here.page.evaluate(WATCH)
    expect(elapsed).to_have_text(re.compile(r"^[3-9] s$"), timeout=20_000)
    assert elapsed.get_attribute("aria-hidden") == "true"
    assert not elapsed.evaluate("e => e.closest('[aria-live]')")
    assert here.page.evaluate("said") == []
    release(here, held)
    here.wait()
    assert tag.inner_text() == "bbmr, quality 10"
    assert "(quality 10, " in download.inner_text()
    assert elapsed.inner_text() == ""
    for part in (numbers, take):
        assert not OLD.search(part.get_attribute("class") or "")
        assert part.get_attribute("aria-busy") == "false"


def test_cancelling_goes_back_to_the_last_result(here: Visit, photo: bytes, small: bytes) -> None:
    here.choose("rock.png", photo)
    here.wait()
    before = here.page.locator("#work").inner_text()
    cancel = here.page.get_by_role("button", name="Cancel")
    assert cancel.is_hidden()
    held = hold(here, "**/page/compare*")
    for begin in (lambda: here.page.locator("#quality").fill("30"), lambda: here.choose("small.png", small)):
        with here.page.expect_request("**/page/compare*"):
            begin()
        with here.page.expect_event("requestfailed"):  # the request is aborted
            cancel.click()
        expect(here.page.locator("#work")).to_have_text(before, use_inner_text=True)
        assert here.page.locator("#quality").input_value() == "65"
        assert not OLD.search(here.page.locator("#numbers").get_attribute("class"))
        assert here.page.evaluate("document.activeElement.id") == "stage"
        assert here.page.get_by_role("alert").is_hidden()
        expect(here.page.locator("#handle")).to_be_visible()
    assert len(held) == 2
    here.page.unroute_all()
    here.page.locator("#quality").fill("30")  # the page still works
    expect(here.page.locator("#tag-after")).to_have_text("bbmr, quality 30", timeout=60_000)
    here.wait()


def test_cancelled_work_leaves_no_picture_behind(here: Visit, photo: bytes) -> None:
    here.choose("rock.png", photo)
    here.wait()
    here.page.locator("#handle").press("Home")
    before = here.look()
    here.page.evaluate(GATE)
    here.page.locator("#quality").fill("0")
    here.page.evaluate("() => held")  # its picture has arrived and is not decoded yet
    here.page.get_by_role("button", name="Cancel").click()
    here.page.evaluate("() => { openGate(); return new Promise((done) => setTimeout(done, 300)); }")
    assert here.page.locator("#tag-after").inner_text() == "bbmr, quality 65"
    assert np.abs(here.look() - before).mean() < 0.1


def test_cancelling_the_first_photo_goes_back_to_the_start(here: Visit, photo: bytes) -> None:
    hold(here, "**/page/compare*")
    with here.page.expect_request("**/page/compare*"):
        here.choose("rock.png", photo)
    here.page.get_by_role("button", name="Cancel").press("Enter")
    assert here.page.locator("#welcome").is_visible()
    assert here.page.locator("#work").is_hidden()
    assert here.page.evaluate("document.activeElement.textContent") == "Choose a photo"
    here.page.unroute_all()
    here.choose("rock.png", photo)
    here.wait()


def test_waiting_for_a_full_server_shows_seconds_and_is_announced_once(here: Visit, photo: bytes) -> None:
    here.refusals = True
    answers = [{"status": 429, "headers": {"Retry-After": "3"}, "body": "{}"}]
    here.page.route(
        "**/page/compare*", lambda route: route.fulfill(**answers.pop()) if answers else route.continue_()
    )
    here.page.evaluate(WATCH)
    here.choose("rock.png", photo)
    expect(here.page.locator("#elapsed")).to_have_text("2 s left", timeout=20_000)
    assert here.page.locator("#status").inner_text() == "The server is busy. Trying again in 3 s …"
    here.wait()
    said = here.page.evaluate("said")
    assert said.count("The server is busy. Trying again in 3 s …") == 1
    assert said.count("Trying again …") == 1


def test_a_photo_stays_on_screen_if_the_server_is_lost(here: Visit, photo: bytes, small: bytes) -> None:
    here.choose("rock.png", photo)
    here.wait()
    here.refusals = True
    here.page.route("**/page/compare*", lambda route: route.abort("connectionrefused"))
    here.choose("small.png", small)
    here.page.get_by_role("alert").get_by_text("cannot be reached").wait_for()
    assert here.page.locator("#name").inner_text() == "small.png · 200 × 120"
    assert here.page.locator("#tag-before").is_visible()
    for part in ("#handle", "#take", "#numbers"):  # they would belong to the other photo
        assert here.page.locator(part).is_hidden()
    here.page.unroute_all()
    here.page.get_by_role("button", name="Try again with small.png").click()
    here.wait()
    assert here.page.locator("#name").inner_text() == "small.png · 200 × 120"


def test_a_refusal_can_be_closed(here: Visit) -> None:
    alert, close = here.page.get_by_role("alert"), here.page.get_by_role("button", name="Close this message")
    for key in (None, "Enter", "Escape"):
        here.choose("empty.png", b"")
        alert.wait_for()
        if key is None:
            close.click()
        else:
            here.page.get_by_role("button", name="Another photo").first.focus()
            here.page.keyboard.press("Tab")
            assert close.evaluate("e => e === document.activeElement")
            here.page.keyboard.press(key)
        assert alert.is_hidden()
        assert here.page.evaluate("document.activeElement.textContent") == "Choose a photo"


def test_limits_are_known_before_the_first_file(here: Visit, photo: bytes) -> None:
    version = here.page.locator("#version")
    expect(version).to_have_text(re.compile(r"^\d+\.\d+"))
    # If the server does not answer now, the page asks again with the first file and shows no error.
    here.refusals = True
    answers = [{"status": 503, "body": json.dumps({})}]
    here.page.route(
        "**/page/limits", lambda route: route.fulfill(**answers.pop()) if answers else route.continue_()
    )
    with here.page.expect_response("**/page/limits"):
        here.page.reload()
    assert here.page.get_by_role("alert").is_hidden()
    assert version.inner_text() == ""
    here.choose("rock.png", photo)
    here.wait()
    expect(version).to_have_text(re.compile(r"^\d+\.\d+"))


def test_the_parts_of_an_answer_are_shown_as_they_arrive(here: Visit, photo: bytes) -> None:
    """The server is slow to measure: the picture is on the screen before the figures are there."""
    here.page.evaluate(
        """() => {
            const ask = window.fetch;
            window.fetch = async (path, options) => {
                const answer = await ask(path, options);
                if (!String(path).startsWith("page/compare")) return answer;
                const whole = new Uint8Array(await answer.arrayBuffer());
                const last = whole.lastIndexOf(10, whole.length - 2) + 1;  // the line with the figures
                const gate = new Promise((open) => (window.openGate = open));
                const body = new ReadableStream({
                    async start(out) {
                        // Pieces of odd sizes: a part may be cut anywhere.
                        for (let at = 0; at < last; at += 4099) out.enqueue(whole.slice(at, Math.min(at + 4099, last)));
                        await gate;
                        out.enqueue(whole.slice(last));
                        out.close();
                    },
                });
                return new Response(body, { headers: answer.headers });
            };
        }"""
    )
    here.choose("rock.png", photo)
    status, verdict = here.page.locator("#status"), here.page.locator("#verdict")
    expect(status).to_have_text(re.compile(r"Restored by light in .* Measuring …$"), timeout=60_000)
    expect(here.page.locator("#handle")).to_be_visible()
    assert here.cells("psnr_rgb") == ["–", "–"]
    assert int(here.cells("bytes")[0].replace(",", "")) > 1000
    assert verdict.inner_text() == ""
    assert here.page.locator("#left-avif").is_disabled()
    assert here.page.get_by_role("button", name="Cancel").is_visible()
    here.page.evaluate("openGate()")
    here.wait()
    assert here.page.locator("#left-avif").is_enabled()
    assert "–" not in here.cells("psnr_rgb")


def test_cancelling_the_measurement_keeps_the_picture(here: Visit, photo: bytes) -> None:
    here.page.evaluate(
        """() => {
            const ask = window.fetch;
            window.fetch = async (path, options) => {
                const answer = await ask(path, options);
                if (!String(path).startsWith("page/compare")) return answer;
                const whole = new Uint8Array(await answer.arrayBuffer());
                const last = whole.lastIndexOf(10, whole.length - 2) + 1;
                const body = new ReadableStream({
                    start(out) {
                        out.enqueue(whole.slice(0, last));
                        options.signal.addEventListener("abort", () => out.error(options.signal.reason));
                    },
                });
                return new Response(body);
            };
        }"""
    )
    here.choose("rock.png", photo)
    status = here.page.locator("#status")
    expect(status).to_have_text(re.compile(r"Measuring …$"), timeout=60_000)
    here.page.get_by_role("button", name="Cancel").click()
    expect(here.page.locator("#verdict")).to_have_text("Not measured.")
    expect(status).to_have_text(DONE)
    assert "Measuring" not in status.inner_text()
    expect(here.page.locator("#handle")).to_be_visible()


def test_waiting_for_other_photos_is_said(here: Visit, photo: bytes, small: bytes) -> None:
    here.page.evaluate(WATCH)
    answers = [b'{"part": "step", "step": "waiting"}\n' + json.dumps(FULL).encode() + b"\n"]
    here.page.route(
        "**/page/compare*", lambda route: route.fulfill(body=answers.pop()) if answers else route.continue_()
    )
    here.choose("rock.png", photo)
    here.wait()  # a problem within the answer that says when to try again is no refusal
    said = here.page.evaluate("said")
    assert "The server is busy with other photos …" in said
    assert "The server is busy. Trying again in 1 s …" in said
    assert here.asked("/page/compare") == 2
