"""Two writers, one specification: what `write.py` makes, both readers read, and ours writes again byte for byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client.encoding.downscale import bicubic_planes
from bbmr_shared import Container
from bbmr_shared.container.planes import keep_blocks, pad
from bbmr_shared.grid import BlockGrid
from tests.reader import minimal, write
from tests.shared import parts


@pytest.mark.parametrize(
    ("size", "block", "palette"),
    [((1, 1), 16, [16]), ((150, 101), 32, [1, 2, 4, 8, 16]), ((300, 40), 128, [1, 8]), ((700, 600), 16, [4])],
)
def test_it_is_read_and_written_again(size: tuple[int, int], block: int, palette: list[int]) -> None:
    picture = parts.picture(*size)
    grid = BlockGrid(*size, block)
    rates = parts.rate_map(grid, palette)
    data = write.write(Image.fromarray(picture), rates, block)
    read = Container.from_bytes(data)
    assert read.to_bytes() == data
    assert (read.rate_map == rates).all()
    planes = read.decode_planes()
    whole = bicubic_planes(pad(picture, grid), palette)
    for rate in palette:
        assert (planes[rate] == keep_blocks(whole[rate], rate, rates, grid)).all(), rate
    _, other, base, alpha = minimal.read(data)
    assert (other == rates).all()
    assert alpha is None
    own = grid.expand(rates == 1)[: size[1], : size[0]]
    assert (base[: size[1], : size[0]][own] == picture[own]).all()


@pytest.mark.parametrize(
    "optional", [{"model": "light", "xmp": b"<x/>", "dpi": [300.0, 300.0]}, {"later": {"a": [1]}, "é": b""}]
)
def test_optional_fields_are_written_alike(optional: dict[str, Any]) -> None:
    data = write.write(Image.fromarray(parts.picture(20, 20)), [[2]], **optional)
    assert Container.from_bytes(data).to_bytes() == data


def test_it_is_a_program(tmp_path: Path) -> None:
    Image.fromarray(parts.picture(200, 150)).save(tmp_path / "in.png")
    source = Path(write.__file__)
    command = [sys.executable, "-I", source, tmp_path / "in.png", tmp_path / "out.bbmr"]
    subprocess.run(command, check=True, timeout=60)
    read = Container.from_bytes((tmp_path / "out.bbmr").read_bytes())
    assert np.unique(read.rate_map).tolist() == [2]
    assert (read.width, read.height, read.uses_network) == (200, 150, False)
