"""`bbmr-client preview`, `info`, `verify`, `ratemap` and `compare`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client.encoder import encode
from bbmr_client.view import RATE_COLOURS
from bbmr_shared.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.metrics import psnr_rgb

Run = Callable[..., Any]
Fails = Callable[..., str]


def test_preview_is_the_composite(run: Run, packed: Path, container: Container) -> None:
    out = packed.with_name("out.png")
    assert run("preview", packed, "-o", out).code == 0
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(preview(container)))


def test_preview_through_pipes(packed: Path, container: Container, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bbmr_client", "preview", "-", "-o", "-", "--format", "webp"],
        input=packed.read_bytes(),
        capture_output=True,
        check=True,
    )
    (tmp_path / "x").write_bytes(done.stdout)
    with Image.open(tmp_path / "x") as picture:
        assert picture.format == "WEBP"
        assert picture.size == (container.width, container.height)


def test_info_says_what_is_inside(run: Run, packed: Path, container: Container) -> None:
    told = json.loads(run("info", packed, "--json").out)
    assert (told["width"], told["height"], told["bytes"]) == (300, 200, packed.stat().st_size)
    assert told["pixels"] == container.samples
    assert told["grid"] == [2, 3]
    assert sum(told["rates"].values()) == 6
    assert told["coding_errors"] == {str(plane.rate): 0 for plane in container.planes}
    assert (told["model"], told["strength"], told["downscaler"]) == ("light", 1.0, "bicubic")
    assert told["alpha"] is False
    assert told["unknown_fields"] == []
    text = run("info", packed).out
    for words in (
        "300×200",
        f"{packed.stat().st_size} bytes",
        "3×2 of 128",
        "metadata      none",
    ):
        assert words in text


def test_info_counts_the_network_strength_of_blocks(run: Run, packed: Path, container: Container) -> None:
    halves = np.array([[0, 1, 2], [2, 2, 2]], np.uint8)
    packed.write_bytes(replace(container, strength_map=halves).to_bytes())
    assert json.loads(run("info", packed, "--json").out)["strengths"] == {"0": 1, "0.5": 1, "1": 4}
    assert "strength 0 in 1 blocks, 0.5 in 1 blocks, 1 in 4 blocks" in run("info", packed).out
    packed.write_bytes(replace(container, strength_map=None).to_bytes())
    assert "light, strength 1\n" in run("info", packed).out


def test_info_shows_fields_of_the_future(run: Run, packed: Path, container: Container) -> None:
    packed.write_bytes(replace(container, extra={"later": 1}).to_bytes())
    assert json.loads(run("info", packed, "--json").out)["unknown_fields"] == ["later"]
    assert "later" in run("info", packed).out


def test_info_takes_any_field_and_shows_only_what_can_be_shown(
    run: Run, packed: Path, container: Container
) -> None:
    name = "clear\x1b[2J\nscreen\x9b"
    fields = {name: {"deep": [b"\xff", None, {"x": 1.5}]}, "bytes": b"\0\xff", "endless": float("inf")}
    packed.write_bytes(replace(container, extra=fields).to_bytes())
    assert set(json.loads(run("info", packed, "--json").out)["unknown_fields"]) == set(fields)
    text = run("info", packed).out
    assert all(sign.isprintable() for sign in text.replace("\n", ""))
    assert "clear [2J screen" in text


def test_names_of_files_do_not_steer_the_terminal(run: Run, packed: Path) -> None:
    odd = packed.rename(packed.with_name("a\x1b[2J.bbmr"))
    for arguments in (("verify", odd), ("preview", odd, "-o", f"{odd}.png"), ("info", f"{odd}.none")):
        outcome = run(*arguments)
        assert "\x1b" not in outcome.out + outcome.err
        assert "a [2J.bbmr" in outcome.out + outcome.err


def test_preview_as_json(run: Run, packed: Path) -> None:
    out = packed.with_name("out.webp")
    told = json.loads(run("preview", packed, "-o", out, "--json").out)
    assert told == {"width": 300, "height": 200, "bytes": out.stat().st_size, "format": "webp"}


def test_ratemap_as_json(run: Run, packed: Path, container: Container) -> None:
    out = packed.with_name("out.png")
    told = json.loads(run("ratemap", packed, "-o", out, "--json").out)
    with Image.open(out) as drawn:
        assert (told["width"], told["height"]) == drawn.size
    assert told["bytes"] == out.stat().st_size
    assert told["format"] == "png"
    assert told["rates"] == {
        str(rate): np.count_nonzero(container.rate_map == rate) for rate in (1, 2, 4, 8, 16)
    }


def test_verify(run: Run, packed: Path, container: Container) -> None:
    outcome = run("verify", packed)
    assert outcome.code == 0
    assert outcome.out == f"{packed}: ok, {len(container.planes)} planes, {packed.stat().st_size} bytes\n"
    assert json.loads(run("verify", packed, "--json").out)["ok"] is True


def test_verify_tells_machines_why_not(run: Run, packed: Path) -> None:
    packed.write_bytes(packed.read_bytes()[:-1])
    outcome = run("verify", packed, "--json")
    told = json.loads(outcome.out)
    assert outcome.code == 1
    assert told["ok"] is False
    assert told["type"] == "urn:bbmr:problem:unreadable-container"
    assert told["error"] in outcome.err


def test_verify_decodes(fails: Fails, packed: Path, container: Container) -> None:
    """Digests that are right say nothing about a plane that was written broken."""
    plane = container.planes[0]
    broken = replace(plane, data=plane.data[:-8] + bytes(8))
    packed.write_bytes(replace(container, planes=(broken, *container.planes[1:])).to_bytes())
    assert "decode" in fails("verify", packed)


def test_ratemap_shows_each_block_in_the_colour_of_its_rate(run: Run, tmp_path: Path) -> None:
    flat = np.full((256, 384, 3), 128, np.uint8)
    container = encode(flat, rate=16)
    rates = np.array([[1, 2, 4], [8, 16, 16]], np.uint8)
    planes = {rate: encode(flat, rate=rate, uniform=True).planes[0] for rate in (16, 8, 4, 2, 1)}
    mixed = replace(container, rate_map=rates, planes=tuple(planes.values()))
    (tmp_path / "m.bbmr").write_bytes(mixed.to_bytes())
    assert run("ratemap", tmp_path / "m.bbmr", "-o", tmp_path / "m.png").code == 0
    drawn = np.asarray(Image.open(tmp_path / "m.png").convert("RGB")).astype(int)
    assert drawn.shape[0] > 256, "the legend is below the picture"
    for row in range(2):
        for col in range(3):
            tint = drawn[row * 128 + 64, col * 128 + 64] - 128
            colour = np.array(RATE_COLOURS[int(rates[row, col])]) - 128
            assert tint @ colour > 0
            assert np.abs(tint * np.abs(colour).max() - colour * np.abs(tint).max()).max() < 2 * 128
    legend = {tuple(pixel) for pixel in drawn[256:].reshape(-1, 3)}
    assert set(RATE_COLOURS.values()) <= legend


@pytest.mark.parametrize("size", [(1, 1), (40, 900), (900, 40)])
def test_ratemap_of_odd_sizes(run: Run, tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "m.bbmr").write_bytes(encode(np.zeros((size[1], size[0], 3), np.uint8)).to_bytes())
    assert run("ratemap", tmp_path / "m.bbmr", "-o", tmp_path / "m.png").code == 0
    assert Image.open(tmp_path / "m.png").size >= size


class TestCompare:
    def test_figures(self, run: Run, photo: Path, rgb: Callable[..., np.ndarray], tmp_path: Path) -> None:
        other = rgb(300, 200).copy()
        other[::2] ^= 4
        Image.fromarray(other).save(tmp_path / "other.png")
        told = json.loads(run("compare", photo, tmp_path / "other.png", "--json").out)
        assert told["psnr_rgb"] == pytest.approx(psnr_rgb(rgb(300, 200), other))
        assert {"psnr_y", "ssim"} <= set(told)
        assert told["max_difference"] == 4
        text = run("compare", photo, tmp_path / "other.png").out
        assert "PSNR-Y" in text
        assert f"{told['psnr_rgb']:.6g}" in text

    def test_equal_pictures(self, run: Run, photo: Path) -> None:
        told = json.loads(run("compare", photo, photo, "--json").out)
        assert told["psnr_rgb"] is None
        assert told["ssim"] == 1
        assert "PSNR-RGB dB         equal" in run("compare", photo, photo).out

    def test_sizes_that_differ(self, fails: Fails, photo: Path, tmp_path: Path) -> None:
        Image.new("RGB", (300, 199)).save(tmp_path / "b.png")
        line = fails("compare", photo, tmp_path / "b.png")
        assert "300×200" in line
        assert "300×199" in line

    def test_what_is_no_picture(self, fails: Fails, photo: Path, tmp_path: Path) -> None:
        assert "does not exist" in fails("compare", photo, tmp_path / "none.png")
