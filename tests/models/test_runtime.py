"""Runtimes: each makes the picture that the model makes, for any tile, batch and strengths."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bbmr_client.encoding.encoder import encode
from bbmr_models import load
from bbmr_models.cards import read
from bbmr_models.config import JointSRConfig
from bbmr_models.inference import network
from bbmr_models.inference.network import Network, choose_runtime, load_network
from bbmr_models.inference.tile_input import TileInput, TileSource
from bbmr_models.inference.torch_network import TorchNetwork
from bbmr_models.jointsr import Canvas, JointSR
from bbmr_models.weights import save_weights
from bbmr_shared.compositing.composite import MAX_LEVEL
from bbmr_shared.container import FULL_STRENGTH
from bbmr_shared.errors import UsageError, WeightsError
from bbmr_shared.grid import RATES

from .conftest import small_backbone, small_network

Picture = NDArray[np.uint8]
LIGHT = JointSRConfig(tile=1024)
Maker = Callable[[JointSR, Path], Network]


def torch_float32(model: JointSR, _: Path) -> Network:
    return TorchNetwork(model)


def torch_bfloat16(model: JointSR, _: Path) -> Network:
    return TorchNetwork(model, bfloat16=True)


def torch_compiled(model: JointSR, _: Path) -> Network:
    return TorchNetwork(model, compile=True)


def ncnn(model: JointSR, folder: Path) -> Network:
    pytest.importorskip("ncnn")
    path = folder / "model.safetensors"
    save_weights(model, path, {}, torch.float32)
    return load_network("model", path.read_bytes(), runtime="ncnn", threads=1)


MAKERS: list[Maker] = [torch_float32, torch_bfloat16, ncnn]


def plain(model: JointSR, batch: Sequence[TileInput]) -> Picture:
    """The model itself, tile by tile, in float32."""
    return np.stack([_plain(model, tile) for tile in batch])


def _plain(model: JointSR, tile: TileInput) -> Picture:
    def level(samples: NDArray[np.generic], scale: int) -> torch.Tensor:
        return torch.from_numpy(samples.astype(np.float32).transpose(2, 0, 1).copy())[None] / scale

    def cells(values: Picture) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32))[None]

    levels = (None if x is None else level(x, MAX_LEVEL) for x in (tile.half, tile.quarter))
    strength = cells(tile.strength) / FULL_STRENGTH
    canvas = Canvas(level(tile.base, 255), cells(tile.rate), cells(tile.error), strength, *levels)
    with torch.inference_mode():
        picture: Picture = (model(canvas)[0] * 255 + 0.5).clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return picture


def tile_of(
    photo: Picture,
    height: int,
    width: int,
    at: tuple[int, int] = (0, 0),
    rate: float = 3,
    config: JointSRConfig = LIGHT,
) -> TileInput:
    """The network's input for a part of a photo: views, as an engine cuts them."""
    container = encode(photo[at[1] :, at[0] :][:height, :width], rate=rate, block=32)
    source = TileSource(container, (0, 0, width, height), None, config)
    return source.cut(source.tiles[0])


def noise(height: int, width: int, seed: int, levels: bool = False) -> TileInput:
    """Anything that a tile may hold: every rate, coding errors, every strength."""
    rng = np.random.default_rng(seed)
    cells = height // 16, width // 16

    def level(at: int) -> NDArray[np.int16] | None:
        return rng.integers(0, MAX_LEVEL + 1, (height // at, width // at, 3), np.int16) if levels else None

    return TileInput(
        rng.integers(0, 256, (height, width, 3), np.uint8),
        rng.choice(np.array(RATES, np.uint8), cells),
        rng.choice(np.array([0, 0, 3, 255], np.uint8), cells),
        rng.integers(0, FULL_STRENGTH + 1, cells, np.uint8),
        level(2),
        level(4),
    )


def worst(a: Picture, b: Picture) -> int:
    return int(np.abs(a.astype(np.int16) - b).max())


@pytest.mark.parametrize("name", ["light", "omnisr", "craft"])
@pytest.mark.parametrize("make", MAKERS)
def test_the_picture_is_that_of_the_shipped_model(
    make: Maker, name: str, photo: Picture, tmp_path: Path
) -> None:
    if name != "light" and make is not torch_float32:
        pytest.skip("only light runs there, or is held to one step there")
    model = load(name)
    parts = ((160, 224, (0, 0), 3), (96, 64, (300, 200), 8))
    for tile in (tile_of(photo, *part, model.config) for part in parts):
        wanted = plain(model, [tile])
        got = make(model, tmp_path).run([tile])
        assert got.shape == wanted.shape == (1, *tile.base.shape)
        assert got.dtype == np.uint8
        assert worst(wanted, tile.base[None]) > 8  # there is something to get wrong
        assert worst(got, wanted) <= 1
        if make is not torch_bfloat16:  # only halves round apart
            assert np.mean(got != wanted) < 1e-3


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("config", [{}, {"channels": (12, 10, 7), "blocks": 3}, {"restoration": True}])
def test_noise_comes_out_alike(make: Maker, config: dict[str, Any], tmp_path: Path) -> None:
    model = small_network(**config)
    network = make(model, tmp_path)
    for tile in (noise(16, 16, 0), noise(48, 80, 1), noise(112, 32, 2)):
        wanted = plain(model, [tile])
        limit = (
            1 if make is not torch_bfloat16 else 3
        )  # noise is no photograph, this network none that was trained
        assert worst(network.run([tile]), wanted) <= limit


@pytest.mark.parametrize("make", MAKERS)
def test_two_networks_on_parts_of_a_tile_make_the_picture_of_the_model(
    make: Maker, photo: Picture, tmp_path: Path
) -> None:
    """Few blocks are for each network, far apart, and many are exact or of strength 0."""
    model = small_network(restoration=True)
    network = make(model, tmp_path)
    tile = tile_of(photo, 448, 576)
    rate, error, strength = (np.full(tile.rate.shape, value, np.uint8) for value in (1, 0, FULL_STRENGTH))
    rate[2:4, 3:5] = rate[20:22, 3:5] = 2
    error[6:9, 16:20] = error[20:22, 3:5] = 90
    strength[8, 18] = 0
    parts = replace(tile, rate=rate, error=error, strength=strength)
    wanted = plain(model, [parts])
    got = network.run([parts])
    assert worst(got, wanted) <= (1 if make is not torch_bfloat16 else 3)
    changed = (got[0] != tile.base).any(2).reshape(28, 16, 36, 16).any((1, 3))
    assert (changed == ((rate > 1) | (error > 0)) & (strength > 0)).all()


@pytest.mark.parametrize("deblock", [0, 8])
def test_noise_through_a_published_backbone_comes_out_alike(deblock: int) -> None:
    model = small_backbone(deblock=deblock)
    network = TorchNetwork(model)
    for tile in (noise(16, 16, 0, levels=True), noise(48, 80, 1, levels=True)):
        assert worst(network.run([tile]), plain(model, [tile])) <= 1


@pytest.mark.parametrize("make", MAKERS)
def test_a_batch_is_its_tiles_in_their_order(make: Maker, photo: Picture, tmp_path: Path) -> None:
    network = make(load("light"), tmp_path)
    batch = [tile_of(photo, 96, 128, at) for at in ((0, 0), (128, 64), (300, 200))]
    alone = np.concatenate([network.run([tile]) for tile in batch])
    assert worst(network.run(batch), alone) <= 1
    assert worst(network.run(batch[::-1]), alone[::-1]) <= 1
    assert worst(alone[0], alone[1]) > 8


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_not_to_be_corrected_stays_to_the_last_bit(
    make: Maker, photo: Picture, tmp_path: Path
) -> None:
    network = make(load("light"), tmp_path)
    tile = noise(64, 96, 3)
    kept = (tile.rate == 1) & (tile.error == 0) | (tile.strength == 0)
    assert 0.1 < kept.mean() < 0.9
    pixels = kept.repeat(16, 0).repeat(16, 1)
    assert (network.run([tile])[0][pixels] == tile.base[pixels]).all()


@pytest.mark.parametrize("make", MAKERS)
def test_strength_scales_the_correction(make: Maker, photo: Picture, tmp_path: Path) -> None:
    network = make(load("light"), tmp_path)
    tile = tile_of(photo, 96, 128)
    full = replace(tile, strength=np.full_like(tile.strength, FULL_STRENGTH))
    half = replace(tile, strength=np.full_like(tile.strength, FULL_STRENGTH // 2))
    pictures = [network.run([one])[0].astype(np.int16) for one in (full, half)]
    inside = (pictures[0] > 0) & (pictures[0] < 255)  # where nothing is clipped
    whole, part = (picture - tile.base for picture in pictures)
    assert np.abs(whole - 2 * part)[inside].max() <= 2
    assert np.abs(whole[inside]).max() > 8


def test_a_compiled_network_makes_the_same_picture(
    photo: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the compiler's own code generation takes a minute; that the network can be traced is what may break here
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    model = small_network()
    network = torch_compiled(model, tmp_path)
    for tile in (tile_of(photo, 64, 96), tile_of(photo, 96, 64)):
        assert worst(network.run([tile]), plain(model, [tile])) <= 1


def test_ncnn_needs_no_torch() -> None:
    pytest.importorskip("ncnn")
    program = """
import sys
import numpy as np
from bbmr_models.cards import read
from bbmr_models.inference.network import load_network
from bbmr_models.inference.tile_input import TileSource, TileInput
from bbmr_shared.grid import RATES
network = load_network("light", read("light")[0], runtime="ncnn", threads=1)
cells = np.full((2, 2), 4, np.uint8)
tile = TileInput(np.full((32, 32, 3), 99, np.uint8), cells, cells * 0, cells // 2)
assert network.run([tile, tile]).shape == (2, 32, 32, 3)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.mark.parametrize(
    ("backbone", "device", "installed", "bfloat16", "expected"),
    [
        ("light", "cpu", {"torch", "ncnn"}, False, "ncnn"),
        ("light", "cpu", {"torch", "ncnn"}, True, "torch"),
        ("light", "cpu", {"ncnn"}, True, "ncnn"),
        ("light", "cpu", {"torch"}, False, "torch"),
        ("light", "cuda:0", {"torch", "ncnn"}, False, "torch"),
        ("omnisr", "cpu", {"torch", "ncnn"}, False, "torch"),
    ],
)
def test_the_runtime_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
    backbone: str,
    device: str,
    installed: set[str],
    bfloat16: bool,
    expected: str,
) -> None:
    monkeypatch.setattr(network, "find_spec", lambda name: name if name in installed else None)
    monkeypatch.setattr(network, "has_bfloat16", lambda: bfloat16)
    assert choose_runtime(read(backbone)[1].config, device) == expected


def test_a_runtime_that_cannot_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = read("light")[0]
    with pytest.raises(UsageError, match="on the CPU, not on cuda"):
        load_network("light", data, "cuda", "ncnn")
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(UsageError, match=r"pip install '\.\[local\]' in a checkout"):
        load_network("light", data, runtime="ncnn")
    monkeypatch.setattr(network, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install '\.\[server\]' in a checkout"):
        load_network("light", data, runtime="torch")


def test_ncnn_takes_no_other_backbone_and_no_damaged_file() -> None:
    pytest.importorskip("ncnn")
    with pytest.raises(UsageError, match="omnisr"):
        load_network("omnisr", read("omnisr")[0], runtime="ncnn")
    data = read("light")[0]
    with pytest.raises(WeightsError, match="cut short"):
        load_network("light", data[:-1000], runtime="ncnn")
    for wrong in ({"blocks": 3}, {"blocks": 1}, {"channels": [32, 48, 32]}, {"channels": [16, 48, 64]}):
        with pytest.raises(WeightsError, match="do not fit"):
            load_network("light", _claiming(data, wrong), runtime="ncnn")


def _claiming(data: bytes, other: dict[str, Any]) -> bytes:
    """A weights file whose configuration says something else than its tensors."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    config = json.loads(header["__metadata__"]["config"]) | other
    header["__metadata__"]["config"] = json.dumps(config)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]
