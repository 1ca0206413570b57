"""`bbmr-client encode`: what it writes and reports, and every wrong use of it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client.commands.encode import Metadata
from bbmr_client.config import _ENCODE, EncodeDefaults
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.images.codecs import CODECS

Run = Callable[..., Any]
Fails = Callable[..., str]


def test_the_container_lies_beside_the_photo(run: Run, photo: Path) -> None:
    outcome = run("encode", photo)
    assert outcome.code == 0
    assert outcome.out == ""
    assert "300×200" in outcome.err
    container = Container.from_bytes(photo.with_suffix(".bbmr").read_bytes())
    assert (container.width, container.height) == (300, 200)


def test_the_json_report_is_true(run: Run, photo: Path, tmp_path: Path) -> None:
    outcome = run("encode", photo, "-o", tmp_path / "x.bbmr", "--json")
    told = json.loads(outcome.out)
    data = (tmp_path / "x.bbmr").read_bytes()
    container = Container.from_bytes(data)
    assert outcome.err == ""
    assert set(told) == {
        *("width", "height", "bytes", "bpp", "pixels", "overall_rate", "rates", "planes", "seconds"),
        *("original", "warnings"),
    }
    assert (told["width"], told["height"], told["bytes"]) == (300, 200, len(data))
    assert told["bpp"] == pytest.approx(8 * len(data) / 60_000, abs=1e-5)
    assert told["pixels"] == container.samples <= 304 * 208 / 16
    assert told["overall_rate"] == pytest.approx((304 * 208 / container.samples) ** 0.5, abs=1e-5)
    assert told["rates"] == {str(rate): int((container.rate_map == rate).sum()) for rate in (1, 2, 4, 8, 16)}
    assert [(plane["rate"], plane["bytes"]) for plane in told["planes"]] == [
        (plane.rate, len(plane.data)) for plane in container.planes
    ]
    assert {plane["quality"] for plane in told["planes"]} == {None}
    assert told["seconds"] > 0


def test_the_options_reach_the_encoder(run: Run, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.bbmr"
    assert (
        run("encode", photo, "-o", out, "--rate", 2, "--uniform", "--codec", "png", "--rates", "2,4").code
        == 0
    )
    container = Container.from_bytes(out.read_bytes())
    assert set(np.unique(container.rate_map)) == {2}
    assert [plane.codec for plane in container.planes] == ["png"]
    assert run("encode", photo, "-o", out, "--rate", 6.5, "--rates", "4,8").code == 0
    assert set(np.unique(Container.from_bytes(out.read_bytes()).rate_map)) <= {4, 8}
    sizes = []
    for effort in (0, 9):
        run("encode", photo, "-o", out, "--rate", 1, "--effort", effort)
        sizes.append(out.stat().st_size)
        container = Container.from_bytes(out.read_bytes())
        assert np.array_equal(np.asarray(preview(container)), np.asarray(Image.open(photo)))
    assert sizes[1] <= sizes[0]


def test_lossless_keeps_every_pixel(run: Run, tmp_path: Path, rgb: Callable[..., np.ndarray]) -> None:
    samples = np.dstack([rgb(300, 200), rgb(300, 200, seed=8)[..., 0]])
    Image.fromarray(samples).save(tmp_path / "a.png")
    outcome = run("encode", tmp_path / "a.png", "--lossless", "--json")
    rates = json.loads(outcome.out)["rates"]
    assert {rate for rate, count in rates.items() if count} == {"1"}
    assert run("preview", tmp_path / "a.bbmr", "-o", tmp_path / "b.png").code == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), samples)


def test_verbose_lists_the_planes(run: Run, photo: Path) -> None:
    outcome = run("encode", photo, "-v")
    planes = Container.from_bytes(photo.with_suffix(".bbmr").read_bytes()).planes
    lines = outcome.err.splitlines()[1:]
    assert [line.split()[1] for line in lines] == [f"1/{plane.rate}" for plane in planes]
    assert all(f"{len(plane.data)} bytes" in line for line, plane in zip(lines, planes, strict=True))


class TestSettings:
    """Defaults in the table [encode] of the settings file."""

    @pytest.fixture
    def settings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
        def write(text: str) -> Path:
            path = tmp_path / "config.toml"
            path.write_text(text)
            monkeypatch.setenv("BBMR_CONFIG", str(path))
            return path

        return write

    def test_they_are_defaults_that_an_option_wins_over(
        self, run: Run, photo: Path, settings: Callable[[str], Path]
    ) -> None:
        settings('[encode]\nrate = 2\nrates = [2, 4]\ncodec = "png"\nkeep_smaller = true\n')

        def encoded(*options: object) -> Container:
            assert run("encode", photo, *options).code == 0
            return Container.from_bytes(photo.with_suffix(".bbmr").read_bytes())

        assert {(plane.rate, plane.codec) for plane in encoded("--uniform").planes} == {(2, "png")}
        assert {plane.rate for plane in encoded("--uniform", "--rate", 4).planes} == {4}
        assert encoded("--lossless", "--codec", "webp", "--no-keep-smaller").planes[0].codec == "webp"
        assert encoded("--lossless").original

    def test_they_reach_the_workers_of_a_batch(
        self, run: Run, photo: Path, tmp_path: Path, settings: Callable[[str], Path]
    ) -> None:
        settings("[encode]\nrate = 8\nrates = [8]\n")
        assert run("encode", photo, "-o", f"{tmp_path}/out/").code == 0
        (plane,) = Container.from_bytes((tmp_path / "out/photo.bbmr").read_bytes()).planes
        assert plane.rate == 8

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("rat = 2", "there is no setting 'rat' in [encode]: did you mean rate?"),
            ("server = 'x'", "there is no setting 'server' in [encode]"),
            ("rate = 17", "encode.rate is a number from 1 to 16, and not 17"),
            ("rate = nan", "encode.rate is a number from 1 to 16, and not nan"),
            ("rate = true", "encode.rate is a number from 1 to 16, and not true"),
            ("effort = 3.5", "encode.effort is a whole number from 0 to 9, and not 3.5"),
            ("codec = 'avif'", "encode.codec is webp or png, and not 'avif'"),
            ("metadata = 1", "encode.metadata is all or icc or none, and not 1"),
            ("rates = [1, 3]", "encode.rates is a list out of [1, 2, 4, 8, 16]"),
            ("rates = []", "encode.rates is a list out of"),
            ("rates = '1,2'", "encode.rates is a list out of"),
            ("alpha_quality = 101", "encode.alpha_quality is a whole number from 0 to 100"),
            ("keep_smaller = 'yes'", "encode.keep_smaller is true or false"),
        ],
    )
    def test_wrong_ones_are_refused(
        self, fails: Fails, photo: Path, settings: Callable[[str], Path], line: str, words: str
    ) -> None:
        path = settings(f"[encode]\n{line}\n")
        assert f"{path}: {words}" in fails("encode", photo, code=2)

    def test_encode_is_a_table(self, fails: Fails, photo: Path, settings: Callable[[str], Path]) -> None:
        settings("encode = 4")
        assert "encode is a table" in fails("encode", photo, code=2)

    def test_the_values_that_it_may_have_are_those_of_the_encoder(self) -> None:
        assert set(_ENCODE) == {one.name for one in fields(EncodeDefaults)}
        assert _ENCODE["codec"].choices == tuple(name for name, row in CODECS.items() if row.lossless)
        assert _ENCODE["metadata"].choices == tuple(Metadata)


@pytest.mark.parametrize("size", [(1, 1), (127, 129), (16, 500)])
def test_odd_sizes(run: Run, tmp_path: Path, rgb: Callable[..., np.ndarray], size: tuple[int, int]) -> None:
    Image.fromarray(rgb(*size)).save(tmp_path / "odd.png")
    for rate in (1, 4, 16):
        assert run("encode", tmp_path / "odd.png", "--rate", rate).code == 0
        assert run("preview", tmp_path / "odd.bbmr", "-o", tmp_path / "back.png").code == 0
        with Image.open(tmp_path / "back.png") as back:
            assert back.size == size


def test_standard_input_and_output(photo: Path, tmp_path: Path) -> None:
    """As a process of its own: bytes in, bytes alone out, the report on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "bbmr_client", "encode", "-", "-o", "-", "--json"],
        input=photo.read_bytes(),
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    assert Container.from_bytes(done.stdout).width == 300
    assert json.loads(done.stderr)["bytes"] == len(done.stdout)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_a_reader_that_goes_away_is_no_noise(photo: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "bbmr_client", "encode", str(photo), "-o", "-"],
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def test_metadata_and_alpha_come_through(run: Run, tmp_path: Path, rgb: Callable[..., np.ndarray]) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a maker"
    samples = np.dstack([rgb(64, 48), rgb(64, 48, seed=8)[..., 0]])
    Image.fromarray(samples).save(tmp_path / "a.png", exif=exif)
    assert run("encode", tmp_path / "a.png", "--rate", 1).code == 0
    assert run("preview", tmp_path / "a.bbmr", "-o", tmp_path / "b.png").code == 0
    with Image.open(tmp_path / "b.png") as back:
        assert back.mode == "RGBA"
        assert back.size == (48, 64)
        assert np.array_equal(np.asarray(back)[..., 3], np.rot90(samples[..., 3], -1))
        assert back.getexif()[0x010F] == "a maker"
        assert back.getexif().get(0x0112, 1) == 1


class TestWrongUsage:
    @pytest.mark.parametrize(
        "words", [("-q", 80), ("-q80",), ("-q",), ("--quality", 80), ("--quality=80",)], ids=str
    )
    def test_quality_comes_with_lossy_planes(
        self, fails: Fails, photo: Path, words: tuple[object, ...]
    ) -> None:
        for command in (("encode", photo, *words), ("encode", *words, photo), ("decode", photo, *words)):
            assert fails(*command, code=2) == (
                "bbmr-client: -q means --quality, which comes with lossy planes and is not in this release; "
                "for fewer messages write --quiet"
            )

    def test_a_file_may_begin_with_q(self, fails: Fails) -> None:
        assert "-q.png does not exist" in fails("encode", "--", "-q.png")

    @pytest.mark.parametrize("option", ["--bpp", "--max-bytes", "--target-psnr", "--downscaler"])
    def test_options_that_come_later_are_no_options_yet(
        self, fails: Fails, run: Run, photo: Path, option: str
    ) -> None:
        assert f"No such option: {option}" in fails("encode", photo, option, 1, code=2)
        assert option not in run("encode", "--help").out

    @pytest.mark.parametrize("other", [("--rate", 4), ("--rates", "1,2"), ("--alpha-quality", 50)])
    def test_lossless_excludes_what_loses_pixels(
        self, fails: Fails, photo: Path, other: tuple[object, ...]
    ) -> None:
        line = fails("encode", photo, "--lossless", *other, code=2)
        assert line == f"bbmr-client: --lossless and {other[0]} exclude each other"

    def test_quiet_and_verbose(self, fails: Fails, photo: Path) -> None:
        assert "exclude each other" in fails("encode", photo, "--quiet", "-v", code=2)

    @pytest.mark.parametrize("ending", ["avif", "PNG", "jpg", "heic"])
    def test_a_picture_as_output(self, fails: Fails, photo: Path, tmp_path: Path, ending: str) -> None:
        for inputs in ((photo,), (photo, photo)):
            line = fails("encode", *inputs, "-o", tmp_path / f"out.{ending}", code=2)
            assert f"out.{ending}: encode writes containers, not .{ending.lower()} pictures" in line
            assert "OUT.bbmr" in line

    @pytest.mark.parametrize("rate", [(), ("--rate", 4)])
    def test_a_lossy_codec(self, fails: Fails, photo: Path, rate: tuple[object, ...]) -> None:
        line = fails("encode", photo, *rate, "--codec", "avif", code=2)
        assert "lossless" in line
        assert "use --codec webp or png" in line
        assert ("--rate" in line) == bool(rate), "what was not given is not blamed"

    @pytest.mark.parametrize("rate", [(), ("--rate", 4)])
    def test_a_codec_that_is_not_built_in(self, fails: Fails, photo: Path, rate: tuple[object, ...]) -> None:
        line = fails("encode", photo, *rate, "--codec", "jxl", code=2)
        assert "jxl is not built into this release" in line
        assert "--rate" not in line

    @pytest.mark.parametrize(
        "arguments", [("encode", ""), ("info", ""), ("compare", "", ""), ("encode", "PHOTO", "-o", "")]
    )
    def test_an_empty_name(self, fails: Fails, photo: Path, arguments: tuple[str, ...]) -> None:
        given = (photo if word == "PHOTO" else word for word in arguments)
        assert "empty" in fails(*given, code=2)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--rate", 0.5), "1 to 16"),
            (("--rate", 17), "1 to 16"),
            (("--rate", "nan"), "1 to 16"),
            (("--rate", "four"), "--rate"),
            (("--rates", "1,3"), "--rates"),
            (("--rates", ""), "--rates"),
            (("--rates", "1,2", "--rate", 4), "palette"),
            (("--uniform", "--rate", 3), "palette"),
            (("--effort", 10), "--effort"),
            (("--codec", "bmp"), "--codec"),
            (("--colour", "red"), "--colour"),
        ],
    )
    def test_options_out_of_range(
        self, fails: Fails, photo: Path, options: tuple[object, ...], words: str
    ) -> None:
        assert words in fails("encode", photo, *options, code=2)

    def test_several_photos_without_a_folder(self, fails: Fails, photo: Path) -> None:
        assert "-o DIR" in fails("encode", photo, photo, code=2)

    def test_no_photo(self, fails: Fails) -> None:
        assert "PHOTO" in fails("encode", code=2)

    def test_the_photo_itself_as_output(self, fails: Fails, photo: Path) -> None:
        assert "replace the input" in fails("encode", photo, "-o", photo, code=2)


class TestNothingWritten:
    def test_to_a_folder_that_is_not_there(self, fails: Fails, photo: Path, tmp_path: Path) -> None:
        assert "does not exist" in fails("encode", photo, "-o", tmp_path / "none" / "x.bbmr")

    def test_when_the_disk_is_full(self, fails: Fails, photo: Path) -> None:
        assert "no space left" in fails("encode", photo, "-o", "/dev/full")


def test_debug_shows_where(run: Run, tmp_path: Path) -> None:
    for arguments in (("--debug", "encode", tmp_path / "none"), ("encode", tmp_path / "none", "--debug")):
        outcome = run(*arguments)
        assert outcome.code == 1
        assert "Traceback" in outcome.err
        assert outcome.err.splitlines()[-1].startswith("bbmr-client: ")


def test_an_error_nobody_foresaw_is_one_line_too(
    run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("some\nthing")

    monkeypatch.setattr(sys.modules["bbmr_client.encoding.encoder"], "encode", broken)
    outcome = run("encode", photo)
    assert outcome.code == 1
    assert outcome.err.startswith("bbmr-client: unexpected RuntimeError: some thing")
    assert "\n" not in outcome.err


def test_ctrl_c_is_130(run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["bbmr_client.encoding.encoder"], "encode", interrupted)
    outcome = run("encode", photo)
    assert outcome.code == 130
    assert outcome.err == ""
    assert not photo.with_suffix(".bbmr").exists()


def test_the_function_is_the_function_after_its_module_was_imported() -> None:
    import bbmr_client
    import bbmr_client.encoding.encoder

    container = bbmr_client.encode(np.zeros((20, 20, 3), np.uint8))
    assert isinstance(container, Container)
    assert Image.open(io.BytesIO(container.planes[0].data)).format == "WEBP"
