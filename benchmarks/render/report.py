"""Put the tables where people read them: README and pages of docs/, between their markers.

In: `docs/benchmarks/*.json` and `*.md`. Out: the pages, rewritten. What has not been measured yet is left out. A
test keeps pages and results together.

    python -m benchmarks.render.report
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.common import table

from . import security_page, service_pages
from .rescaling_pages import CONDITIONS as NETWORK

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "benchmarks"
SECTIONS: dict[str, tuple[str, str]] = {
    "rescaling": ("PSNR-Y per picture", "rescaling.png"),
    "paper": ("Gain of block-based rates for every network", "paper.png"),
    "flops": ("", ""),
    "ablations": ("", ""),
    "visual": ("Original, uniform, block-based and the rates, side by side", "visual.webp"),
    "backbones": ("", ""),
    "backbones-cuda": ("", ""),
    "speed": ("Speed", "speed.png"),
    "runtimes": ("", ""),
    "client": ("", ""),
    "folder": ("", ""),
    "service": ("Pictures a second over clients, for each batch", "service.png"),
    "service-cuda": ("Pictures a second over clients, for each batch, on a GPU", "service-cuda.png"),
    "soak": ("Memory over requests, and times over thousands of them", "soak.png"),
    "overload": ("", ""),
    "sizes": ("dB against operations and against milliseconds", "sizes.png"),
}
"""Marker in docs/benchmarks.md and name of the results → what its picture shows and the picture's file."""
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
    """What each page should say: path → text."""
    readme, benchmarks = ROOT / "README.md", ROOT / "docs" / "benchmarks.md"
    operations = ROOT / "docs" / "operations.md"
    text = benchmarks.read_text()
    for name in SECTIONS:
        text = between(text, name, section(results, name))
    security = ROOT / "docs" / "security.md"
    held = security.read_text()
    for name, section_text in security_page.sections(results).items():
        held = between(held, name, section_text)
    return {
        readme: between(readme.read_text(), "table", readme_table(results)),
        benchmarks: text,
        security: held,
        operations: between(operations.read_text(), service_pages.MARKER, service_pages.sizing(results)),
    }


def section(results: Path, name: str) -> str:
    """The tables of one benchmark and its picture; empty where it was not run."""
    path = results / f"{name}.md"
    if not path.is_file():
        return ""
    title, picture = SECTIONS[name]
    shown = f"\n![{title}](benchmarks/{picture})\n" if picture and (results / picture).is_file() else ""
    return path.read_text() + shown


def readme_table(results: Path = RESULTS) -> str:
    """The means as one small table, and how many pictures of what they come from."""
    held: dict[str, Any] = json.loads((results / "rescaling.json").read_text())
    means = held["means"]
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
        f"Means ({sets}); ×4 and ×2 are overall rates, 1/16 and 1/4 of the pixels, but for equal bytes. "
        f"Planes are lossless WebP.{network} Every picture, losing ones too, the seam figure, every backbone and the "
        f"commands are in [docs/benchmarks.md](docs/benchmarks.md)."
    )
    return f"{table(rows)}\n\n{note}\n"


def between(text: str, marker: str, new: str) -> str:
    """`text` with what lies between `<!-- marker:begin -->` and `<!-- marker:end -->` replaced."""
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    before, rest = text.split(begin)
    _, after = rest.split(end)
    inside = f"\n\n{new.strip()}\n\n" if new.strip() else "\n"
    return f"{before}{begin}{inside}{end}{after}"


def _cell(row: dict[str, Any]) -> str:
    return f"{row['psnr_y']:.2f} / {row['psnr_rgb']:.2f}; {row['bytes'] / 1000:,.0f} kB"


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
