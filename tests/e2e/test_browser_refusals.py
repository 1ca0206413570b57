"""Failures on the page in a real browser: refused files and settings, a full or lost server."""

from __future__ import annotations

import io
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from bbmr_client.encoding.encoder import encode
from tests.server.parts import read_parts

from .browser import DONE, Visit, missing

if missing() is None:
    from playwright.sync_api import expect

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
PROBLEM = {"content-type": "application/problem+json"}
BYTES = {"Content-Type": "application/octet-stream"}


def limit(here: Visit, url: str, **less: int) -> None:
    """Makes the page believe that the server has lower limits."""
    limits = httpx.get(f"{url}/page/limits").json()
    here.page.unroute_all()
    here.page.route("**/page/limits", partial(fulfil, body=json.dumps(limits | less)))
    here.page.reload()


def fulfil(route: Any, *, body: str) -> None:
    route.fulfill(body=body, content_type="application/json")


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
def test_a_refused_file_shows_a_clear_message(
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


def test_a_refused_file_keeps_the_last_result(here: Visit, photo: bytes, detail: np.ndarray) -> None:
    here.choose("rock.png", photo)
    here.wait()
    here.page.locator("#quality").fill("50")
    expect(here.page.locator("#tag-after")).to_have_text("bbmr, quality 50", timeout=60_000)
    here.wait()
    here.page.locator("#quality").evaluate("e => e.blur()")
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
        alert_text = here.page.get_by_role("alert").inner_text()
        assert name in alert_text
        assert "processed" not in alert_text
        expect(here.page.locator("#work")).to_have_text(figures, use_inner_text=True)
        expect(here.page.locator("#handle")).to_be_visible()
        assert np.abs(here.look() - shown).mean() < 4  # it may be shifted by parts of a pixel
        with here.page.expect_download() as download:
            here.page.locator("#download").click()
        assert download.value.suggested_filename == "rock.bbmr"
        expected = encode(photo, quality=50, metadata="icc", model="light").to_bytes()
        assert Path(download.value.path()).read_bytes() == expected
    # The slider still works on the photo that is shown.
    here.page.locator("#quality").fill("30")
    size = len(encode(photo, quality=30, metadata="icc", model="light").to_bytes())
    expect(here.page.locator("#rows td").first).to_have_text(f"{size:,}", timeout=60_000)
    assert here.page.get_by_role("alert").is_hidden()
    assert here.page.locator("#name").inner_text() == "rock.png · 420 × 300"


def test_a_photo_that_only_the_browser_can_read_is_refused(here: Visit, detail: np.ndarray) -> None:
    out = io.BytesIO()
    Image.fromarray(detail).save(out, "JPEG")
    here.refusals = True
    here.choose("cut.jpg", out.getvalue()[:-500])
    here.page.get_by_role("alert").get_by_text("cut.jpg: The photo is damaged or cut short.").wait_for()
    assert here.page.locator("#welcome").is_visible()
    assert here.page.locator("#work").is_hidden()


def test_a_folder_is_refused_with_a_message(here: Visit) -> None:
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


def refuse(here: Visit, status: int, slug: str, after: bytes = b"") -> None:
    """Refuses every comparison: at once, or within the answer, after parts of it."""
    problem = {"type": f"urn:bbmr:problem:{slug}", "title": "No", "detail": "no, and why", "status": status}
    late = json.dumps({"part": "problem", "retry_after": None, **problem}).encode() + b"\n"
    answer = (
        {"body": after + late}
        if after
        else {"status": status, "headers": PROBLEM, "body": json.dumps(problem)}
    )
    here.page.route("**/page/compare*", lambda route: route.fulfill(**answer))


@pytest.mark.parametrize("within", [False, True], ids=["at once", "within the answer"])
def test_a_refused_quality_keeps_the_last_result(here: Visit, photo: bytes, within: bool) -> None:
    here.choose("rock.png", photo)
    here.wait()
    before = here.page.locator("#work").inner_text()
    here.refusals = True
    refuse(here, 422, "usage", b'{"part": "step", "step": "waiting"}\n' if within else b"")
    here.page.locator("#quality").fill("80")
    alert = here.page.get_by_role("alert")
    alert.get_by_text("No, and why.").wait_for()
    assert here.page.locator("#quality").input_value() == "65"
    expect(here.page.locator("#work")).to_have_text(before, use_inner_text=True)
    here.page.unroute_all()
    here.page.locator("#quality").fill("30")
    expect(here.page.locator("#tag-after")).to_have_text("bbmr, quality 30", timeout=60_000)
    here.wait()
    assert alert.is_hidden()


def test_the_first_quality_takes_too_long_and_the_photo_stays(here: Visit, photo: bytes) -> None:
    here.refusals = True
    refuse(here, 504, "deadline")
    here.choose("rock.png", photo)
    here.page.get_by_role("alert").get_by_text("This took too long").wait_for()
    assert here.page.locator("#quality").input_value() == "65"
    assert here.page.locator("#tag-before").is_visible()
    here.page.unroute_all()
    here.page.locator("#quality").fill("20")
    here.wait()
    assert here.page.get_by_role("alert").is_hidden()


def test_a_failed_measurement_removes_the_old_figures(here: Visit, url: str, photo: bytes) -> None:
    here.choose("rock.png", photo)
    here.wait()
    whole = httpx.post(f"{url}/page/compare?quality=10", content=photo, headers=BYTES, timeout=60).content
    parts = read_parts(whole)
    at = whole.index(b'{"part": "step", "step": "measuring"}')
    assert [head["part"] for head, _ in parts][-3:] == ["step", "avif", "figures"]
    here.refusals = True
    refuse(here, 504, "deadline", whole[:at])
    here.page.locator("#quality").fill("10")
    here.page.get_by_role("alert").get_by_text("This took too long").wait_for()
    assert here.page.locator("#verdict").inner_text() == "Not measured."
    assert here.cells("psnr_rgb") == ["–", "–"]
    assert here.page.locator("#quality").input_value() == "10"
    expect(here.page.locator("#status")).to_have_text(DONE)
    here.page.unroute_all()
    here.page.get_by_role("button", name="Try again").click()
    here.wait()


def test_an_answer_that_is_cut_off_can_be_retried(here: Visit, url: str, photo: bytes) -> None:
    whole = httpx.post(f"{url}/page/compare?quality=65", content=photo, headers=BYTES, timeout=60).content
    for end in (whole[: len(whole) // 2], whole[:40]):
        here.page.route("**/page/compare*", partial(lambda route, body: route.fulfill(body=body), body=end))
        here.choose("rock.png", photo)
        here.page.get_by_role("alert").get_by_text("cannot be reached").wait_for()
        here.page.unroute_all()
        here.page.get_by_role("button", name="Try again").click()
        here.wait()
        here.page.reload()


def test_a_file_that_is_too_large_is_not_sent(here: Visit, photo: bytes, url: str) -> None:
    for less in ({"max_body_bytes": len(photo) - 1}, {"max_photo_pixels": 420 * 300 - 1}):
        limit(here, url, **less)
        here.choose("rock.png", photo)
        here.page.get_by_role("alert").get_by_text("at most").wait_for()
    assert here.asked("/page/compare") == here.asked("/page/photo") == 0


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

    here.page.route("**/page/compare*", refuse)
    here.choose("rock.png", photo)
    here.page.get_by_text(f"{words} Trying again in 1 s").wait_for()
    here.wait()


def test_a_lost_connection_can_be_retried(here: Visit, photo: bytes) -> None:
    here.refusals = True
    here.page.route("**/page/compare*", lambda route: route.abort("connectionrefused"))
    here.choose("rock.png", photo)
    here.page.get_by_role("alert").get_by_text("cannot be reached").wait_for()
    here.page.unroute_all()
    here.page.get_by_role("button", name="Try again").click()
    here.wait()
    # The retry repeats the refused setting, although the slider went back.
    here.page.route("**/page/compare*", lambda route: route.abort("connectionrefused"))
    here.page.locator("#quality").fill("40")
    here.page.get_by_role("alert").get_by_text("cannot be reached").wait_for()
    assert here.page.locator("#quality").input_value() == "65"
    here.page.unroute_all()
    with here.page.expect_request(lambda request: "/page/compare?quality=40" in request.url):
        here.page.get_by_role("button", name="Try again").click()
    assert here.page.locator("#quality").input_value() == "40"
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

    for path in ("models", "page/compare*"):
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
