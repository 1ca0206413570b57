"""The main table: block-based against uniform rates, with bicubic and with the network, at equal LR pixels.

In: folders of photos. Out: `rescaling.json`, `rescaling.md`, `rescaling.png`: per picture and as means PSNR-Y,
PSNR-RGB, SSIM, samples and bytes, a row at equal bytes, and the seam figure.

    python -m benchmarks.quality.rescaling eval2k eval4k
    python -m benchmarks.quality.rescaling eval2k eval4k --model omnisr --network-only

With `--network-only` the rows without a network are left out, because they are in `light`'s table, and only
`rescaling-MODEL.json` is written, which `benchmarks.quality.paper` reads. A killed run continues where it was.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from bbmr_client.encoding.encoder import encode
from bbmr_models import load
from bbmr_models.reconstruct import Reconstructor
from bbmr_models.weights import read
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.metrics import compare
from bbmr_shared.resample import bicubic
from benchmarks.common import Partial, photos, read_rgb
from benchmarks.render.pages import write
from benchmarks.render.rescaling_pages import EQUAL_BYTES, METRICS, SAME_CONTAINER, mean_rows, plot
from benchmarks.seams import border_gradients

_BISECTIONS = 6


def measure(
    path: Path, rate: int, reconstructor: Reconstructor, equal_bytes: bool = True, network_only: bool = False
) -> dict[str, Any]:
    """Measure every condition of one picture at one overall rate; `network_only` leaves out those of plain bicubic."""
    photo = read_rgb(path)
    uniform, blocks = encode(photo, rate=rate, uniform=True), encode(photo, rate=rate)
    result: dict[str, Any] = {"picture": path.stem, "set": path.parent.name, "rate": rate, "conditions": {}}
    conditions = result["conditions"]
    if not network_only:
        plain = encode(photo, rate=rate, distortion="bicubic")
        conditions["bicubic uniform"] = quality(photo, np.asarray(preview(uniform)), uniform)
        conditions["bicubic block-based"] = quality(photo, np.asarray(preview(plain)), plain)
        result["direct_bicubic_uniform_psnr_y"] = compare(photo, _direct(photo, rate))["psnr_y"]
    for name, container in (("uniform", uniform), ("block-based", blocks)):
        began = time.perf_counter()
        restored = np.asarray(reconstructor.reconstruct(container))
        conditions[f"network {name}"] = quality(photo, restored, container)
        conditions[f"network {name}"]["seconds"] = round(time.perf_counter() - began, 2)
    composite = np.asarray(preview(blocks))
    conditions[SAME_CONTAINER] = quality(photo, composite, blocks)
    result["seam"] = seams({"network": restored, "composite": composite, "original": photo}, blocks)
    if equal_bytes:
        budget = len(uniform.to_bytes())
        if not network_only:
            fitted = _fit_bytes(photo, rate, budget, "bicubic")
            conditions[EQUAL_BYTES[0]] = quality(photo, np.asarray(preview(fitted)), fitted)
        fitted = _fit_bytes(photo, rate, budget, "network")
        restored = np.asarray(reconstructor.reconstruct(fitted))
        conditions[EQUAL_BYTES[1]] = quality(photo, restored, fitted)
    return result


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of photos.")],
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("docs/benchmarks"),
    model: Annotated[str, typer.Option(help="Shipped weights, or a .safetensors file.")] = "light",
    equal_bytes: Annotated[
        bool, typer.Option(help="Also fit block-based containers to the bytes of the uniform one.")
    ] = True,
    network_only: Annotated[bool, typer.Option(help="Leave out plain bicubic.")] = False,
    output_name: Annotated[str | None, typer.Option(help="Name of the results.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
) -> None:
    """Measure, print the table and write the results."""
    if threads:
        torch.set_num_threads(threads)
    _, card = read(model)
    reconstructor = Reconstructor(load(model), device="cuda" if torch.cuda.is_available() else "cpu")
    name = output_name or (f"rescaling-{Path(model).stem}" if network_only else "rescaling")
    partial = Partial(output, name, {"sha256": card.sha256, "options": [equal_bytes, network_only]})
    results = []
    for rate in (4, 2):
        for path in photos(folders):
            result = partial.find(picture=path.stem, set=path.parent.name, rate=rate)
            if result is None:
                result = measure(path, rate, reconstructor, equal_bytes, network_only)
                partial.add(result)
            results.append(result)
            cells = [f"{row['psnr_y']:.2f}" for row in result["conditions"].values()]
            print(f"×{rate} {path.stem:24s}", *cells, flush=True)
    means = mean_rows(results)
    everything = {
        "model": Path(model).name,
        "sha256": card.sha256,
        "config": card.config.to_dict(),
        "notes": card.notes,
        "means": means,
        "pictures": results,
    }
    text = write(output, name, everything, "" if network_only else "rescaling")
    partial.finish()
    if not network_only:
        plot(results, output / f"{name}.png")
        print(text)


def quality(photo: NDArray[np.uint8], picture: NDArray[np.uint8], container: Container) -> dict[str, Any]:
    """Return PSNR-Y, PSNR-RGB and SSIM of a picture, and samples and bytes of its container."""
    values = compare(photo, picture)
    row: dict[str, Any] = {
        name: round(99.0 if values[name] is None else float(values[name]), 4) for name in METRICS
    }
    return row | {"pixels": container.samples, "bytes": len(container.to_bytes())}


def seams(pictures: dict[str, NDArray[np.uint8]], container: Container) -> dict[str, Any]:
    """Return the seam figures of several pictures at the borders of one rate map."""
    return {
        name: vars(border_gradients(picture, container.rate_map, container.block))
        for name, picture in pictures.items()
    }


def _direct(photo: NDArray[np.uint8], rate: int) -> NDArray[np.uint8]:
    """Return plain bicubic down and up in one step each, as usual in the literature."""
    height, width = photo.shape[:2]
    return bicubic(bicubic(photo, width // rate, height // rate), width, height)


def _fit_bytes(photo: NDArray[np.uint8], rate: int, budget: int, distortion: str) -> Container:
    """Return the block-based container of at most `budget` bytes with the lowest overall rate, by bisection."""
    low, high = float(rate), min(16.0, rate * 2.0)
    best = encode(photo, rate=high, distortion=distortion)
    if len(best.to_bytes()) > budget:
        raise ValueError(f"no block-based container of at most {budget} bytes between ×{low:g} and ×{high:g}")
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        container = encode(photo, rate=middle, distortion=distortion)
        if len(container.to_bytes()) <= budget:
            high, best = middle, container
        else:
            low = middle
    return best


if __name__ == "__main__":
    typer.run(main)
