"""`bbmr-client compare`: figures, what they do not say in words, and the picture of the difference."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.metrics import psnr_rgb

Run = Callable[..., Any]
Fails = Callable[..., str]
Rgb = Callable[..., np.ndarray]


@pytest.fixture
def other(rgb: Rgb, tmp_path: Path) -> Path:
    """The photo with every other row a little changed."""
    changed = rgb(300, 200).copy()
    changed[::2] ^= 4
    path = tmp_path / "other.png"
    Image.fromarray(changed).save(path)
    return path


def test_figures(run: Run, photo: Path, other: Path, rgb: Rgb) -> None:
    told = json.loads(run("compare", photo, other, "--json").out)
    assert told["psnr_rgb"] == pytest.approx(psnr_rgb(rgb(300, 200), np.asarray(Image.open(other))))
    assert {"psnr_y", "ssim"} <= set(told)
    assert told["max_difference"] == 4
    assert told["notes"] == []
    outcome = run("compare", photo, other)
    assert "PSNR-Y" in outcome.out
    assert f"{told['psnr_rgb']:.6g}" in outcome.out
    assert outcome.err == ""


def test_equal_pictures(run: Run, photo: Path) -> None:
    told = json.loads(run("compare", photo, photo, "--json").out)
    assert told["psnr_rgb"] is None
    assert told["ssim"] == 1
    assert "PSNR-RGB dB         equal" in run("compare", photo, photo).out


def test_of_a_container_the_preview_is_measured(
    run: Run, photo: Path, packed: Path, container: Container, rgb: Rgb
) -> None:
    told = json.loads(run("compare", photo, packed, "--json").out)
    assert told["psnr_rgb"] == pytest.approx(psnr_rgb(rgb(300, 200), np.asarray(preview(container))))
    assert json.loads(run("compare", packed, packed, "--json").out)["psnr_rgb"] is None


def test_a_damaged_container_is_named(fails: Fails, photo: Path, packed: Path) -> None:
    packed.write_bytes(packed.read_bytes()[:-20])
    line = fails("compare", photo, packed)
    assert str(packed) in line
    assert "truncated" in line


def test_sizes_that_differ(fails: Fails, photo: Path, tmp_path: Path) -> None:
    Image.new("RGB", (300, 199)).save(tmp_path / "b.png")
    line = fails("compare", photo, tmp_path / "b.png")
    assert "300×200" in line
    assert "300×199" in line
    assert "turned" not in line


def test_a_picture_that_lost_its_orientation(fails: Fails, run: Run, photo: Path, tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[274] = 6
    with Image.open(photo) as picture:
        picture.save(tmp_path / "turned.png", exif=tags)
        upright = picture.transpose(Image.Transpose.ROTATE_270)
    assert "turned by 90°" in fails("compare", photo, tmp_path / "turned.png")
    upright.save(tmp_path / "upright.png")
    told = json.loads(run("compare", tmp_path / "turned.png", tmp_path / "upright.png", "--json").out)
    assert told["psnr_rgb"] is None, "the tag is applied before anything is measured"


def test_alpha_is_spoken_of(run: Run, photo: Path, tmp_path: Path) -> None:
    with Image.open(photo) as picture:
        for name, value in (("a.png", 100), ("b.png", 90)):
            clear = picture.copy()
            clear.putalpha(value)
            clear.save(tmp_path / name)
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    assert f"only {a} has alpha" in run("compare", photo, a).err
    assert f"only {a} has alpha" in run("compare", a, photo).err
    assert "alpha differs by at most 10" in run("compare", a, b).err
    assert "alpha is equal" in json.loads(run("compare", a, a, "--json").out)["notes"][0]


def test_profiles_are_spoken_of(run: Run, photo: Path, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with Image.open(photo) as picture:
        picture.save(tmp_path / "p.png", icc_profile=profile)
    assert "profiles differ" in run("compare", photo, tmp_path / "p.png").err
    assert run("compare", tmp_path / "p.png", tmp_path / "p.png").err == ""


def test_what_is_no_picture(fails: Fails, photo: Path, tmp_path: Path) -> None:
    assert "does not exist" in fails("compare", photo, tmp_path / "none.png")


class TestPicture:
    def test_of_the_difference(self, run: Run, photo: Path, other: Path, tmp_path: Path) -> None:
        assert run("compare", photo, other, "-o", tmp_path / "sheet.png").code == 0
        assert run("compare", photo, other, "-o", tmp_path / "map.png", "--view", "map").code == 0
        sheet, plain = Image.open(tmp_path / "sheet.png"), Image.open(tmp_path / "map.png")
        assert sheet.width > 3 * 300
        assert plain.height > 200, "the scale is below the picture"
        rows = np.asarray(plain)[:200, :300].astype(int).sum(axis=2)
        assert rows[::2].min() > rows[1::2].max(), "rows that differ are brighter than those that do not"

    def test_through_pipes(self, photo: Path, other: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "bbmr_client", "compare", "-", str(other), "-o", "-", "--json"],
            input=photo.read_bytes(),
            capture_output=True,
            check=True,
        )
        assert done.stdout.startswith(b"\x89PNG")
        assert json.loads(done.stderr)["max_difference"] == 4

    def test_what_belongs_to_a_picture_needs_one(self, run: Run, photo: Path) -> None:
        for option in (("--view", "map"), ("--format", "png")):
            outcome = run("compare", photo, photo, *option)
            assert outcome.code == 2
            assert "-o" in outcome.err

    def test_there_is_one_standard_input(self, run: Run) -> None:
        assert run("compare", "-", "-").code == 2

    def test_nothing_is_written_when_it_fails(self, fails: Fails, photo: Path, tmp_path: Path) -> None:
        Image.new("RGB", (9, 9)).save(tmp_path / "b.png")
        fails("compare", photo, tmp_path / "b.png", "-o", tmp_path / "d.png")
