"""The benchmark of bytes against quality: kept points, anchors, promises and the page, with a stand-in encoder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bbmr_client.encoding.encoder import encode
from bbmr_shared.container import Container
from benchmarks.quality.rate_distortion import (
    bbmr_codecs,
    comparison,
    costs,
    metrics,
    promises,
    results,
    times,
)
from benchmarks.quality.rate_distortion.codecs import Codec, avifs, jpegs, jxl, pillow_decode, timed, webp
from benchmarks.quality.rate_distortion.comparison import Photo
from benchmarks.quality.rate_distortion.points import Key, Point, PointFile, at_qualities, curve
from benchmarks.render import rate_distortion_pages

Picture = Any


@pytest.fixture(scope="module")
def photo() -> Picture:
    """Smooth shapes and noise, 192×176."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:176, :192]
    waves = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 13)], axis=2)
    return (128 + 60 * waves + rng.normal(0, 6, (176, 192, 3))).clip(0, 255).astype(np.uint8)


def webp_codec(calls: list[float] | None = None, **limits: float) -> Codec:
    """WebP of the first three metrics; `calls` gets the qualities that are encoded."""

    def spied(picture: Picture, quality: float) -> bytes:
        if calls is not None:
            calls.append(quality)
        return webp().encode(picture, quality)[0]

    qualities = (5, 20, 40, 60, 80, 95)
    return Codec("spy", "WebP", qualities, timed(spied), pillow_decode, "1", metrics.PSNRS, **limits)


@pytest.mark.parametrize(
    "codec", [*avifs(6), webp(), *jpegs(), jxl()], ids=lambda codec: codec and codec.name
)
def test_a_codec_gives_more_bytes_and_a_better_picture_at_a_higher_quality(
    codec: Codec | None, photo: Picture
) -> None:
    if codec is None:
        pytest.skip("JPEG XL is not installed")
    low, high = at_qualities(
        photo, codec, PointFile(None), [codec.qualities[2], codec.qualities[-2]], ["psnr-611"]
    )
    assert low.bytes < high.bytes
    assert low.metrics["psnr-611"] < high.metrics["psnr-611"]
    assert set(low.metrics) == {"psnr-611"}


def test_points_are_kept_between_runs(photo: Picture, tmp_path: Path) -> None:
    file, calls = tmp_path / "new" / "points.jsonl", list[float]()
    first = curve(photo, webp_codec(calls), PointFile(file))
    assert [point.key.quality for point in first] == [5, 20, 40, 60, 80, 95]
    assert len(calls) == 6
    with file.open("a") as text:
        text.write('{"key": {"pic')  # a run that was killed
    assert curve(photo, webp_codec(calls), PointFile(file)) == first
    assert len(calls) == 6
    [changed] = at_qualities(photo[::-1], webp_codec(calls), PointFile(file), [5])
    assert changed.key.picture != first[0].key.picture
    assert len(calls) == 7


def test_missing_metrics_are_added_to_kept_points(photo: Picture, tmp_path: Path) -> None:
    file = tmp_path / "points.jsonl"
    [before] = at_qualities(photo, webp_codec(), PointFile(file), [40], ["psnr-y"])
    [after] = at_qualities(photo, webp_codec(), PointFile(file), [40], ["psnr-rgb"])
    assert set(before.metrics) == {"psnr-y"}
    assert set(after.metrics) == {"psnr-y", "psnr-rgb"}
    assert after.metrics.items() > before.metrics.items()
    assert PointFile(file).find(after.key) == after


def test_a_curve_ends_one_point_beyond_each_limit(photo: Picture) -> None:
    every = curve(photo, webp_codec(), PointFile(None), [])
    low, high = every[2].bpp - 0.01, every[3].bpp + 0.01
    limited = curve(photo, webp_codec(lowest=low, highest=high), PointFile(None), [])
    assert [point.key.quality for point in limited] == [20, 40, 60, 80]


def test_metrics_have_known_values(photo: Picture) -> None:
    other = photo.copy()
    other[..., 2] = np.where(photo[..., 2] > 127, photo[..., 2] - 8, photo[..., 2] + 8)
    blue = 8.0**2  # of it 0.114 go to Y, 0.5 to Cb, -0.0813 to Cr
    weighted = blue * (6 * 0.114**2 + 0.5**2 + 0.0813**2) / 8
    assert metrics.psnr_611(photo, other) == pytest.approx(10 * np.log10(255**2 / weighted), abs=0.01)
    assert metrics.psnr_611(photo, photo) == np.inf
    pytest.importorskip("pytorch_msssim")
    assert metrics.ms_ssim(photo, photo) == pytest.approx(1)
    assert 0.9 < metrics.ms_ssim(photo, other) < 1
    assert np.isnan(metrics.ms_ssim(photo[:100], other[:100]))


@pytest.mark.parametrize(("shift", "expected"), [(0, 100), (5, 89.73), (20, 59.78)])
def test_ssimulacra2_is_near_the_reference_implementation(shift: int, expected: float) -> None:
    """Scores of libjxl's tool on flat pictures, where everything depends on how borders are blurred."""
    pytest.importorskip("ssimulacra2")
    grey = np.full((256, 256, 3), 128, np.uint8)
    assert metrics.ssimulacra2(grey, grey + np.uint8(shift)) == pytest.approx(expected, abs=4)


def point(codec: str, quality: float, bpp: float, psnr: float, seconds: float = 1.0) -> Point:
    values = {"psnr-y": psnr, "psnr-rgb": psnr - 1, "psnr-611": psnr, "ms-ssim": 1 - 10 ** (-psnr / 20)}
    key = Key("p", codec, "1", quality)
    return Point(key, 8_000, round(1000 * bpp), seconds, 0.1, values | {"ssimulacra2": psnr})


def line(codec: str, factor: float, seconds: float = 1.0) -> list[Point]:
    """2.5 dB an octave from 30 dB at 0.02 bpp, with the rate times a factor."""
    return [point(codec, i, factor * 0.02 * 2**i, 30 + 2.5 * i, seconds) for i in range(7)]


def made_photo(ours: float = 0.9, name: str = "one") -> Photo:
    """AVIF at two speeds, JPEG and ours, at known factors of the rate."""
    tunes = {"psnr-420": 1.0, "ssim-420": 1.1, "psnr-444": 1.2, "ssim-444": 1.2, "iq-420": 1.0, "iq-444": 1.3}
    points = {f"avif-s6-{tune}": line(f"avif-s6-{tune}", factor) for tune, factor in tunes.items()}
    points |= {
        f"avif-s4-{tune}": line(f"avif-s4-{tune}", 0.9 * factor, 4.0) for tune, factor in tunes.items()
    }
    points |= {"jpeg-420": line("jpeg-420", 2.0), "jpeg-444": line("jpeg-444", 3.0)}
    points |= {"webp-m6": line("webp-m6", 1.5)}
    points |= {
        f"bbmr-{kind}": line(f"bbmr-{kind}", ours, 2.0) for kind in ("light", "composite", "light-composite")
    }
    return Photo("eval2k", name, 2_000_000, points)


def test_the_anchor_is_the_hull_over_tunes_and_chroma() -> None:
    photo = made_photo()
    worse = [point("avif-s6-ssim-420", 9, 0.08 * 0.95, 35.0)]  # better than tune psnr at that place
    photo.points["avif-s6-ssim-420"] += worse
    anchor = comparison.contender_curve(photo, "avif-s6", "psnr-y")
    assert anchor is not None
    assert anchor.rate_at(35.0) == pytest.approx(0.076)
    assert anchor.rate_at(32.5) == pytest.approx(0.04)


def test_bd_rates_of_every_metric_and_range() -> None:
    rows = comparison.photo_rows(
        made_photo(), ["bbmr-light", "avif-s4", "jxl-e7"], "avif-s6", list(metrics.METRICS)
    )
    assert {tuple(row["range"]) for row in rows} == {(0.05, 0.8), (0.03, 0.12), (0.03, 0.2)}
    assert {row["codec"] for row in rows} == {"bbmr-light", "avif-s4"}  # jxl-e7 was not measured
    for row in rows:
        assert set(row["bd_rate"]) == set(metrics.METRICS)
        for figure in row["bd_rate"].values():
            assert figure["percent"] == pytest.approx(-10, abs=0.3)  # bytes are whole numbers
            assert figure["covered"] == pytest.approx(1, abs=0.05)


def test_means_count_the_photos_that_lose() -> None:
    photos = [made_photo(0.9, "one"), made_photo(0.8, "two"), made_photo(1.1, "three")]
    rows = [
        row for photo in photos for row in comparison.photo_rows(photo, ["bbmr-light"], "jpeg", ["psnr-y"])
    ]
    assert [row["range"] for row in rows] == [[0.1, 0.8]] * 3
    [mean] = comparison.mean_rows(rows)
    figure = mean["bd_rate"]["psnr-y"]
    assert figure["percent"] == pytest.approx((-55 - 60 - 45) / 3, abs=0.5)
    assert (figure["losing"], figure["pictures"], figure["worst"]["picture"]) == (0, 3, "three")
    against_avif = [
        row for photo in photos for row in comparison.photo_rows(photo, ["bbmr-light"], "avif-s6", ["psnr-y"])
    ]
    assert [mean["bd_rate"]["psnr-y"]["losing"] for mean in comparison.mean_rows(against_avif)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(0.5, -10.0), (1.0, -10.0), (2.0, -100 * (1 - 0.9 / 0.95)), (4.0, 0.0), (9.0, 0.0)],
)
def test_at_equal_time_avif_may_be_slower_too(ratio: float, expected: float) -> None:
    """AVIF gains 10 % in four times the time, and so 5 % in twice the time."""
    assert times.at_equal_time(-10, ratio, -10, 4.0) == pytest.approx(expected)


def test_rows_at_equal_time_have_both_ratios() -> None:
    for row in times.equal_time_rows([made_photo()], ["bbmr-light"], ["psnr-y"]):
        assert row["time"] == pytest.approx(2)
        assert row["slow_time"] == pytest.approx(4)
        assert row["bd_rate"]["psnr-y"]["percent"] == pytest.approx(-100 * (1 - 0.9 / 0.95), abs=0.3)


def test_the_files_have_compressais_shape(tmp_path: Path) -> None:
    short = made_photo(name="two")
    short.points["jpeg-420"] = short.points["jpeg-420"][1:]
    results.write_codec_files(tmp_path, [jpegs()[0], webp()], [made_photo(), short])
    held = json.loads((tmp_path / "eval2k" / "jpeg-420.json").read_text())
    assert held["name"] == "jpeg-420"
    assert "progressive" in held["description"]
    assert held["results"]["quality"] == [1, 2, 3, 4, 5, 6]  # measured on both
    assert held["results"]["psnr-rgb"] == [31.5, 34, 36.5, 39, 41.5, 44]
    lengths = {len(values) for values in held["results"].values()}
    assert lengths == {6}
    assert {"bpp", "psnr-y", "ms-ssim-rgb", "encoding_time", "decoding_time"} < set(held["results"])
    assert [len(of["bpp"]) for of in held["pictures"].values()] == [7, 6]


def test_the_page_shows_gains_losses_and_promises(tmp_path: Path) -> None:
    photos = [made_photo(), made_photo(1.05, "loser")]
    rows = [
        row for photo in photos for row in comparison.photo_rows(photo, ["bbmr-light"], "avif-s6", ["psnr-y"])
    ]
    held = {
        "means": comparison.mean_rows(rows),
        "pictures": rows,
        "equal_time": times.equal_time_rows(photos, ["bbmr-light"], ["psnr-y"]),
        "curves": results.mean_curves(photos, ["avif-s6", "bbmr-light"]),
        "promises": [promise()],
    }
    text = rate_distortion_pages.markdown(held)
    assert "| eval2k, 0.05–0.8 | **bbmr**, `light` | -2.5 (1 of 2) |" in text
    assert "| loser, 0.05–0.8 | **bbmr**, `light` | **+5.0** |" in text
    assert "| one | 1.20 | 0.50 | 100 | 80 | 160 | 1, 0 | 0, 0 | 4 of 5 | +150, ? |" in text
    rate_distortion_pages.plot(held, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def promise() -> dict[str, Any]:
    order = {"fewer_bytes": [], "lower_psnr": []}
    return {
        "picture": "one",
        "time": {"ratio": 1.2, "low_ratio": 0.5},
        "memory": {"peak": 100e6, "avif_peak": 80e6, "limit": 160e6},
        "order": order | {"fewer_bytes": [[10, 20]]},
        "order_composite": order,
        "budgets": [{"kept": index > 0} for index in range(5)],
        "plain": [{"extra": 150}, {"extra": None}],
    }


def stand_in(photo: Picture, quality: float) -> Container:
    """A container that grows with the quality, from the encoder by rates."""
    return encode(photo, rate=max(1.0, 8 - quality / 14))


def test_bbmrs_codecs_share_one_container(photo: Picture) -> None:
    calls: list[float] = []

    def spied(picture: Picture, quality: float) -> Container:
        calls.append(quality)
        return stand_in(picture, quality)

    codecs = {codec.name: codec for codec in bbmr_codecs.bbmr_codecs(["light"], 0, 99, spied, stand_in)}
    assert list(codecs) == ["bbmr-composite", "bbmr-light", "bbmr-light-composite"]
    found = {
        name: at_qualities(photo, codec, PointFile(None), [30], ["psnr-y"])[0]
        for name, codec in codecs.items()
    }
    assert calls == [30]
    light, shown = found["bbmr-light"], found["bbmr-light-composite"]
    assert (light.bytes, light.encode_s) == (shown.bytes, shown.encode_s)
    assert light.metrics["psnr-y"] > shown.metrics["psnr-y"]


def test_order_names_the_qualities_that_fall() -> None:
    points = [
        point("b", quality, bpp, psnr) for quality, bpp, psnr in [(0, 1, 30), (10, 2, 31), (20, 1.5, 30.5)]
    ]
    assert promises.order(points) == {"qualities": 3, "fewer_bytes": [[10, 20]], "lower_psnr": [[10, 20]]}


def test_budgets_say_what_was_exceeded(photo: Picture) -> None:
    container = stand_in(photo, 50)
    size = len(container.to_bytes())
    rows = promises.budgets(photo, lambda _, budget: container, size // 2, size * 3)
    assert [row["kept"] for row in rows] == [False, False, True, True, True]


def test_time_is_measured_beside_avif(photo: Picture) -> None:
    cost = costs.time_costs("one", photo, webp_codec(), (20, 40, 60))
    assert [row["quality"] for row in cost["points"]] == [20, 40, 60]
    assert len(cost["avif_seconds"]) == len(costs.AVIF_QUALITIES)
    assert cost["ratio"] > 0
    assert cost["low_ratio"] is None  # so small a picture has more than 0.1 bpp


def test_memory_is_measured_in_processes_of_their_own(photo: Picture, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    measured = costs._in_process("avif", path, 50)
    assert measured["pixels"] == 192 * 176
    assert measured["peak"] >= measured["before"] > 10_000_000
    cost = costs.memory_costs(path, lambda kind, *_: measured | {"peak": {"bbmr": 7, "avif": 4}[kind]})
    assert (cost["peak"], cost["limit"]) == (7, 6 + 20 * 192 * 176)


def test_a_plain_plane_is_compared_with_the_avif_file_of_its_options(photo: Picture) -> None:
    container = encode(photo, quality=40, rates=(1,))
    compared = promises.plain_plane(photo, container)
    assert compared["header"] == len(container.to_bytes()) - len(container.planes[0].data)
    assert -400 < compared["extra"] <= promises.OVERHEAD_LIMIT
    strange = dataclasses.replace(container.planes[0], data=b"other")
    assert promises.plain_plane(photo, dataclasses.replace(container, planes=(strange,)))["extra"] is None


def test_the_whole_benchmark_runs_and_goes_on_where_it_ended(
    photo: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    from benchmarks.quality.rate_distortion import __main__ as command

    for module in ("pytorch_msssim", "scipy", "ssimulacra2"):
        pytest.importorskip(module)
    calls: list[float] = []

    def spied(picture: Picture, quality: float) -> Container:
        calls.append(quality)
        return stand_in(picture, quality)

    monkeypatch.setattr(command, "bbmr_codecs", lambda *a: bbmr_codecs.bbmr_codecs(*a, spied, spied))
    monkeypatch.setattr(command, "bounds", lambda pixels, classic=False: (0.1, 20.0))
    folder = tmp_path / "set"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "one.png")

    def run() -> dict[str, Any]:
        command.main([folder], tmp_path / "points.jsonl", tmp_path / "out", speeds="6", promises=False)
        return dict(json.loads((tmp_path / "out" / "rate-distortion.json").read_text()))

    first = run()
    encoded = len(calls)
    assert encoded > 10
    assert run()["means"] == first["means"]
    assert len(calls) == encoded
    assert (tmp_path / "out" / "rate-distortion.md").read_text().startswith("# Bytes against quality")
    assert {path.stem for path in (tmp_path / "out" / "rate-distortion" / "set").iterdir()} > {
        "avif-s6-iq-444",
        "bbmr-light",
        "uniform-2-lanczos",
        "webp-m6",
    }
