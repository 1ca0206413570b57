"""`bbmr-client preview`, `info`, `verify` and `ratemap`."""

from __future__ import annotations

import io
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

from bbmr_client.encoding.encoder import encode
from bbmr_client.reports.ratemap import RATE_COLOURS
from bbmr_shared.compositing.composite import preview
from bbmr_shared.compositing.thumbnail import thumbnail
from bbmr_shared.container import Container
from tests.shared import parts

Run = Callable[..., Any]
Fails = Callable[..., str]


def test_preview_is_the_composite(run: Run, packed: Path, container: Container) -> None:
    out = packed.with_name("out.png")
    assert run("preview", packed, "-o", out).code == 0
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(preview(container)))


@pytest.mark.parametrize("side", [1, 40, 300, 5000])
def test_preview_of_a_size(run: Run, packed: Path, container: Container, side: int) -> None:
    out = packed.with_name("out.png")
    told = json.loads(run("preview", packed, "-o", out, "--max-side", side, "--json").out)
    small = Image.open(out)
    assert max(small.size) == min(side, 300)
    assert (told["width"], told["height"]) == small.size
    assert np.array_equal(np.asarray(small), np.asarray(thumbnail(container, side)))


@pytest.mark.parametrize("side", ["0", "-1", "x", "65536"])
def test_preview_of_no_size(run: Run, packed: Path, side: str) -> None:
    outcome = run("preview", packed, "-o", packed.with_name("out.png"), "--max-side", side)
    assert outcome.code == 2
    assert "--max-side" in outcome.err


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


def test_info_shows_what_the_photo_carried(run: Run, packed: Path) -> None:
    made = parts.container(101, 67, channels=1, alpha=True, dpi=(300.0, 150.5), exif=bytes(8), xmp=bytes(9))
    packed.write_bytes(made.to_bytes())
    text = run("info", packed).out
    assert "101×67, grey, with alpha\n" in text
    assert "resolution    300×150.5 pixels per inch\n" in text
    assert "metadata      EXIF 8 bytes, XMP 9 bytes\n" in text
    told = json.loads(run("info", packed, "--json").out)
    assert (told["channels"], told["alpha"], told["dpi"], told["original"]) == (1, True, [300, 150.5], False)


def test_info_of_a_source_file_kept_as_it_is(run: Run, packed: Path, rgb: Callable[..., np.ndarray]) -> None:
    flat = packed.with_name("flat.jpg")
    Image.fromarray(rgb(64, 48)).save(flat, quality=5)
    made = encode(str(flat), rate=1, keep_smaller=True)
    assert made.original
    packed.write_bytes(made.to_bytes())
    text = run("info", packed).out
    assert f"jpeg, {flat.stat().st_size} bytes, the source file itself\n" in text
    assert "weights" not in text


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


class TestVerifyMany:
    @pytest.fixture
    def folder(self, packed: Path) -> Path:
        """a.bbmr and sub/c.bbmr are undamaged, b.bbmr is truncated."""
        folder = packed.parent / "many"
        (folder / "sub").mkdir(parents=True)
        whole = packed.read_bytes()
        (folder / "a.bbmr").write_bytes(whole)
        (folder / "b.bbmr").write_bytes(whole[:-9])
        (folder / "sub" / "c.bbmr").write_bytes(whole)
        (folder / "notes.txt").write_text("none of ours")
        return folder

    def test_one_that_is_damaged_does_not_stop_the_rest(self, run: Run, folder: Path) -> None:
        outcome = run("verify", folder)
        assert outcome.code == 1
        assert [line.partition(":")[0] for line in outcome.out.splitlines()] == [
            str(folder / "a.bbmr"),
            str(folder / "sub" / "c.bbmr"),
        ]
        damaged, summary = outcome.err.splitlines()
        assert damaged.startswith(f"{folder / 'b.bbmr'}: the file is truncated")
        assert summary == "3 files, 1 damaged"

    def test_all_whole(self, run: Run, folder: Path) -> None:
        outcome = run("verify", folder / "a.bbmr", folder / "sub")
        assert (outcome.code, outcome.out.count(": ok, ")) == (0, 2)
        assert outcome.err.strip() == "2 files, none damaged"

    def test_as_json(self, run: Run, folder: Path) -> None:
        outcome = run("verify", folder, folder / "none.bbmr", "--json")
        told = json.loads(outcome.out)
        assert outcome.code == 1
        assert (told["ok"], told["files"], told["failed"]) == (False, 4, 2)
        by_name = {Path(row["file"]).name: row for row in told["results"]}
        assert by_name["a.bbmr"]["ok"] is True
        assert by_name["b.bbmr"]["type"] == "urn:bbmr:problem:unreadable-container"
        assert "does not exist" in by_name["none.bbmr"]["error"]

    def test_patterns(self, run: Run, folder: Path) -> None:
        assert run("verify", folder / "[ac].bbmr").out.count(": ok, ") == 1
        assert run("verify", folder / "**" / "[ac].bbmr").out.count(": ok, ") == 2

    def test_a_folder_without_containers(self, run: Run, tmp_path: Path) -> None:
        outcome = run("verify", tmp_path)
        assert outcome.code == 2
        assert "no .bbmr file" in outcome.err


@pytest.mark.parametrize("command", ["verify", "preview", "ratemap"])
def test_a_plane_that_does_not_decode_is_told_with_its_file(
    run: Run, packed: Path, container: Container, command: str
) -> None:
    plane = container.planes[0]
    broken = replace(plane, data=plane.data[:-8] + bytes(8))
    packed.write_bytes(replace(container, planes=(broken, *container.planes[1:])).to_bytes())
    options = [] if command == "verify" else ["-o", packed.with_name("x.png")]
    assert run(command, packed, *options).err.startswith(f"bbmr-client: {packed}: ")


@pytest.mark.parametrize("command", ["info", "verify"])
def test_reports_of_what_comes_through_a_pipe(packed: Path, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bbmr_client", command, "-", "--json"],
        input=packed.read_bytes(),
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["bytes"] == packed.stat().st_size


def test_ratemap_through_pipes(packed: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bbmr_client", "ratemap", "-", "-o", "-", "--json"],
        input=packed.read_bytes(),
        capture_output=True,
        check=True,
    )
    assert Image.open(io.BytesIO(done.stdout)).width >= 300
    assert json.loads(done.stderr)["format"] == "png"


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


@pytest.mark.parametrize(
    "command",
    [("preview", "x", "-o", "x"), ("ratemap", "x", "-o", "x"), ("compare", "x", "x", "-o", "x")],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("by_link", [False, True])
def test_no_result_replaces_its_own_input(
    fails: Fails, packed: Path, tmp_path: Path, command: tuple[str, ...], by_link: bool
) -> None:
    before, target = packed.read_bytes(), packed
    if by_link:
        target = tmp_path / "link.png"
        target.symlink_to(packed)
    names = {"x": packed, "-o": "-o"}
    words = [names.get(word, word) for word in command[:-1]]
    message = fails(*words, target, "--format", "png", code=2)
    assert "the output would replace the input" in message
    assert packed.read_bytes() == before


def test_a_name_that_is_too_long(fails: Fails, packed: Path, tmp_path: Path) -> None:
    message = fails("preview", packed, "-o", tmp_path / ("z" * 300 + ".png"), code=1)
    assert "cannot be written: file name too long" in message


def test_lost_transparency_is_said(run: Run, tmp_path: Path) -> None:
    packed = tmp_path / "alpha.bbmr"
    packed.write_bytes(encode(Image.new("RGBA", (20, 20), (9, 9, 9, 99))).to_bytes())
    assert "jpeg has no transparency" in run("preview", packed, "-o", tmp_path / "x.jpg").err
    assert "has no transparency" not in run("preview", packed, "-o", tmp_path / "x.png").err
