"""What every benchmark needs: photos, the machine's description, partial results and Markdown tables."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZES = {"1080p": (1920, 1080), "2K": (2048, 1365), "4K": (3840, 2160)}
"""Name → width and height of the pictures that are timed."""
PHOTOS = {".avif", ".jpeg", ".jpg", ".png", ".webp"}


def photos(folders: list[Path]) -> list[Path]:
    """Return every photo in `folders`, by folder and name. Files in the list are returned as they are."""
    paths = []
    for folder in folders:
        inside = (
            sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTOS)
            if folder.is_dir()
            else []
        )
        paths += inside or [folder]
    return paths


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a photo as `uint8 [H, W, 3]`."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def cut(photo: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return the top left `width`×`height` pixels; a smaller photo is mirrored."""
    bottom, right = max(0, height - photo.shape[0]), max(0, width - photo.shape[1])
    return np.pad(photo, ((0, bottom), (0, right), (0, 0)), mode="reflect")[:height, :width]


def machine() -> dict[str, Any]:
    """Return date, processor and versions of a measurement."""
    return {
        "date": date.today().isoformat(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in ("numpy", "pillow", "torch")},
    }


class Partial:
    """The rows of an unfinished run. The file is written after each row, so a killed run continues where it was.

    Rows of a run with other `settings` (weights, options) are ignored.
    """

    def __init__(self, folder: Path, name: str, settings: dict[str, Any]) -> None:
        self._path, self._settings = folder / f"{name}.partial.json", settings
        self.rows: list[dict[str, Any]] = []
        if self._path.is_file():
            saved = json.loads(self._path.read_text())
            if saved["settings"] == json.loads(json.dumps(settings)):
                self.rows = saved["rows"]

    def find(self, **wanted: Any) -> dict[str, Any] | None:
        """Return the row with these values, or None."""
        return next((row for row in self.rows if all(row.get(k) == v for k, v in wanted.items())), None)

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"settings": self._settings, "rows": self.rows}))
        temporary.replace(self._path)

    def finish(self) -> None:
        """Delete the file, after the results were written."""
        self._path.unlink(missing_ok=True)


def files_by_rate(words: list[str]) -> dict[int, str]:
    """Return `{4: "a.safetensors"}` for `["4=a.safetensors"]`. Raises ValueError for any other form."""
    return {int(rate): name for rate, name in (word.split("=", 1) for word in words)}


def table(rows: list[list[str]]) -> str:
    """Return a Markdown table. The first row is its head; every column but the first is right-aligned."""
    head, *body = rows
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *body))


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
