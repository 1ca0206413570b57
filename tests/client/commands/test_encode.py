"""`bbmr-client encode`: what it writes and reports, and every wrong use of it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client.commands.encode_options import Metadata
from bbmr_client.config import _ENCODE, EncodeDefaults
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.images.codecs import CODECS
from bbmr_shared.images.names import LOSSLESS_CODECS, LOSSY_CODECS

Run = Callable[..., Any]
Fails = Callable[..., str]


def test_the_container_lies_beside_the_photo(run: Run, photo: Path) -> None:
    outcome = run("encode", photo)
    assert outcome.code == 0
    assert outcome.out == ""
    assert "300×200" in outcome.err
    container = Container.from_bytes(photo.with_suffix(".bbmr").read_bytes())
    assert (container.width, container.height) == (300, 200)


def test_without_options_the_quality_is_the_default(run: Run, photo: Path, tmp_path: Path) -> None:
    assert run("encode", photo).code == 0
    for words in (("-q", 65), ("-q65",), ("--quality", 65), ("--quality=65", "--codec", "av1")):
        assert run("encode", photo, "-o", tmp_path / "x.bbmr", *words).code == 0
        assert (tmp_path / "x.bbmr").read_bytes() == photo.with_suffix(".bbmr").read_bytes()
    container = Container.from_bytes(photo.with_suffix(".bbmr").read_bytes())
    assert {plane.codec for plane in container.planes} == {"av1"}
    assert all(plane.error for plane in container.planes)


def test_no_network(run: Run, photo: Path) -> None:
    for budget in (("-q", 10), ("--rate", 4), ("--max-bytes", "9k")):
        assert run("encode", photo, *budget, "--no-network").code == 0
        assert not Container.from_bytes(photo.with_suffix(".bbmr").read_bytes()).strengths.any()


def test_the_json_report_is_true(run: Run, photo: Path, tmp_path: Path) -> None:
    outcome = run("encode", photo, "-o", tmp_path / "x.bbmr", "--rate", 4, "--json")
    told = json.loads(outcome.out)
    data = (tmp_path / "x.bbmr").read_bytes()
    container = Container.from_bytes(data)
    assert outcome.err == ""
    assert set(told) == {
        *("width", "height", "bytes", "bpp", "pixels", "overall_rate", "rates", "planes", "seconds"),
        *("original", "quality", "psnr", "psnr_of", "warnings"),
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
    assert (told["quality"], told["psnr"], told["psnr_of"]) == (None, None, None)
    assert told["seconds"] > 0


def test_the_report_names_the_quality(run: Run, photo: Path) -> None:
    told = json.loads(run("encode", photo, "-q", 30, "--json").out)
    assert (told["quality"], told["psnr"], told["psnr_of"]) == (30, None, None)
    assert all(0 <= plane["quality"] <= 100 for plane in told["planes"])
    planes = json.loads(run("info", photo.with_suffix(".bbmr"), "--json").out)["planes"]
    assert {plane["quality"] for plane in planes} == {None}, "the file does not have it"
    within = json.loads(run("encode", photo, "--max-bytes", "9k", "--json").out)
    assert within["bytes"] <= 9000
    assert run("encode", photo, "-q", within["quality"], "--json").code == 0
    assert photo.with_suffix(".bbmr").stat().st_size == within["bytes"]
    lines = run("encode", photo, "-q", 30, "-v").err.splitlines()
    assert ", quality 30, " in lines[0]
    assert all(", quality " in line for line in lines[1:])


def test_the_report_names_the_psnr_that_was_reached(run: Run, photo: Path, tmp_path: Path) -> None:
    told = json.loads(run("encode", photo, "--target-psnr", 30, "--json").out)
    assert told["psnr_of"] == "composite"
    assert told["psnr"] >= 30
    measured = json.loads(run("compare", photo, photo.with_suffix(".bbmr"), "--json").out)["psnr_rgb"]
    assert measured == pytest.approx(told["psnr"], abs=0.01)
    line = run("encode", photo, "--target-psnr", 30).err
    assert f"quality {told['quality']}, PSNR {told['psnr']:.2f} dB (composite)" in line
    Image.new("RGB", (40, 30)).save(tmp_path / "exact.png")
    exact = json.loads(run("encode", tmp_path / "exact.png", "--target-psnr", 60, "--json").out)
    assert (exact["psnr"], exact["warnings"]) == (None, []), "JSON has no infinity"


def test_a_psnr_out_of_reach_is_a_warning(run: Run, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    outcome = run("encode", tmp_path / "noise.png", "--target-psnr", 60)
    assert outcome.code == 0
    assert "warning: 60 dB are not reached: quality 100 has " in outcome.err


class TestImpossibleBudgets:
    """The one line names the smallest size, and that size is possible."""

    @pytest.mark.parametrize("metadata", ["all", "none"])
    def test_the_smallest_size_is_possible(
        self, run: Run, fails: Fails, tmp_path: Path, rgb: Callable[..., np.ndarray], metadata: str
    ) -> None:
        exif = Image.Exif()
        exif[0x010F] = "a maker" * 300
        samples = np.dstack([rgb(64, 48), rgb(64, 48, seed=8)[..., 0]])
        Image.fromarray(samples).save(tmp_path / "a.png", exif=exif)
        options = (tmp_path / "a.png", "--metadata", metadata)
        line = fails("encode", *options, "--max-bytes", 50, code=2)
        smallest = int(
            re.findall(r"the smallest file of this photo has (\d+) bytes, more than the 50", line)[0]
        )
        assert smallest > (3500 if metadata == "all" else 1500), "alpha counts, and so do metadata"
        assert run("encode", *options, "--max-bytes", smallest).code == 0
        assert (tmp_path / "a.bbmr").stat().st_size <= smallest
        line = fails("encode", *options, "--max-bytes", smallest - 1, code=2)
        assert "the alpha channel" in line
        assert ("of them are metadata, which can be left out" in line) == (metadata == "all")
        assert str(smallest) in fails("encode", *options, "--bpp", (smallest - 1) * 8 / 64 / 48, code=2)

    def test_what_cannot_be_left_out_is_not_blamed(self, fails: Fails, photo: Path) -> None:
        assert fails("encode", photo, "--max-bytes", 50, code=2).endswith("that are allowed")

    def test_less_than_a_byte(self, fails: Fails, tmp_path: Path) -> None:
        Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
        assert "more than the 0 that are allowed" in fails("encode", tmp_path / "dot.png", "--bpp", 1, code=2)


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

    def test_a_budget_gives_way_to_one_on_the_command_line(
        self, run: Run, fails: Fails, photo: Path, settings: Callable[[str], Path]
    ) -> None:
        def codecs(text: str, *options: object) -> set[str]:
            settings(f"[encode]\n{text}\n")
            assert run("encode", photo, *options).code == 0
            return {
                plane.codec for plane in Container.from_bytes(photo.with_suffix(".bbmr").read_bytes()).planes
            }

        for budget in ("rate = 2", "bpp = 0.001", "max_bytes = 1", "target_psnr = 40"):
            assert codecs(budget, "-q", 30) == {"av1"}
            assert codecs(budget, "--rate", 4) == {"webp"}
            assert codecs(budget, "--lossless") == {"webp"}
        settings("[encode]\nmax_bytes = 1\n")
        assert "smallest" in fails("encode", photo, code=2)

    def test_a_codec_is_for_the_planes_that_it_codes(
        self, run: Run, fails: Fails, photo: Path, settings: Callable[[str], Path]
    ) -> None:
        def codec(text: str, *options: object) -> str:
            settings(f"[encode]\n{text}\n")
            assert run("encode", photo, *options).code == 0
            return Container.from_bytes(photo.with_suffix(".bbmr").read_bytes()).planes[0].codec

        assert codec('codec = "png"') == codec('codec = "png"', "-q", 30) == "av1"
        assert codec('codec = "png"', "--rate", 2) == codec('codec = "png"', "--lossless") == "png"
        assert codec('codec = "avif"') == "avif"
        assert codec('codec = "avif"', "--rate", 2) == "webp"
        settings("[encode]\nrate = 2\n")
        line = fails("encode", photo, "--codec", "avif", code=2)
        assert line.startswith("bbmr-client: the rate of the settings file keeps planes lossless")

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
            ("codec = 'jxl'", "encode.codec is avif or av1 or webp or png, and not 'jxl'"),
            ("quality = 101", "encode.quality is a whole number from 0 to 100, and not 101"),
            ("bpp = -1", "encode.bpp is a number from 0 to 1000, and not -1"),
            ("max_bytes = '200k'", "encode.max_bytes is a whole number from 1 to"),
            ("target_psnr = 61", "encode.target_psnr is a number from 10 to 60, and not 61"),
            ("quality = 50\nrate = 2", "encode.quality and encode.rate exclude each other"),
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
        assert _ENCODE["codec"].choices == LOSSY_CODECS + LOSSLESS_CODECS
        assert set(_ENCODE["codec"].choices) <= set(CODECS)
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
    @pytest.mark.parametrize("words", [("-q", 80), ("-q80",), ("-q",)], ids=str)
    def test_q_is_no_short_name_of_quiet(self, fails: Fails, photo: Path, words: tuple[object, ...]) -> None:
        assert fails("decode", photo, *words, code=2) == (
            "bbmr-client: -q means the quality, which decode does not take; for fewer messages write --quiet"
        )

    def test_a_file_may_begin_with_q(self, fails: Fails) -> None:
        assert "-q.png does not exist" in fails("encode", "--", "-q.png")

    def test_options_that_come_later_are_no_options_yet(self, fails: Fails, run: Run, photo: Path) -> None:
        assert "No such option: --downscaler" in fails("encode", photo, "--downscaler", 1, code=2)
        assert "--downscaler" not in run("encode", "--help").out

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("-q", 50, "--rate", 4), "--quality and --rate exclude each other"),
            (("--bpp", 1, "--max-bytes", "1k"), "--bpp and --max-bytes exclude each other"),
            (("--target-psnr", 40, "--quality", 4), "--quality and --target-psnr exclude each other"),
            (("-q", 50, "--uniform"), "--uniform needs --rate"),
            (("--uniform",), "--uniform needs --rate"),
        ],
    )
    def test_options_that_exclude_each_other(
        self, fails: Fails, photo: Path, options: tuple[object, ...], words: str
    ) -> None:
        assert words in fails("encode", photo, *options, code=2)

    @pytest.mark.parametrize(
        "other", [("--rate", 4), ("-q", 4), ("--bpp", 4), ("--rates", "1,2"), ("--alpha-quality", 50)]
    )
    def test_lossless_excludes_what_loses_pixels(
        self, fails: Fails, photo: Path, other: tuple[object, ...]
    ) -> None:
        line = fails("encode", photo, "--lossless", *other, code=2)
        name = "--quality" if other[0] == "-q" else other[0]
        assert line == f"bbmr-client: --lossless and {name} exclude each other"

    def test_quiet_and_verbose(self, fails: Fails, photo: Path) -> None:
        assert "exclude each other" in fails("encode", photo, "--quiet", "-v", code=2)

    @pytest.mark.parametrize("ending", ["avif", "PNG", "jpg", "heic"])
    def test_a_picture_as_output(self, fails: Fails, photo: Path, tmp_path: Path, ending: str) -> None:
        for inputs in ((photo,), (photo, photo)):
            line = fails("encode", *inputs, "-o", tmp_path / f"out.{ending}", code=2)
            assert f"out.{ending}: encode writes containers, not .{ending.lower()} pictures" in line
            assert "OUT.bbmr" in line

    @pytest.mark.parametrize("budget", [("--rate", 4), ("--lossless",)])
    @pytest.mark.parametrize("codec", LOSSY_CODECS)
    def test_a_lossy_codec_for_lossless_planes(
        self, fails: Fails, photo: Path, budget: tuple[object, ...], codec: str
    ) -> None:
        assert fails("encode", photo, *budget, "--codec", codec, code=2) == (
            f"bbmr-client: {budget[0]} keeps planes lossless and {codec} does not: use --codec webp or png"
        )

    @pytest.mark.parametrize("budget", [(), ("-q", 50), ("--bpp", 1)])
    @pytest.mark.parametrize("codec", LOSSLESS_CODECS)
    def test_a_lossless_codec_for_lossy_planes(
        self, fails: Fails, photo: Path, budget: tuple[object, ...], codec: str
    ) -> None:
        assert fails("encode", photo, *budget, "--codec", codec, code=2) == (
            f"bbmr-client: {codec} planes are lossless: add --rate S or --lossless, or use --codec avif or av1"
        )

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
            (("-q", 101), "--quality"),
            (("--quality=-1",), "--quality"),
            (("--quality", 7.5), "--quality"),
            (("--bpp", 0), "bpp is a number above 0"),
            (("--bpp", "nan"), "bpp is a number above 0"),
            (("--max-bytes", "200x"), "200000, 200k or 1.5M, not 200x"),
            (("--max-bytes", 0), "200000, 200k or 1.5M, not 0"),
            (("--target-psnr", 9), "from 10 to 60 dB"),
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

    monkeypatch.setattr("bbmr_client.batch.encoding.encode_photo", broken)
    outcome = run("encode", photo)
    assert outcome.code == 1
    assert outcome.err.startswith("bbmr-client: unexpected RuntimeError: some thing")
    assert "\n" not in outcome.err


def test_ctrl_c_is_130(run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bbmr_client.batch.encoding.encode_photo", interrupted)
    outcome = run("encode", photo)
    assert outcome.code == 130
    assert outcome.err == ""
    assert not photo.with_suffix(".bbmr").exists()


def test_the_function_is_the_function_after_its_module_was_imported() -> None:
    import bbmr_client
    import bbmr_client.encoding.encoder

    container = bbmr_client.encode(np.zeros((20, 20, 3), np.uint8), rate=4)
    assert isinstance(container, Container)
    assert Image.open(io.BytesIO(container.planes[0].data)).format == "WEBP"
