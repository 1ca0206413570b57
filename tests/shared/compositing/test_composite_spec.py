"""The compositing of docs/container.md, section 10, written again from its text alone, agrees bit for bit."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.typing import NDArray

from bbmr_shared.compositing.composite import composite, reduced
from bbmr_shared.container import Container
from bbmr_shared.grid import BlockGrid
from tests.shared import parts

Level = list[list[list[int]]]


def spec_composite(
    planes: dict[int, NDArray[np.uint8]], rates: NDArray[np.uint8], grid: BlockGrid, finest: int = 1
) -> Level:
    """Plain Python integers, sample by sample: base[y][x][channel]; or the smaller picture that level `finest` is."""
    width, height, block = grid.padded_width, grid.padded_height, grid.block

    def rate_at(level: int, x: int, y: int) -> int:
        return int(rates[y * level // block][x * level // block])

    known: dict[int, list[list[list[int] | None]]] = {}
    for level in (1, 2, 4, 8, 16):
        rows: list[list[list[int] | None]] = []
        for y in range(height // level):
            row: list[list[int] | None] = []
            for x in range(width // level):
                rate = rate_at(level, x, y)
                if rate == level:
                    row.append([32 * int(v) for v in planes[level][y, x]])
                elif rate < level:
                    finer = known[level // 2]
                    four = (
                        finer[2 * y][2 * x],
                        finer[2 * y][2 * x + 1],
                        finer[2 * y + 1][2 * x],
                        finer[2 * y + 1][2 * x + 1],
                    )
                    row.append([(sum(s[c] for s in four if s is not None) + 2) >> 2 for c in range(3)])
                else:
                    row.append(None)
            rows.append(row)
        known[level] = rows

    canvas: Level = [[list(sample or []) for sample in row] for row in known[16]]
    for level in (8, 4, 2, 1):
        if level < finest:
            break
        canvas = [[[min(max(v, 0), 8160) for v in sample] for sample in row] for row in up2(canvas)]
        for y, row in enumerate(canvas):
            for x in range(len(row)):
                if rate_at(level, x, y) <= level:
                    row[x] = list(known[level][y][x] or [])
    return [[[(v + 16) >> 5 for v in sample] for sample in row] for row in canvas]


def up2(samples: Level) -> Level:
    columns = [double([row[x] for row in samples]) for x in range(len(samples[0]))]
    tall = [[column[y] for column in columns] for y in range(2 * len(samples))]
    return [double(row) for row in tall]


def double(line: list[list[int]]) -> list[list[int]]:
    def x(i: int, c: int) -> int:
        return line[min(max(i, 0), len(line) - 1)][c]

    out: list[list[int]] = []
    for i in range(len(line)):
        out.append(
            [
                (-3 * x(i - 2, c) + 29 * x(i - 1, c) + 111 * x(i, c) - 9 * x(i + 1, c) + 64) >> 7
                for c in range(3)
            ]
        )
        out.append(
            [
                (-9 * x(i - 1, c) + 111 * x(i, c) + 29 * x(i + 1, c) - 3 * x(i + 2, c) + 64) >> 7
                for c in range(3)
            ]
        )
    return out


def random_planes(
    grid: BlockGrid, rates: NDArray[np.uint8], seed: int, extremes: float = 0.5
) -> dict[int, NDArray[np.uint8]]:
    """Noise with a share of black and white: it overshoots, so that every clip and every rounding is met."""
    rng = np.random.default_rng(seed)
    planes = {}
    for rate in {int(r) for r in rates.flat}:
        width, height = grid.plane_size(rate)
        noise = rng.integers(0, 256, (height, width, 3))
        extreme = rng.choice([0, 255], (height, width, 3))
        planes[rate] = np.where(rng.random((height, width, 1)) < extremes, extreme, noise).astype(np.uint8)
    return planes


@pytest.mark.parametrize(
    ("width", "height", "block"),
    [(96, 80, 16), (100, 70, 32), (1, 1, 128), (17, 48, 16), (48, 16, 48), (129, 127, 128)],
)
def test_any_rate_map_composites_as_specified(width: int, height: int, block: int) -> None:
    grid = BlockGrid(width, height, block)
    rates = parts.rate_map(grid, seed=width)
    planes = random_planes(grid, rates, seed=height)
    assert composite(planes, rates, grid).tolist() == spec_composite(planes, rates, grid)


@pytest.mark.parametrize("rate", [1, 2, 4, 8, 16])
def test_a_single_rate_composites_as_specified(rate: int) -> None:
    grid = BlockGrid(64, 48, 32)
    rates = np.full(grid.shape, rate, np.uint8)
    planes = random_planes(grid, rates, seed=rate)
    assert composite(planes, rates, grid).tolist() == spec_composite(planes, rates, grid)


@pytest.mark.parametrize("extremes", [0.0, 1.0])
def test_pure_noise_and_pure_black_and_white(extremes: float) -> None:
    grid = BlockGrid(160, 112, 16)
    rates = parts.rate_map(grid, seed=9)
    planes = random_planes(grid, rates, seed=10, extremes=extremes)
    assert composite(planes, rates, grid).tolist() == spec_composite(planes, rates, grid)


@pytest.mark.parametrize("level", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("palette", [(1, 2, 4, 8, 16), (1, 8), (16,)])
def test_a_smaller_picture_is_the_canvas_of_its_level(level: int, palette: tuple[int, ...]) -> None:
    grid = BlockGrid(96, 70, 16)
    rates = parts.rate_map(grid, palette, seed=level)
    planes = random_planes(grid, rates, seed=6)
    assert reduced(planes, rates, grid, level).tolist() == spec_composite(planes, rates, grid, level)


def test_samples_outside_a_plane_s_own_blocks_do_not_matter() -> None:
    grid = BlockGrid(96, 96, 32)
    rates = parts.rate_map(grid, seed=5)
    planes = random_planes(grid, rates, seed=1)
    other = random_planes(grid, rates, seed=2)
    mixed = {
        rate: np.where(grid.expand(rates == rate, rate)[:, :, None], planes[rate], other[rate])
        for rate in planes
    }
    assert any((mixed[rate] != planes[rate]).any() for rate in planes)
    assert (composite(mixed, rates, grid) == composite(planes, rates, grid)).all()


def test_the_worked_example_of_the_specification() -> None:
    line = [[v * 32] * 3 for v in (0, 0, 255, 255)]
    assert [sample[0] for sample in double(line)] == [0, -191, -574, 1658, 6503, 8734, 8351, 8160]


def test_blocks_of_rate_1_are_the_plane_itself() -> None:
    made = parts.container(100, 60, block=16, seed=random.Random(3).randrange(1000))
    planes = Container.from_bytes(made.to_bytes()).decode_planes()
    base = composite(planes, made.rate_map, made.grid)
    own = made.grid.expand(made.rate_map == 1, 1)
    assert own.any()
    assert (base[own] == planes[1][own]).all()
