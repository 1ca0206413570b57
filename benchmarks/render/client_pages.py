"""The results of `benchmarks.speed.client` as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.common import table


def markdown(results: dict[str, Any]) -> str:
    """Return the tables."""
    installed, encode = results["installed"], results["encode"]
    weights = [["package", "version", "MB"]]
    weights += [[row["name"], row["version"], f"{row['bytes'] / 1e6:.1f}"] for row in installed["packages"]]
    weights.append([f"**all {len(installed['packages'])}**", "", f"**{installed['bytes'] / 1e6:.1f}**"])
    start = [["seconds", "best", "median"]]
    start += [[_code(row["what"]), f"{row['best']:.3f}", f"{row['median']:.3f}"] for row in results["start"]]
    what = f"`bbmr-client encode {encode['photo']}` ({encode['megapixels']:.1f} MP)"
    start.append([what, f"{encode['process']['best']:.3f}", f"{encode['process']['median']:.3f}"])
    within = encode["encoding"]
    start.append(
        ["of that, from the decoded photo to the bytes", f"{within['best']:.3f}", f"{within['median']:.3f}"]
    )
    torch = "with" if installed["has_torch"] else "without"
    wheel = f"The base install, {torch} torch; the wheel itself has {results['wheel']['bytes'] / 1e6:.1f} MB."
    return "\n\n".join([wheel, table(start), table(weights)])


def _code(name: str) -> str:
    return name if name.startswith("the ") else f"`{name}`"
