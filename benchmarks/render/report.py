"""Writes every generated page and table of the documents, from the results in docs/benchmarks/.

    python -m benchmarks.render.report

Results that do not exist are left out. A test compares the documents with the results.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.common import table

from . import security_page, service_pages
from .pages import SUBJECTS, index, page
from .rescaling_pages import CONDITIONS as NETWORK

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RESULTS = DOCS / "benchmarks"
CONDITIONS = {
    "bicubic uniform": "uniform, bicubic",
    "bicubic block-based": "block-based, bicubic",
    "network uniform": "uniform, network",
    "network block-based": "**block-based, network**",
    "network block-based, equal bytes": "block-based, network, at the bytes of uniform",
}
OTHERS = ("omnisr", "craft")
"""Backbones with a row of their own in README, once they are measured."""


def pages(results: Path = RESULTS) -> dict[Path, str]:
    """Return the text of every document with generated parts: path → text."""
    generated = {results / f"{name}.md": subject_page(results, name) for name in SUBJECTS}
    return {path: text for path, text in generated.items() if text} | {
        ROOT / "README.md": _filled(ROOT / "README.md", {"table": readme_table(results)}),
        RESULTS / "README.md": _filled(RESULTS / "README.md", {"index": index(results)}),
        DOCS / "security.md": _filled(DOCS / "security.md", security_page.sections(results)),
        DOCS / "operations.md": _filled(
            DOCS / "operations.md", {service_pages.MARKER: service_pages.sizing(results)}
        ),
    }


def subject_page(results: Path, name: str) -> str:
    """Return the page of one benchmark; an empty string if it was not run."""
    path = results / f"{name}.json"
    return page(name, json.loads(path.read_text())) if path.is_file() else ""


def readme_table(results: Path = RESULTS) -> str:
    """Return the table of README: the means, and the number of pictures behind them."""
    rescaling: dict[str, Any] = json.loads((results / "rescaling.json").read_text())
    means = rescaling["means"]
    rows = [["PSNR-Y / PSNR-RGB in dB; bytes", *(f"{mean['set']} ×{mean['rate']}" for mean in means)]]
    rows += [
        [title, *(_cell(mean["conditions"][name]) for mean in means)] for name, title in CONDITIONS.items()
    ]
    names = []
    for model in OTHERS:
        path = results / f"rescaling-{model}.json"
        if path.is_file():
            names.append(model)
            by_place = {(m["set"], m["rate"]): m["conditions"] for m in json.loads(path.read_text())["means"]}
            cells = [by_place.get((mean["set"], mean["rate"])) for mean in means]
            rows.append(
                [f"block-based, `{model}`", *("" if row is None else _cell(row[NETWORK[3]]) for row in cells)]
            )
    counts = {mean["set"]: mean["pictures"] for mean in means}
    sets = ", ".join(f"{name}: {count} photos" for name, count in counts.items())
    others = " and ".join(f"`{name}`" for name in names)
    network = f" *network* is `light`; {others} read the same containers." if names else ""
    note = (
        f"Means ({sets}). ×4 and ×2 are overall rates: 1/16 and 1/4 of the pixels, except in the row at equal bytes. "
        f"Planes are lossless WebP.{network} [Benchmarks](docs/benchmarks/README.md) has every picture, also those "
        f"that lose, every backbone and the commands."
    )
    return f"{table(rows)}\n\n{note}\n"


def between(text: str, marker: str, new: str) -> str:
    """Return `text` with the part between `<!-- marker:begin -->` and `<!-- marker:end -->` replaced."""
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    before, rest = text.split(begin)
    _, after = rest.split(end)
    inside = f"\n\n{new.strip()}\n\n" if new.strip() else "\n"
    return f"{before}{begin}{inside}{end}{after}"


def _filled(path: Path, parts: dict[str, str]) -> str:
    """Return the text of a document with new text between its markers: marker → text."""
    text = path.read_text()
    for marker, part in parts.items():
        text = between(text, marker, part)
    return text


def _cell(row: dict[str, Any]) -> str:
    return f"{row['psnr_y']:.2f} / {row['psnr_rgb']:.2f}; {row['bytes'] / 1000:,.0f} kB"


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
