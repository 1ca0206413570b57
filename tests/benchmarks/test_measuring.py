"""The measuring code of the benchmarks, on tiny pictures and networks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from bbmr_client.encoding.encoder import encode
from bbmr_models.jointsr import JointSR, JointSRConfig
from bbmr_models.networks import make_network
from bbmr_models.reconstruct import Reconstructor
from bbmr_shared.compositing.composite import preview
from bbmr_shared.grid import BlockGrid
from benchmarks.common import Partial, files_by_rate
from benchmarks.quality import ablations, sizes
from benchmarks.quality.separate import reconstruct_separately
from benchmarks.quality.visual import WINDOW, compare_crops, most_varied_window, sheet
from benchmarks.render import report
from benchmarks.render.ablation_pages import means
from benchmarks.render.backbone_pages import markdown, speed_ups
from benchmarks.speed import backbones, flops

TINY = JointSRConfig("omnisr", channels=8, blocks=1, deblock=4)
SMALL = JointSRConfig(channels=(4, 6, 8), blocks=1)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """`uint8 [320, 448, 3]`."""
    with Image.open(report.ROOT / "samples" / "lake-sherburne.jpg") as image:
        return np.asarray(image.convert("RGB").resize((448, 320)))


def model(config: JointSRConfig = TINY) -> JointSR:
    torch.manual_seed(0)
    return make_network(config).eval()


def test_the_operations_of_a_tiny_network_are_those_of_the_formula() -> None:
    width, height, c, d = 64, 32, 8, 4
    samples = (width // 4) * (height // 4)
    conv = 2 * 9 * samples
    expected = {
        "stem": conv * (3 + 12 + 48 + 5 + 1) * c,
        "deblock": conv * ((48 + 5) * d + d * d + d * c),
        "head": conv * c * 48,
    }
    counted = flops.tile_flops(TINY, width, height)
    assert {part: counted[part] for part in expected} == expected
    assert counted["total"] == sum(expected.values()) + counted["backbone"]
    assert counted["plain"] == counted["total"] - expected["stem"] - expected["deblock"] + conv * 3 * c
    assert flops.tile_flops(replace(TINY, deblock=0), width, height)["deblock"] == 0


def test_the_operations_of_a_small_light_are_those_of_the_formula() -> None:
    width, height, (a, b, c) = 64, 32, (4, 6, 8)
    fine = 2 * (width // 2) * (height // 2)
    middle, coarse = fine // 4, fine // 16
    expected = {"stem": fine * 9 * 18 * a, "head": fine * 9 * a * 12}
    blocks = 36 * (fine * a * a + middle * b * b) + 18 * coarse * c * c
    joints = 4 * (middle * a * b + coarse * b * c + coarse * c * b + middle * b * a)
    counted = flops.tile_flops(SMALL, width, height)
    assert {part: counted[part] for part in expected} == expected
    assert counted["backbone"] == blocks + joints
    assert counted["total"] == sum(counted[part] for part in flops.PARTS)
    assert counted["plain"] == counted["total"] - fine * 9 * 6 * a


def test_attention_depthwise_convolutions_and_batched_products_are_counted() -> None:
    q = torch.empty(6, 4, 64, 16, device="meta")
    x, kernel = torch.empty(1, 8, 10, 12, device="meta"), torch.empty(8, 1, 3, 3, device="meta")
    a, b = torch.empty(3, 4, 5, device="meta"), torch.empty(3, 5, 6, device="meta")
    calls = {
        2 * 2 * 6 * 4 * 64 * 64 * 16: lambda: F.scaled_dot_product_attention(q, q, q),
        2 * 9 * 8 * 10 * 12: lambda: F.conv2d(x, kernel, padding=1, groups=8),
        2 * 3 * 4 * 5 * 6: lambda: torch.bmm(a, b),
    }
    for expected, call in calls.items():
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            call()
        assert counter.get_total_flops() == expected


@pytest.mark.parametrize(("backbone", "channels"), [("omnisr", 64), ("craft", 48)])
def test_no_weight_of_a_backbone_escapes_the_count(backbone: str, channels: int) -> None:
    """Nearly all weights apply to every sample, and attention adds to that."""
    config = JointSRConfig(backbone=backbone, channels=channels, blocks=2)
    counted, weights = flops.tile_flops(config, 256, 256), flops.parameters(config)
    share = counted["backbone"] / (2 * weights["backbone"] * 64 * 64)
    assert 0.95 < share < 1.5
    assert sum(counted[part] for part in flops.PARTS) == counted["total"]


def test_a_picture_costs_what_its_tiles_cost_halo_included() -> None:
    config = replace(SMALL, tile=64, halo=16)
    assert flops.picture_flops(config, 60, 50) == flops.tile_flops(config, 64, 64)
    two = flops.picture_flops(config, 128, 64)
    assert two["total"] == 2 * flops.tile_flops(config, 80, 64)["total"]
    assert flops.rise(two) > 0


def test_separate_blocks_see_only_themselves(photo: np.ndarray) -> None:
    grid, network = BlockGrid(photo.shape[1], photo.shape[0]), model()
    corners = []
    for rate in (4, 16):
        rate_map = np.full(grid.shape, rate, np.uint8)
        rate_map[0, 0], rate_map[-1, -1] = 2, 1
        container = ablations.container_of(photo, rate_map, grid)
        whole = reconstruct_separately(container, {2: network, rate: network})
        assert whole.shape == photo.shape
        assert (whole[256:, 384:] == photo[256:, 384:]).all()
        corners.append(whole[:128, :128])
    assert (corners[0] == corners[1]).all()


def test_separate_blocks_without_a_correction_are_the_composite_of_a_uniform_block(photo: np.ndarray) -> None:
    """One block that covers the picture is the picture: separate and joint reconstruction then agree."""
    small = np.ascontiguousarray(photo[:128, :128])
    container, network = encode(small, rate=4, uniform=True), model()
    joint = np.asarray(Reconstructor(network).reconstruct(container)).astype(int)
    alone = reconstruct_separately(container, {4: network}).astype(int)
    assert np.abs(joint - alone).max() <= 1
    assert (alone != np.asarray(preview(container))).any()


def test_rates_by_own_error_keep_the_budget_and_lower_the_error(photo: np.ndarray) -> None:
    grid = BlockGrid(photo.shape[1], photo.shape[0])
    error = ablations.own_error(photo, grid, Reconstructor(model()))
    assert error.shape == (5, *grid.shape)
    assert (error[0] == 0).all()
    assert (error[4] > error[1]).all()
    rate_map = ablations.own_choice(error, 4, grid)
    container = ablations.container_of(photo, rate_map, grid)
    assert container.samples <= grid.areas().sum() / 16
    index = np.searchsorted([1, 2, 4, 8, 16], rate_map)
    assert np.take_along_axis(error, index[None], 0).sum() <= error[2].sum()


def test_every_ablation_yields_named_rows(photo: np.ndarray) -> None:
    both = Reconstructor(model()), Reconstructor(model(replace(TINY, deblock=0)))
    rows = [{"ablation": "deblock", "rate": 4, **row} for row in ablations.deblock(photo, 4, *both)]
    found = means(rows)
    names = [mean["variant"] for mean in found]
    assert names == ["with the branch", "without", "composite, no network", "the photo itself"]
    assert all("seam" in mean for mean in found)
    assert [row["variant"] for row in ablations.block_sizes(photo, 4, both[0])] == ["64", "256"]


def test_the_window_has_the_most_different_rates(photo: np.ndarray) -> None:
    wide = np.concatenate((photo, photo), axis=1)
    tall = np.concatenate((wide, wide), axis=0)
    grid = BlockGrid(tall.shape[1], tall.shape[0])
    rate_map = np.full(grid.shape, 4, np.uint8)
    rate_map[-1, -1], rate_map[-2, -1] = 1, 16
    x, y, width, height = most_varied_window(tall, rate_map, grid)
    assert (width, height) == (WINDOW, WINDOW)
    held = rate_map[y // 128 : -(-(y + height) // 128), x // 128 : -(-(x + width) // 128)]
    assert len(np.unique(held)) == 3


def test_crops_are_drawn_beside_each_other(photo: np.ndarray) -> None:
    row, facts = compare_crops(photo, 4, Reconstructor(model()), "photo")
    assert [crop.size for _, _, crop in row] == [(WINDOW, 320)] * 4
    assert facts["area"][2:] == (WINDOW, 320)
    drawn = sheet([row, row])
    assert drawn.width > 4 * WINDOW
    assert drawn.height > 2 * 320


def test_a_killed_run_goes_on_and_another_run_begins_anew(tmp_path: Path) -> None:
    first = Partial(tmp_path, "table", {"weights": "a"})
    first.add({"picture": "x", "rate": 4, "psnr_y": 30.0})
    again = Partial(tmp_path, "table", {"weights": "a"})
    assert again.find(picture="x", rate=4) == {"picture": "x", "rate": 4, "psnr_y": 30.0}
    assert again.find(picture="x", rate=2) is None
    assert Partial(tmp_path, "table", {"weights": "b"}).rows == []
    again.finish()
    assert not list(tmp_path.iterdir())


def test_weights_by_rate_are_read_from_the_command_line() -> None:
    assert files_by_rate(["4=a.safetensors", "16=b=c"]) == {4: "a.safetensors", 16: "b=c"}


def test_quality_of_blocks_is_measured_beside_the_composite(photo: np.ndarray) -> None:
    row = sizes.blocks_quality(photo, Reconstructor(model()))
    assert row["composite"] > 20
    assert row["pixels"] <= photo.shape[0] * photo.shape[1] / 16


@pytest.mark.parametrize("name", ["omnisr", "craft"])
def test_pictures_are_padded_like_those_of_the_reference(name: str) -> None:
    x = torch.rand(1, 3, 13, 32)
    padded = backbones.pad_as_reference(name, x)
    assert torch.equal(padded[..., :13, :32], x)
    assert padded.shape[-2:] == ((16, 32) if name == "omnisr" else (16, 48))


def test_calls_are_timed_in_turns() -> None:
    order: list[str] = []
    times = backbones.in_turns(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2, torch.device("cpu")
    )
    assert order == ["a", "b"] * 3
    assert set(times) == {"a", "b"}


def test_speed_ups_are_theirs_over_ours() -> None:
    held = {
        "name": "omnisr",
        "gflop": 400.0,
        "max_difference": 1e-6,
        "ms": {"reference": 40_000.0, "ours": 8_000.0},
        "training_samples_per_second": {"reference": 1.0, "ours": 3.0},
    }
    rest = {"precision": "float32", "device": "cpu", "threads": 2, "peak_gflops": 100.0, "light_ms": 500.0}
    results = {"networks": [held], **rest}
    assert speed_ups(results) == {"omnisr": (5.0, 3.0)}
    text = markdown(results)
    assert "`light` ×80 as fast" in text
    assert "| omnisr, ours | 8,000 | 50.0 | 50% | 3.00 | 1.0e-06 |" in text


def test_a_page_leaves_out_what_was_not_measured(tmp_path: Path) -> None:
    (tmp_path / "rescaling.json").write_bytes((report.RESULTS / "rescaling.json").read_bytes())
    pages = report.pages(tmp_path)
    readme, benchmarks = pages[report.ROOT / "README.md"], pages[report.RESULTS / "README.md"]
    assert tmp_path / "rescaling.md" in pages
    assert tmp_path / "paper.md" not in pages
    shown = benchmarks.split("<!-- index:begin -->")[1].split("<!-- index:end -->")[0]
    assert "](rescaling.md)" in shown
    assert "](paper.md)" not in shown
    assert "`omnisr`" not in readme.split("<!-- table:begin -->")[1].split("<!-- table:end -->")[0]
    held = json.loads((report.RESULTS / "rescaling.json").read_text())
    (tmp_path / "rescaling-omnisr.json").write_text(json.dumps(held))
    assert "block-based, `omnisr`" in report.readme_table(tmp_path)
