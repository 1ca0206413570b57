"""The benchmark of runtimes: its tiles are those of the network, and its plain model is the model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from bbmr_models.inference.torch_network import TorchNetwork
from benchmarks.render.report import RESULTS
from benchmarks.speed.runtimes import KINDS, installed
from benchmarks.speed.runtimes_tiles import save_tile, tile_of
from benchmarks.speed.runtimes_torch import PlainRuntime, make_torch
from benchmarks.speed.runtimes_worker import quality, timed
from tests.models.conftest import SAMPLE, small_network


def test_a_tile_is_kept_with_its_photo(tmp_path: Path) -> None:
    with Image.open(SAMPLE) as image:
        photo = np.asarray(image.convert("RGB"))
    save_tile(tmp_path / "tile.npz", photo, 96, 128, 4.0)
    tile, kept = tile_of(tmp_path / "tile.npz")
    assert tile.shape == kept.shape[:2] == (96, 128)
    assert np.abs(tile.base.astype(int) - kept).mean() < 30  # the same part of the photo


def test_runtimes_are_compared_with_the_plain_model(tmp_path: Path) -> None:
    with Image.open(SAMPLE) as image:
        photo = np.asarray(image.convert("RGB"))
    save_tile(tmp_path / "quality-0-4.npz", photo, 96, 128, 4.0)
    model = small_network()
    plain = quality(PlainRuntime(model), "plain", tmp_path)
    assert (plain["largest"], plain["differing"]) == (0, 0.0)
    ours = quality(TorchNetwork(model), "torch-float32", tmp_path)
    assert ours["largest"] <= 1
    other = quality(TorchNetwork(small_network(seed=1)), "torch-float32", tmp_path)
    assert other["largest"] > 1
    assert other["differing"] > 0.1
    tile, _ = tile_of(tmp_path / "quality-0-4.npz")
    assert timed(make_torch("torch-float32", 1), tile)["wall_ms"] > 0


def test_runtimes_of_a_server_stay_within_one_step_of_the_plain_model() -> None:
    """docs/http-api.md promises 1/255."""
    held = json.loads((RESULTS / "runtimes.json").read_text())
    rows = {row["kind"]: row for row in held["rows"]}
    assert set(rows) == set(KINDS)
    for kind in ("torch-float32", "torch", "ncnn"):
        assert rows[kind]["largest"] <= 1


def test_what_a_package_brings_is_counted() -> None:
    assert installed("torch") > 100e6
    assert installed("httpx") == 0  # bbmr has it already
