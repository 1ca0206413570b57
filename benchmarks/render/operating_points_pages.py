"""The results of `benchmarks.quality.operating_points` as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.common import table


def markdown(results: dict[str, Any]) -> str:
    """Return the tables."""
    about = (
        f"{results['pictures']} training photos, weights `{results['model']}`, AVIF speed 6, tune psnr, 4:2:0. "
        "The error is that in YCbCr weighted 6:1:1 after the network."
    )
    trials = (
        "Trials at the fastest speed: bytes and coding errors at speed 6 against those of a trial, mean factor and "
        "its standard deviation from photo to photo:"
    )
    blocks = (
        "Bytes of blocks: a plane that keeps only some blocks, against the sum of their estimates in the whole "
        "plane. *By area* has bytes in proportion to the area. Scattered blocks have more borders than half of the "
        "picture."
    )
    planes = "λ of each quality, and the best quality of each rate's plane at that λ:"
    parts = [about, planes, _planes(results), trials, _trials(results), blocks, _blocks(results)]
    return "\n\n".join(parts)


def _planes(results: dict[str, Any]) -> str:
    rates = list(next(iter(results["plane_qualities"].values())))
    rows = [["quality", "λ", *(f"rate {rate}" for rate in rates)]]
    for quality, multiplier in results["multipliers"].items():
        best = results["plane_qualities"][quality]
        rows.append([str(quality), f"{multiplier:.1f}", *(f"{best[rate]:.0f}" for rate in rates)])
    return table(rows)


def _trials(results: dict[str, Any]) -> str:
    rows = [["rate", "quality", "bytes", "± ", "coding error", "±"]]
    for row in results["trials"]:
        numbers = (row[name] for name in ("bytes", "bytes_sd", "coding", "coding_sd"))
        rows.append([str(row["rate"]), str(row["quality"]), *(f"{number:.3f}" for number in numbers)])
    return table(rows)


def _blocks(results: dict[str, Any]) -> str:
    rows = [["blocks", "estimate", "planes", "real / estimate", "±"]]
    for row in results["block_bytes"]:
        name = "by area" if row["by"] == "by_area" else "by the JPEG"
        rows.append(
            [row["subset"], name, str(row["planes"]), f"{row['real_per_estimate']:.3f}", f"{row['sd']:.3f}"]
        )
    return table(rows)
