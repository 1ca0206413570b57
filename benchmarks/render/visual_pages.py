"""The caption of the crops of `benchmarks.quality.visual`."""

from __future__ import annotations

from typing import Any

WINDOW = 384
"""Side of a crop in pixels."""


def markdown(results: dict[str, Any]) -> str:
    """Return what the picture shows and how its crops were chosen."""
    return (
        f"`{results['model']}`, with equal numbers of samples over each whole photo. A rule chooses the crops: of all "
        f"windows of {WINDOW}×{WINDOW} pixels on the grid of blocks, take those with the most different rates, and of "
        "these the one whose blocks differ most in detail. Such a window also shows where block-based rescaling "
        "keeps fewer samples."
    )
