"""Ablations: the gain of each part of the method. One part is changed at a time.

In: folders of photos, the results of `benchmarks.quality.rescaling` for `light`, and for two of the ablations small
networks that were trained alike (commands: docs/benchmarks/README.md). Out: `ablations.json`, `ablations.md`. A
killed run continues where it was. An ablation without its weights is left out.

    python -m benchmarks.quality.ablations eval2k --joint JOINT.safetensors --no-deblock OTHER.safetensors
        --per-rate 2=R2.safetensors --per-rate 4=R4.safetensors … (one line)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from bbmr_client.encoding.allocate import allocate
from bbmr_client.encoding.downscale import bicubic_planes
from bbmr_client.encoding.encoder import encode
from bbmr_models import load
from bbmr_models.jointsr import JointSR
from bbmr_models.reconstruct import Reconstructor
from bbmr_models.weights import read
from bbmr_shared.colour import weighted_squared_error
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container, Plane
from bbmr_shared.container.planes import keep_blocks, pad
from bbmr_shared.grid import RATES, BlockGrid
from bbmr_shared.images.codecs import encode_plane
from benchmarks.common import Partial, files_by_rate, photos, read_rgb
from benchmarks.render.ablation_pages import means
from benchmarks.render.pages import write

from .rescaling import quality, seams
from .separate import reconstruct_separately

Photo = NDArray[np.uint8]
Row = dict[str, Any]
DEFAULTS = {
    "rates": "one rate a block",
    "palette": "1, 2, 4, 8, 16",
    "block": "128",
    "allocation": "the network's error as the client predicts it",
}
"""Ablation → its variant that is `light` as shipped, measured by `benchmarks.quality.rescaling`."""

_JOINTLY = "jointly on one canvas"
_JOINTLY_LONGER = "jointly, trained for the steps of all separate networks together"


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of photos.")],
    joint: Annotated[str | None, typer.Option(help="Small weights, everything on.")] = None,
    no_deblock: Annotated[str | None, typer.Option(help="The same without the deblock branch.")] = None,
    per_rate: Annotated[
        list[str] | None, typer.Option(help="RATE=FILE, the same, trained for that rate alone.")
    ] = None,
    joint_long: Annotated[
        str | None,
        typer.Option(help="Like --joint, trained for as many steps as all of --per-rate together."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("docs/benchmarks"),
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
) -> None:
    """Measure, print and write the tables."""
    if threads:
        torch.set_num_threads(threads)
    shipped = Reconstructor(load("light"))
    ablations: dict[str, Callable[[Photo, int], Iterator[Row]]] = {
        "palette": lambda photo, rate: palettes(photo, rate, shipped),
        "block": lambda photo, rate: block_sizes(photo, rate, shipped),
        "allocation": lambda photo, rate: allocations(photo, rate, shipped),
    }
    names = {"light": "light", "joint": joint, "no deblock": no_deblock, "joint, longer": joint_long}
    names |= files_by_rate(per_rate or [])
    if joint and no_deblock:
        both = [Reconstructor(load(name)) for name in (joint, no_deblock)]
        ablations["deblock"] = lambda photo, rate: deblock(photo, rate, *both)
    if joint and per_rate:
        together = {_JOINTLY: Reconstructor(load(joint))}
        if joint_long:
            together[_JOINTLY_LONGER] = Reconstructor(load(joint_long))
        apart = {rate: load(name) for rate, name in files_by_rate(per_rate).items()}
        ablations["separate"] = lambda photo, rate: separate(photo, rate, together, apart)
    cards = {str(key): read(name)[1] for key, name in names.items() if name}
    partial = Partial(output, "ablations", {key: card.sha256 for key, card in cards.items()})
    rows = []
    for path in photos(folders):
        for ablation, measure in ablations.items():
            for rate in (4, 2):
                place = {"ablation": ablation, "picture": path.stem, "rate": rate}
                measured = partial.find(**place)
                if measured is None:
                    measured = place | {"rows": list(measure(read_rgb(path), rate))}
                    partial.add(measured)
                    print(
                        place,
                        *(f"{row['variant']}: {row['psnr_y']:.2f}" for row in measured["rows"]),
                        flush=True,
                    )
                rows += [place | row for row in measured["rows"]]
    rows += shipped_rows(
        output / "rescaling.json", {path.stem for path in photos(folders)}, cards["light"].sha256
    )
    notes = {key: card.notes for key, card in cards.items()}
    results = {"weights": notes, "means": means(rows), "pictures": rows}
    text = write(output, "ablations", results)
    partial.finish()
    print(text)


def shipped_rows(path: Path, pictures: set[str], sha256: str) -> list[Row]:
    """Return the variants that `benchmarks.quality.rescaling` measured: `light` as shipped, and on uniform pictures.

    Raises ValueError if those results are of other weights than `sha256`.
    """
    results, rows = json.loads(path.read_text()), []
    if results.get("sha256", sha256) != sha256:
        raise ValueError(
            f"{path.name} was measured with other weights: run benchmarks.quality.rescaling first"
        )
    for result in results["pictures"]:
        if result["picture"] not in pictures:
            continue
        place = {"picture": result["picture"], "rate": result["rate"]}
        conditions = result["conditions"]
        for ablation, variant in DEFAULTS.items():
            rows.append(
                place | {"ablation": ablation, "variant": variant} | conditions["network block-based"]
            )
        rows.append(place | {"ablation": "rates", "variant": "uniform"} | conditions["network uniform"])
    return rows


def palettes(photo: Photo, rate: int, model: Reconstructor) -> Iterator[Row]:
    """Three rates instead of five. At ×2 they leave no choice: no rate finer than 2 can balance coarser blocks."""
    yield _variant("2, 4, 8", photo, encode(photo, rate=rate, rates=(2, 4, 8)), model)


def block_sizes(photo: Photo, rate: int, model: Reconstructor) -> Iterator[Row]:
    """Blocks of half and of twice the side. The network was trained on blocks of 128."""
    for block in (64, 256):
        yield _variant(str(block), photo, encode(photo, rate=rate, block=block), model)


def allocations(photo: Photo, rate: int, model: Reconstructor) -> Iterator[Row]:
    """Rates chosen by bicubic's error, and by the network's own error of each block; full strength in both."""
    yield _variant("bicubic's error", photo, encode(photo, rate=rate, distortion="bicubic"), model)
    height, width = photo.shape[:2]
    grid = BlockGrid(width, height)
    rate_map = own_choice(own_error(photo, grid, model), rate, grid)
    yield _variant("the network's own error", photo, container_of(photo, rate_map, grid), model)


def deblock(photo: Photo, rate: int, with_branch: Reconstructor, without: Reconstructor) -> Iterator[Row]:
    """The deblock branch on and off, on the same container, with seam figures."""
    container = encode(photo, rate=rate)
    for name, model in (("with the branch", with_branch), ("without", without)):
        picture = np.asarray(model.reconstruct(container))
        yield _row(name, photo, picture, container, with_seam=True)
    yield _row("composite, no network", photo, np.asarray(preview(container)), container, with_seam=True)
    yield _row("the photo itself", photo, photo, container, with_seam=True)


def separate(
    photo: Photo, rate: int, together: dict[str, Reconstructor], apart: dict[int, JointSR]
) -> Iterator[Row]:
    """One network on one canvas against one network per rate on single blocks, on the same container."""
    container = encode(photo, rate=rate)
    for name, model in together.items():
        joint = np.asarray(model.reconstruct(container))
        yield _row(name, photo, joint, container, with_seam=True)
    alone = reconstruct_separately(container, apart)
    yield _row("one network a rate, each block alone", photo, alone, container, with_seam=True)


def own_error(photo: Photo, grid: BlockGrid, model: Reconstructor) -> NDArray[np.float64]:
    """Return the weighted squared error (6:1:1 YCbCr) of every block after the network, `[5, rows, cols]`.

    It is measured on uniform pictures: the neighbours of a block have its own rate.
    """
    table = np.zeros((len(RATES), *grid.shape))
    for index, rate in enumerate(RATES[1:], 1):
        restored = np.asarray(model.reconstruct(encode(photo, rate=rate, uniform=True)))
        error = np.zeros((grid.padded_height, grid.padded_width), np.float32)
        error[: grid.height, : grid.width] = weighted_squared_error(photo, restored)
        table[index] = grid.block_sums(error)
    return table


def own_choice(error: NDArray[np.float64], rate: int, grid: BlockGrid) -> NDArray[np.uint8]:
    """Return the rate map of least error with at most 1/rate² of the samples."""
    areas = grid.areas()
    cost = np.stack([areas / r**2 for r in RATES])
    return np.asarray(RATES, np.uint8)[allocate(cost, error, areas.sum() / rate**2, RATES.index(rate))]


def container_of(photo: Photo, rate_map: NDArray[np.uint8], grid: BlockGrid) -> Container:
    """Return the container of a photo for a rate map, coded like the client's, at full strength."""
    padded = pad(photo, grid)
    rates = sorted({int(rate) for rate in np.unique(rate_map)}, reverse=True)
    whole = bicubic_planes(padded, rates)
    planes = [
        Plane(r, *encode_plane(keep_blocks(whole[r], r, rate_map, grid), "webp", effort=4)) for r in rates
    ]
    return Container(grid.width, grid.height, rate_map, tuple(planes), grid.block)


def _variant(name: str, photo: Photo, container: Container, model: Reconstructor) -> Row:
    return _row(name, photo, np.asarray(model.reconstruct(container)), container)


def _row(name: str, photo: Photo, picture: Photo, container: Container, with_seam: bool = False) -> Row:
    row = {"variant": name} | quality(photo, picture, container)
    return row | {"seam": seams({"picture": picture}, container)["picture"]} if with_seam else row


if __name__ == "__main__":
    typer.run(main)
