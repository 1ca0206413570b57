"""The main table: block-based against uniform rescaling, with bicubic and with the network, at equal LR pixels.

In: folders of photos. Out: `rescaling.json`, `rescaling.md`, `rescaling.png`: per picture and mean PSNR-Y,
PSNR-RGB, SSIM, samples and bytes, a row at equal bytes, and the seam figure.

    python -m benchmarks.rescaling eval2k eval4k --output docs/benchmarks
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from bbmr_client.encoder import encode
from bbmr_models import load
from bbmr_models.reconstruct import Reconstructor
from bbmr_shared.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.metrics import compare
from bbmr_shared.resample import bicubic

from .common import photos, read_rgb, table, write
from .seams import BorderGradients, border_gradients

CONDITIONS = ("bicubic uniform", "bicubic block-based", "network uniform", "network block-based")
EQUAL_BYTES = ("bicubic block-based, equal bytes", "network block-based, equal bytes")
METRICS = ("psnr_y", "psnr_rgb", "ssim")
_BISECTIONS = 6


def measure(path: Path, rate: int, reconstructor: Reconstructor, equal_bytes: bool = True) -> dict[str, Any]:
    """Every condition of one picture at one overall rate."""
    photo = read_rgb(path)
    uniform, blocks = (encode(photo, rate=rate, uniform=flag) for flag in (True, False))
    result: dict[str, Any] = {"picture": path.stem, "set": path.parent.name, "rate": rate, "conditions": {}}
    conditions = result["conditions"]
    for name, container in (("uniform", uniform), ("block-based", blocks)):
        conditions[f"bicubic {name}"] = _row(photo, np.asarray(preview(container)), container)
        began = time.perf_counter()
        restored = np.asarray(reconstructor.reconstruct(container))
        conditions[f"network {name}"] = _row(photo, restored, container)
        conditions[f"network {name}"]["seconds"] = round(time.perf_counter() - began, 2)
    result["seam"] = _seam(photo, restored, blocks)
    result["direct_bicubic_uniform_psnr_y"] = compare(photo, _direct(photo, rate))["psnr_y"]
    if equal_bytes:
        fitted = _fit_bytes(photo, rate, len(uniform.to_bytes()))
        conditions[EQUAL_BYTES[0]] = _row(photo, np.asarray(preview(fitted)), fitted)
        conditions[EQUAL_BYTES[1]] = _row(photo, np.asarray(reconstructor.reconstruct(fitted)), fitted)
    return result


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of photos.")],
    output: Annotated[Path, typer.Option(help="Where the results go.")] = Path("docs/benchmarks"),
    model: Annotated[str, typer.Option(help="Shipped weights, or a .safetensors file.")] = "light",
    equal_bytes: Annotated[
        bool, typer.Option(help="Also fit block-based containers to the uniform's bytes.")
    ] = True,
) -> None:
    """Measure, print the table and write the results."""
    reconstructor = Reconstructor(load(model))
    results = []
    for rate in (4, 2):
        for path in photos(folders):
            result = measure(path, rate, reconstructor, equal_bytes)
            results.append(result)
            cells = [f"{result['conditions'][name]['psnr_y']:.2f}" for name in CONDITIONS]
            print(f"×{rate} {path.stem:24s}", *cells, flush=True)
    means = _means(results)
    markdown = _markdown(results, means)
    write(output, "rescaling", {"model": model, "means": means, "pictures": results}, markdown)
    _plot(results, output / "rescaling.png")
    print(markdown)


def _row(photo: NDArray[np.uint8], picture: NDArray[np.uint8], container: Container) -> dict[str, Any]:
    values = compare(photo, picture)
    row: dict[str, Any] = {name: round(float(values[name] or 99.0), 4) for name in METRICS}
    return row | {"pixels": container.samples, "bytes": len(container.to_bytes())}


def _seam(photo: NDArray[np.uint8], restored: NDArray[np.uint8], container: Container) -> dict[str, Any]:
    """The seam figures of the reconstruction, of the composite and of the photo, at the same borders."""
    pictures = {"network": restored, "composite": np.asarray(preview(container)), "original": photo}
    return {
        name: vars(border_gradients(picture, container.rate_map, container.block))
        for name, picture in pictures.items()
    }


def _seam_ratio(results: list[dict[str, Any]], which: str, kind: str = "ratio") -> float:
    total = sum((BorderGradients(**result["seam"][which]) for result in results), BorderGradients())
    return round(float(getattr(total, kind)), 3)


def _direct(photo: NDArray[np.uint8], rate: int) -> NDArray[np.uint8]:
    """Plain bicubic down and up in one step each, as the field's tables have it."""
    height, width = photo.shape[:2]
    return bicubic(bicubic(photo, width // rate, height // rate), width, height)


def _fit_bytes(photo: NDArray[np.uint8], rate: int, budget: int) -> Container:
    """The block-based container of at most `budget` bytes with the lowest overall rate found by bisection."""
    low, high = float(rate), min(16.0, rate * 2.0)
    best = encode(photo, rate=high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        container = encode(photo, rate=middle)
        if len(container.to_bytes()) <= budget:
            high, best = middle, container
        else:
            low = middle
    return best


def _means(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    means = []
    for group in sorted({result["set"] for result in results}):
        for rate in (4, 2):
            chosen = [result for result in results if (result["set"], result["rate"]) == (group, rate)]
            seam = {which: _seam_ratio(chosen, which) for which in chosen[0]["seam"]}
            seam["network, mean absolute"] = _seam_ratio(chosen, "network", "mean_ratio")
            conditions = {
                name: {
                    key: statistics.fmean(r["conditions"][name][key] for r in chosen)
                    for key in (*METRICS, "bytes", "pixels")
                }
                for name in chosen[0]["conditions"]
            }
            means.append({"set": group, "rate": rate, "conditions": conditions, "seam_ratio": seam})
    return means


def _markdown(results: list[dict[str, Any]], means: list[dict[str, Any]]) -> str:
    head = ["set, overall rate", "condition", "PSNR-Y", "PSNR-RGB", "SSIM", "LR pixels", "bytes"]
    rows = [head]
    for mean in means:
        for name, row in mean["conditions"].items():
            numbers = [f"{row['psnr_y']:.2f}", f"{row['psnr_rgb']:.2f}", f"{row['ssim']:.4f}"]
            rows.append(
                [
                    f"{mean['set']} ×{mean['rate']}",
                    name,
                    *numbers,
                    f"{row['pixels']:,.0f}",
                    f"{row['bytes']:,.0f}",
                ]
            )
    parts = ["Means over the pictures of each set.", table(rows)]
    gains = [
        [
            "set, rate",
            "block-based − uniform, bicubic (Y / RGB)",
            "with the network",
            "share kept (Y)",
            "network − composite, uniform",
            "block-based",
            "seam: network / composite / original",
        ]
    ]
    for mean in means:
        gains.append(_gain_row(mean))
    parts += ["Gains in dB (Y / RGB).", table(gains)]
    every = [
        [
            "picture",
            *(f"{name} Y / RGB" for name in CONDITIONS),
            "network: block-based − uniform",
            "network − composite (block-based)",
            "seam: network / composite / original",
        ]
    ]
    for result in results:
        every.append(_picture_row(result))
    parts += ["Every picture, dB.", table(every)]
    return "\n\n".join(parts)


def _gain_row(mean: dict[str, Any]) -> list[str]:
    c = mean["conditions"]

    def gain(a: str, b: str) -> tuple[float, float]:
        return c[a]["psnr_y"] - c[b]["psnr_y"], c[a]["psnr_rgb"] - c[b]["psnr_rgb"]

    plain, network = gain(CONDITIONS[1], CONDITIONS[0]), gain(CONDITIONS[3], CONDITIONS[2])
    worth = gain(CONDITIONS[2], CONDITIONS[0]), gain(CONDITIONS[3], CONDITIONS[1])
    pairs = [f"{y:+.2f} / {rgb:+.2f}" for y, rgb in (plain, network, *worth)]
    return [
        f"{mean['set']} ×{mean['rate']}",
        *pairs[:2],
        f"{network[0] / plain[0]:.2f}",
        *pairs[2:],
        " / ".join(f"{mean['seam_ratio'][which]:.3f}" for which in ("network", "composite", "original")),
    ]


def _picture_row(result: dict[str, Any]) -> list[str]:
    c = result["conditions"]
    cells = [f"{c[name]['psnr_y']:.2f} / {c[name]['psnr_rgb']:.2f}" for name in CONDITIONS]
    blocks = c[CONDITIONS[3]]["psnr_y"] - c[CONDITIONS[2]]["psnr_y"]
    network = c[CONDITIONS[3]]["psnr_y"] - c[CONDITIONS[1]]["psnr_y"]
    seam = " / ".join(f"{_seam_ratio([result], which):.3f}" for which in ("network", "composite", "original"))
    return [f"×{result['rate']} {result['picture']}", *cells, f"{blocks:+.2f}", f"{network:+.2f}", seam]


def _plot(results: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(13, 5.2), sharey=False)
    colours = ("#b8c4d0", "#6f8fae", "#f2c6a0", "#d9772b")
    for axis, rate in zip(axes, (4, 2), strict=True):
        chosen = [result for result in results if result["rate"] == rate]
        for offset, (name, colour) in enumerate(zip(CONDITIONS, colours, strict=True)):
            heights = [result["conditions"][name]["psnr_y"] for result in chosen]
            axis.bar(np.arange(len(chosen)) + (offset - 1.5) * 0.2, heights, 0.2, label=name, color=colour)
        axis.set_ylim(bottom=20)
        axis.set_xticks(
            range(len(chosen)), [result["picture"] for result in chosen], rotation=40, ha="right", fontsize=8
        )
        axis.set_title(f"overall rate ×{rate}, equal LR pixels")
        axis.set_ylabel("PSNR-Y, dB")
        axis.grid(axis="y", alpha=0.3)
    axes[0].legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    typer.run(main)
