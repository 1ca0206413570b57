"""Chromium for the tests of the page and for its screenshots: Debian's, driven by playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def missing() -> str | None:
    """What has to be installed before there is a browser, or None."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed: pip install 'bbmr[test]'"
    if shutil.which("chromium") is None:
        return "there is no chromium (Debian: apt-get install chromium)"
    return None


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        browser = tool.chromium.launch(
            executable_path=shutil.which("chromium"), headless=True, args=ARGUMENTS
        )
        try:
            yield browser
        finally:
            browser.close()
