"""What every benchmark needs: the machine's description, and results as JSON beside Markdown."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PHOTOS = {".avif", ".jpeg", ".jpg", ".png", ".webp"}


def photos(folders: list[Path]) -> list[Path]:
    """Every photo in `folders` (files are taken as they are), by folder and name."""
    found = []
    for folder in folders:
        inside = (
            sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTOS)
            if folder.is_dir()
            else []
        )
        found += inside or [folder]
    return found


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A photo as `uint8 [H, W, 3]`."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "date": date.today().isoformat(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in ("numpy", "pillow", "torch")},
    }


def write(folder: Path, name: str, results: dict[str, Any], markdown: str) -> None:
    """`name`.json (with command and machine) and `name`.md in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    module = Path(sys.argv[0]).stem
    arguments = [Path(word).name if Path(word).exists() else word for word in sys.argv[1:]]
    command = shlex.join(["python", "-m", f"benchmarks.{module}", *arguments])
    where = machine()
    held = {"command": command, "machine": where, **results}
    (folder / f"{name}.json").write_text(json.dumps(held, indent=1) + "\n")
    versions = ", ".join(f"{key} {value}" for key, value in where["packages"].items())
    place = f"{where['cpu']}, {where['cores']} cores"
    note = f"`{command}` · {where['date']} · {place} · Python {where['python']}, {versions}"
    (folder / f"{name}.md").write_text(f"{markdown.rstrip()}\n\n{note}\n")


def table(rows: list[list[str]]) -> str:
    """A Markdown table; the first row is its head, every column but the first is right-aligned."""
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
