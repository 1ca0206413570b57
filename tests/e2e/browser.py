"""Chromium (Debian's package, driven by playwright), and visits of the page, for tests and screenshots."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

DONE = re.compile(r"Restored by light|Shown without a network|Every pixel is kept")
MEASURED = re.compile(r" wins: |equally close|^No AVIF")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

GATE = """() => {
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
"""Holds the decoding of the next picture until `openGate()` is called; `held` resolves when it is held."""


def missing() -> str | None:
    """Returns what must be installed before a browser can run, or None."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed: make setup"
    if shutil.which("chromium") is None:
        return "there is no chromium (Debian: apt-get install chromium)"
    return None


@contextmanager
def chromium() -> Iterator[Any]:
    """A running headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        browser = tool.chromium.launch(
            executable_path=shutil.which("chromium"), headless=True, args=ARGUMENTS
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """One visit of the page. `refusals`: whether responses of 400 and above are expected."""

    page: Any
    refusals: bool = False
    errors: list[str] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)

    def asked(self, path: str) -> int:
        return sum(urlsplit(request.url).path == path for request in self.requests)

    def choose(self, name: str, data: bytes) -> None:
        self.page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": data})

    def wait(self) -> None:
        """Waits until the picture is shown and measured."""
        from playwright.sync_api import expect

        expect(self.page.locator("#status")).to_have_text(DONE, timeout=60_000)
        expect(self.page.locator("#verdict")).to_have_text(MEASURED, timeout=60_000)
        expect(self.page.locator("#working")).to_be_hidden(timeout=60_000)

    def cells(self, name: str) -> list[str]:
        """Returns what the table says of one measure: of bbmr and of AVIF."""
        return self.page.locator(f"#rows tr[data-name={name}] td").all_inner_texts()

    def look(self) -> np.ndarray:
        """Returns the stage as RGB, without the handle and tags over the pictures."""
        show = (
            "value => { for (const e of document.querySelectorAll('#handle, .tag')) e.style.opacity = value }"
        )
        self.page.evaluate(show, "0")  # the page's policy allows no inline style sheet
        shot = self.page.locator("#stage").screenshot(caret="initial")
        self.page.evaluate(show, "1")
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)

    def sideways(self) -> int:
        """Returns by how many pixels the page is wider than the window."""
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
