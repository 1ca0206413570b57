"""What `benchmarks.speed.backbones` measured, as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.common import table


def speed_ups(results: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Backbone → how many times as fast as the reference code ours is at inference and in training."""
    found = {}
    for held in results["networks"]:
        times, speeds = held["ms"], held["training_samples_per_second"]
        found[held["name"]] = times["reference"] / times["ours"], speeds["ours"] / speeds["reference"]
    return found


def light_speed_up(results: dict[str, Any]) -> float | None:
    """How many times as fast as the reference OmniSR a whole reconstruction by `light` is, where it was measured."""
    for held in results["networks"]:
        if held["name"] == "omnisr":
            return float(held["ms"]["reference"] / results["light_ms"])
    return None


def markdown(results: dict[str, Any]) -> str:
    """The table and what it was measured with."""
    head = ["1080p", "ms", "GFLOP/s", "of the peak", "training samples/s", "output differs by at most"]
    lines = [head]
    for held in results["networks"]:
        for which in ("reference", "ours"):
            ms, samples = held["ms"][which], held["training_samples_per_second"][which]
            speed = held["gflop"] / ms * 1000
            share = f"{speed / results['peak_gflops']:.0%}"
            difference = f"{held['max_difference']:.1e}" if which == "ours" else ""
            cells = [f"{ms:,.0f}", f"{speed:,.1f}", share, f"{samples:.2f}", difference]
            lines.append([f"{held['name']}, {which}", *cells])
    lines.append(["`light`, whole reconstruction", f"{results['light_ms']:,.0f}", "", "", "", ""])
    ratios = [
        f"{name} ×{faster:.1f} at inference and ×{trained:.1f} in training"
        for name, (faster, trained) in speed_ups(results).items()
    ]
    if (times := light_speed_up(results)) is not None:
        ratios.append(f"`light` ×{times:.0f} as fast as the reference OmniSR")
    note = (
        f"Plain networks (stem, backbone, head), {results['precision']}, {results['device']}, {results['threads']} "
        f"threads, medians, in turns; the peak, {results['peak_gflops']:,.0f} GFLOP/s, is a large matrix product's in "
        f"the same run. A training step is 8 crops of 192×192 pixels, which CRAFT's reference pads to 256×256; "
        f"ours is given the same. Over the reference code: {'; '.join(ratios)}."
    )
    return f"{note}\n\n{table(lines)}"
