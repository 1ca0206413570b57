"""Put the measured tables where people read them: README and docs/benchmarks.md, between their markers.

In: `docs/benchmarks/*.json` and `*.md`. Out: the two pages, rewritten. A test keeps pages and JSON together.

    python -m benchmarks.report
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .common import table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "benchmarks"
CONDITIONS = {
    "bicubic uniform": "uniform, bicubic",
    "bicubic block-based": "block-based, bicubic",
    "network uniform": "uniform, network",
    "network block-based": "**block-based, network**",
    "network block-based, equal bytes": "block-based, network, at the bytes of uniform",
}


def pages() -> dict[Path, str]:
    """What each page should say: path → text."""
    rescaling = (RESULTS / "rescaling.md").read_text() + "\n![PSNR-Y per picture](benchmarks/rescaling.png)\n"
    speed = (RESULTS / "speed.md").read_text() + "\n![Speed](benchmarks/speed.png)\n"
    sizes = (RESULTS / "sizes.md").read_text()
    readme, benchmarks = ROOT / "README.md", ROOT / "docs" / "benchmarks.md"
    return {
        readme: between(readme.read_text(), "table", readme_table()),
        benchmarks: between(
            between(between(benchmarks.read_text(), "rescaling", rescaling), "speed", speed), "sizes", sizes
        ),
    }


def readme_table() -> str:
    """The means as one small table, and how many pictures of what they come from."""
    results: dict[str, Any] = json.loads((RESULTS / "rescaling.json").read_text())
    head = [
        "PSNR-Y / PSNR-RGB in dB; bytes",
        *(f"{mean['set']} ×{mean['rate']}" for mean in results["means"]),
    ]
    rows = [head]
    for name, title in CONDITIONS.items():
        cells = []
        for mean in results["means"]:
            row = mean["conditions"][name]
            cells.append(f"{row['psnr_y']:.2f} / {row['psnr_rgb']:.2f}; {row['bytes'] / 1000:,.0f} kB")
        rows.append([title, *cells])
    counts = {mean["set"]: mean["pictures"] for mean in results["means"]}
    sets = ", ".join(f"{name}: {count} photos" for name, count in counts.items())
    note = (
        f"Means ({sets}); ×4 and ×2 are overall rates, 1/16 and 1/4 of the pixels in every row but the last. "
        f"Planes are lossless WebP. Every picture, losing ones too, the seam figure and the commands are in "
        f"[docs/benchmarks.md](docs/benchmarks.md)."
    )
    return f"{table(rows)}\n\n{note}\n"


def between(text: str, marker: str, new: str) -> str:
    """`text` with what lies between `<!-- marker:begin -->` and `<!-- marker:end -->` replaced."""
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{new.strip()}\n\n{end}{after}"


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
