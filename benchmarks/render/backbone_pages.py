"""The results of `benchmarks.speed.backbones` as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.common import table


def speed_ups(results: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Return backbone → speed of ours relative to the reference code, at inference and in training."""
    ratios = {}
    for network in results["networks"]:
        times, speeds = network["ms"], network["training_samples_per_second"]
        ratios[network["name"]] = times["reference"] / times["ours"], speeds["ours"] / speeds["reference"]
    return ratios


def light_speed_up(results: dict[str, Any]) -> float | None:
    """Return the speed of a reconstruction by `light` relative to the reference OmniSR; None if it was not measured."""
    for network in results["networks"]:
        if network["name"] == "omnisr":
            return float(network["ms"]["reference"] / results["light_ms"])
    return None


def markdown(results: dict[str, Any]) -> str:
    """Return the table and how it was measured."""
    head = ["1080p", "ms", "GFLOP/s", "of the peak", "training samples/s", "output differs by at most"]
    lines = [head]
    for network in results["networks"]:
        for which in ("reference", "ours"):
            ms, samples = network["ms"][which], network["training_samples_per_second"][which]
            speed = network["gflop"] / ms * 1000
            share = f"{speed / results['peak_gflops']:.0%}"
            difference = f"{network['max_difference']:.1e}" if which == "ours" else ""
            cells = [f"{ms:,.0f}", f"{speed:,.1f}", share, f"{samples:.2f}", difference]
            lines.append([f"{network['name']}, {which}", *cells])
    lines.append(["`light`, whole reconstruction", f"{results['light_ms']:,.0f}", "", "", "", ""])
    ratios = [
        f"{name} ×{faster:.1f} at inference and ×{trained:.1f} in training"
        for name, (faster, trained) in speed_ups(results).items()
    ]
    if (times := light_speed_up(results)) is not None:
        ratios.append(f"`light` ×{times:.0f} as fast as the reference OmniSR")
    note = (
        f"Plain networks (stem, backbone, head), {results['precision']}, {results['device']}, {results['threads']} "
        f"threads, medians, in turns. The peak, {results['peak_gflops']:,.0f} GFLOP/s, is that of a large "
        f"matrix product "
        f"in the same run. A training step has 8 crops of 192×192 pixels; CRAFT's reference pads them to 256×256, and "
        f"ours gets the same. Speed over the reference code: {'; '.join(ratios)}."
    )
    return f"{note}\n\n{table(lines)}"
