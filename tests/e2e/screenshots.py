"""Makes the screenshots of the page in `docs/images/`: `python -m tests.e2e.screenshots [FOLDER]`. Check them by eye.

Needs what `test_browser.py` needs. Takes half a minute.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from bbmr_client.server_process import running_server

from .browser import chromium, missing

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 500_000
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}


def main(folder: Path) -> None:
    """Writes page-desktop.webp, page-avif.webp, page-phone.webp and page-error.webp."""
    with running_server() as url, chromium() as browser:
        page = browser.new_context(**DESKTOP).new_page()
        sample(page, url, "The lake")
        page.locator("#handle").press("Shift+ArrowLeft")
        page.locator("#handle").blur()
        save(page, folder / "page-desktop.webp")
        page.locator("#quality").fill("20")
        page.locator("#tag-after", has_text="quality 20").wait_for(timeout=120_000)
        page.locator("#working").wait_for(state="hidden", timeout=60_000)
        page.get_by_label("AVIF at equal bytes").check(force=True)
        page.locator("#actual").click()
        page.mouse.move(5, 5)
        save(page, folder / "page-avif.webp")
        page.goto(url)
        torn = (ROOT / "samples" / "lake-sherburne.jpg").read_bytes()[:400_000]
        page.set_input_files("#file", {"name": "holiday.jpg", "mimeType": "image/jpeg", "buffer": torn})
        page.get_by_role("alert").wait_for()
        save(page, folder / "page-error.webp")
        page = browser.new_context(**PHONE).new_page()
        sample(page, url, "The ridge")
        save(page, folder / "page-phone.webp")


def sample(page: Any, url: str, name: str) -> None:
    """Opens the page, chooses a sample photo and waits for all figures."""
    page.goto(url)
    page.get_by_role("button", name=name).click()
    page.locator("#verdict:not(:empty)").wait_for(timeout=120_000)
    page.locator("#working").wait_for(state="hidden", timeout=60_000)


def save(page: Any, path: Path) -> None:
    """Saves the window as WebP."""
    with Image.open(io.BytesIO(page.screenshot(caret="initial"))) as shot:
        shot.convert("RGB").save(path, quality=92, method=6)
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes; at most {MOST_BYTES} are wanted")
    print(f"{path} {path.stat().st_size} bytes")


if __name__ == "__main__":
    reason = missing()
    if reason is not None:
        raise SystemExit(reason)
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images")
