"""Coded pictures made once and kept on disk: what a decoder composites, beside what it should show.

    python -m bbmr_models.training.coded.dataset PHOTOS OUT --passes 5

Each pass reduces every photograph by a random factor, which removes the errors of its own codec, and sends it through
one random condition: a rate for the whole picture or a map of rates, lossless or with AVIF planes as an encoder would
write them. Training from memory is several times faster than coding beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from bbmr_models.training.lossless.pool import SUFFIXES, held_out_sources, read_reduced
from bbmr_shared.colour import weighted_squared_error
from bbmr_shared.compositing.composite import composite
from bbmr_shared.container.planes import keep_blocks
from bbmr_shared.cpus import available_cpus
from bbmr_shared.errors import UsageError
from bbmr_shared.grid import ALIGN, RATES, BlockGrid
from bbmr_shared.images.codecs import coding_error_byte, decode, encode_plane
from bbmr_shared.resample import bicubic, round_trip_error

SHRINK = (0.55, 0.92)
LEAST_SIDE = 272
CONDITIONS = {"r1": 27, "r2": 25, "r4": 10, "r8": 2, "mixed": 13, "lossless": 6, "lossless-mixed": 17}
"""Condition → its share in percent. `r2` is rate 2 with an AVIF plane; `mixed` has a map of rates."""
PALETTES = ((1, 2), (1, 2, 4), (2, 4), (1, 2, 4, 8), RATES)
RANDOM_MAP_SHARE = 0.12
FINE_QUALITIES, COARSE_QUALITIES = (2.0, 82.0), (4.0, 40.0)
"""Qualities of the encoder: with blocks at rate 1, and without."""
QUALITY_STEP = (10.0, 20.0)
"""The quality of a plane rises by this much with each octave of its rate, as the encoder's does."""
INDEX = "index.json"
FILES = ("base", "target", "rate", "error")


class CodedPicture(NamedTuple):
    """`base` and `target` are `uint8 [H, W, 3]`, `rate` and `error` (the coding error byte) `uint8 [H/16, W/16]`."""

    base: NDArray[np.uint8]
    target: NDArray[np.uint8]
    rate: NDArray[np.uint8]
    error: NDArray[np.uint8]
    mse: float


@dataclass(frozen=True)
class Entry:
    """Where a picture lies in the files: `first` is its first 16×16 cell, `mse` the error of its base (6:1:1)."""

    source: str
    condition: str
    first: int
    rows: int
    columns: int
    mse: float


def make_dataset(
    photos: Path, out: Path, passes: int, seed: int, shares: Mapping[str, int] = CONDITIONS
) -> list[Entry]:
    """Write the files of a dataset to the folder `out`.

    Args:
        photos: folder of photographs, searched recursively.
        passes: versions of each photograph.
        seed: seed of all that is random.
        shares: condition → its share.

    Raises:
        UsageError: if there is no usable photograph under `photos`.
    """
    paths = sorted(path for path in photos.rglob("*") if path.suffix.lower() in SUFFIXES)
    rng = np.random.default_rng(seed)
    weights = np.array(list(shares.values())) / sum(shares.values())
    tasks = [
        (path, str(rng.choice(list(shares), p=weights)), int(rng.integers(2**31)))
        for _ in range(passes)
        for path in paths
    ]
    out.mkdir(parents=True, exist_ok=True)
    entries, first = list[Entry](), 0
    handles = {name: (out / f"{name}.u8").open("wb") for name in FILES}
    with ProcessPoolExecutor(available_cpus()) as pool:
        made = pool.map(code_photo, *zip(*tasks, strict=True), chunksize=4)
        for (path, condition, _), picture in zip(tasks, made, strict=True):
            if picture is None:
                continue
            for name, handle in handles.items():
                handle.write(getattr(picture, name).tobytes())
            rows, columns = picture.rate.shape
            entries.append(Entry(path.name, condition, first, rows, columns, picture.mse))
            first += picture.rate.size
    for handle in handles.values():
        handle.close()
    if not entries:
        raise UsageError(f"no usable photograph of at least {LEAST_SIDE} pixels a side under {photos}")
    # Last: a folder without an index is not a dataset.
    (out / INDEX).write_text(json.dumps([asdict(entry) for entry in entries]))
    return entries


def code_photo(path: Path, condition: str, seed: int) -> CodedPicture | None:
    """Reduce a photograph at random and send it through `condition`; None if it cannot be used."""
    rng = np.random.default_rng(seed)
    for picture in read_reduced(path, rng.uniform(*SHRINK, 1), LEAST_SIDE):
        return code_picture(picture, condition, rng)
    return None


def code_picture(picture: NDArray[np.uint8], condition: str, rng: np.random.Generator) -> CodedPicture:
    """Send a picture with sides that are multiples of 16 through `condition`."""
    height, width = picture.shape[:2]
    grid = BlockGrid(width, height)
    rate_map = _rate_map(picture, grid, condition, rng)
    lossy = not condition.startswith("lossless")
    quality = rng.uniform(*(FINE_QUALITIES if rate_map.min() == 1 else COARSE_QUALITIES))
    step = rng.uniform(*QUALITY_STEP)
    tune = str(rng.choice(["psnr", "ssim"]))
    planes: dict[int, NDArray[np.uint8]] = {}
    errors = np.zeros(RATES[-1] + 1, np.uint8)
    for rate in np.unique(rate_map).tolist():
        plane = picture if rate == 1 else bicubic(picture, width // rate, height // rate)
        planes[rate] = source = keep_blocks(plane, rate, rate_map, grid)
        if lossy:
            planes[rate] = _through_avif(source, rate, quality + step * np.log2(rate), tune, rng)
            own = grid.expand(rate_map == rate, rate)
            difference = planes[rate][own].astype(np.float64) - source[own]
            errors[rate] = coding_error_byte(float(np.square(difference).mean()))
    base = composite(planes, rate_map, grid)
    cells = grid.expand(rate_map, ALIGN)
    return CodedPicture(
        base, picture, cells, errors[cells], float(weighted_squared_error(base, picture).mean())
    )


class CodedDataset:
    """The pictures of one or more datasets, mapped into memory.

    Args:
        folders: what `make_dataset` wrote.
        held_out: so many sources, the last by name in each folder and at most a quarter, are for validation.
        conditions: keeps only the pictures of these; all if it is empty.

    Raises:
        UsageError: if a folder is not a dataset, or none of its pictures is of these conditions.
    """

    def __init__(self, folders: Sequence[Path], held_out: int = 12, conditions: Sequence[str] = ()) -> None:
        self._maps: list[dict[str, NDArray[np.uint8]]] = []
        self._training: list[tuple[int, Entry]] = []
        self._held_out: list[tuple[int, Entry]] = []
        for number, folder in enumerate(folders):
            entries = _read_index(folder)
            held = held_out_sources((entry.source for entry in entries), held_out)
            self._maps.append({name: np.memmap(folder / f"{name}.u8", np.uint8, "r") for name in FILES})
            for entry in entries:
                if not conditions or entry.condition in conditions:
                    (self._held_out if entry.source in held else self._training).append((number, entry))
        if not self._training:
            raise UsageError(f"no picture for training is of the conditions {', '.join(conditions)}")
        areas = np.array([entry.rows * entry.columns for _, entry in self._training], float)
        self._cumulative = areas.cumsum() / areas.sum()

    @property
    def least_cells(self) -> int:
        """The shortest side of a training picture, in cells."""
        return min(min(entry.rows, entry.columns) for _, entry in self._training)

    def draw(self, picture: float, top: float, left: float, cells: int) -> CodedPicture:
        """A window of `cells`×`cells` cells of a training picture, chosen by three numbers in 0 … 1."""
        index = min(int(np.searchsorted(self._cumulative, picture)), len(self._training) - 1)
        number, entry = self._training[index]
        row, column = int(top * (entry.rows - cells + 1)), int(left * (entry.columns - cells + 1))
        return self._window(number, entry, row, column, cells)

    def validation(self, cells: int) -> Iterator[tuple[str, CodedPicture]]:
        """Condition and centre, at most `cells` a side, of every held-out picture of the first folder."""
        for number, entry in self._held_out:
            if number == 0:
                size = min(entry.rows, entry.columns, cells)
                top, left = (entry.rows - size) // 2, (entry.columns - size) // 2
                yield entry.condition, self._window(number, entry, top, left, size)

    def _window(self, number: int, entry: Entry, top: int, left: int, cells: int) -> CodedPicture:
        arrays = []
        for name in FILES:
            side = ALIGN if name in ("base", "target") else 1
            channels = (3,) if side == ALIGN else ()
            scale = side * side * (3 if channels else 1)
            shape = (entry.rows * side, entry.columns * side, *channels)
            start = entry.first * scale
            samples = self._maps[number][name][start : start + entry.rows * entry.columns * scale]
            rows, columns = (slice(low * side, (low + cells) * side) for low in (top, left))
            arrays.append(np.asarray(samples).reshape(shape)[rows, columns])
        base, target, rate, error = arrays
        return CodedPicture(base, target, rate, error, entry.mse)


def is_dataset(folder: Path) -> bool:
    """Whether the folder holds a whole dataset."""
    return (folder / INDEX).is_file()


def _read_index(folder: Path) -> list[Entry]:
    try:
        return [Entry(**row) for row in json.loads((folder / INDEX).read_text())]
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{folder} is not a dataset of coded pictures ({error})") from None


def _rate_map(
    picture: NDArray[np.uint8], grid: BlockGrid, condition: str, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """`uint8 [rows, cols]`: one rate for all, or by Lagrangian choice on bicubic's error, or at random."""
    if condition.startswith("r"):
        return np.full(grid.shape, int(condition[1:]), np.uint8)
    if condition == "lossless":
        return np.full(grid.shape, int(rng.choice([2, 4, 4, 8])), np.uint8)
    lossy = condition == "mixed"
    palette = PALETTES[rng.integers(len(PALETTES))] if lossy else RATES
    if rng.random() < RANDOM_MAP_SHARE:
        return rng.choice(palette, size=grid.shape).astype(np.uint8)
    multiplier = np.exp(rng.uniform(*np.log((4, 2000) if lossy else (20, 5000))))
    width, height = grid.padded_width, grid.padded_height
    errors = [round_trip_error(picture, bicubic(picture, width // rate, height // rate)) for rate in palette]
    means = np.stack([grid.block_sums(error) / grid.areas() for error in errors], 2)
    return lagrangian_rates(means, multiplier, palette)


def lagrangian_rates(
    errors: NDArray[np.floating], multiplier: float, palette: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Return the rate of each block with the least error + `multiplier` · samples, per pixel.

    Args:
        errors: `[rows, cols, rates]`, the mean squared error of each block at each rate of the `palette`.
        multiplier: λ.
    """
    samples = np.array([1 / rate**2 for rate in palette])
    return np.array(palette, np.uint8)[(errors + multiplier * samples).argmin(axis=2)]


def parse_shares(text: str) -> dict[str, int]:
    """Return condition → share from "r1:3,mixed"; a share that is left out is 1. Raises `UsageError`."""
    shares = {}
    for word in text.split(","):
        name, _, share = word.partition(":")
        if name not in CONDITIONS or not (share or "1").isdecimal():
            raise UsageError(f"'{word}' is not a condition; known are {', '.join(CONDITIONS)}")
        shares[name] = int(share or 1)
    return shares


def _through_avif(
    samples: NDArray[np.uint8], rate: int, quality: float, tune: str, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Code a plane as an encoder would: slower where it is small, chroma in full more often then."""
    codec, data = encode_plane(
        samples,
        "avif",
        quality=int(np.clip(round(quality), 1, 95)),
        speed=int(rng.choice([6, 6, 6, 8] if rate == 1 else [4, 5, 6, 6])),
        subsampling="4:4:4" if rng.random() < (0.15 if rate == 1 else 0.35) else "4:2:0",
        tune=tune,
    )
    return decode(data, codec, (samples.shape[1], samples.shape[0]))


def main(
    photos: Annotated[Path, typer.Argument(help="Folder of photographs.", exists=True)],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    passes: Annotated[int, typer.Option(help="Versions of each photograph.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Seed of all that is random.")] = 0,
    conditions: Annotated[
        str | None, typer.Option(help="Conditions and their shares, for example r1:2,r2:1,mixed:1.")
    ] = None,
) -> None:
    """Make a dataset of coded pictures: about 3 MB for each photograph and pass."""
    entries = make_dataset(photos, out, passes, seed, parse_shares(conditions) if conditions else CONDITIONS)
    megapixels = sum(entry.rows * entry.columns for entry in entries) * ALIGN**2 / 1e6
    typer.echo(f"{out}: {len(entries)} pictures, {megapixels:.0f} megapixels")


if __name__ == "__main__":
    typer.run(main)
