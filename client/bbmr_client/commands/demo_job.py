"""The demo on one photo: encode, send to a real server, reconstruct, compare with AVIF and with uniform rescaling.

In: a photo. Out: `DemoReport`, and a folder with photo.bbmr, reconstruction.png, comparison.png and report.json.
photo.bbmr is what `encode` writes without options. Of the lossless containers, uniform and block-based ones keep at
most the same number of samples. "bicubic" is the composite, without the network; "light" is what the server answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel

from bbmr_client.commands.common import read_photo
from bbmr_client.encoding.budget import DEFAULT_QUALITY
from bbmr_client.encoding.encoder import encode
from bbmr_client.files import FileAccessError, write_file
from bbmr_client.http import Client
from bbmr_client.photo import Photo
from bbmr_client.reports.encode_report import finite
from bbmr_client.reports.figure import Panel, best_and_worst_details, comparison_figure
from bbmr_client.reports.ratemap import RATE_COLOURS, overlay
from bbmr_client.server_process import running_server
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.errors import PictureError
from bbmr_shared.images.codecs import decode, encode_plane
from bbmr_shared.images.output import encode_picture
from bbmr_shared.metrics import compare

OVERALL_RATES = (4, 2)
"""The first one is drawn and kept."""

Say = Callable[[str], None]


class MethodResult(BaseModel):
    """One method of rescaling. samples: low-resolution samples kept; bytes: of the container."""

    method: str
    psnr_y: float | None
    psnr_rgb: float | None
    samples: int
    bytes: int


class RateTable(BaseModel):
    """Four methods at one overall rate."""

    overall_rate: int
    rows: list[MethodResult]


class DefaultTable(BaseModel):
    """An AVIF file of the default quality, and the container without and with the network."""

    quality: int
    rows: list[MethodResult]


class DemoReport(BaseModel):
    """What the demo measured. Seconds are wall time on the machine that ran it."""

    photo: str
    width: int
    height: int
    default: DefaultTable
    tables: list[RateTable]
    seconds: dict[str, float]
    files: dict[str, str]


@dataclass(frozen=True)
class _Case:
    """One container, its composite (`bicubic`) and its reconstruction (`light`)."""

    container: Container
    size: int
    bicubic: Image.Image
    light: Image.Image


def run_demo(photo_name: str, folder_name: str, say: Say) -> DemoReport:
    """Run the demo and write its files into `folder_name`, which is made if it does not exist.

    Raises:
        BbmrError: a step failed. The server is always stopped.
    """
    started = time.perf_counter()
    photo = read_photo(photo_name)
    if photo.alpha is not None:
        raise PictureError(
            f"{photo_name} has transparency, which PSNR does not measure: name an opaque photo"
        )
    folder = _folder(folder_name)
    say(f"{photo_name}: {photo.width}×{photo.height}; starting a server on this machine …")
    seconds = {"encode": 0.0, "reconstruct": 0.0}
    cases: dict[tuple[int, bool], _Case] = {}
    with running_server() as url:
        say(f"server ready at {url}")
        with Client(url) as client:
            default = _run_case(photo, client, seconds)
            say(
                f"quality {DEFAULT_QUALITY}: {default.size} bytes sent, {photo.width}×{photo.height} came back"
            )
            for rate in OVERALL_RATES:
                for uniform in (True, False):
                    case = _run_case(photo, client, seconds, rate=rate, uniform=uniform)
                    cases[rate, uniform] = case
                    kind = "uniform" if uniform else "block-based"
                    say(
                        f"overall rate {rate}, {kind}: {case.size} bytes sent, {photo.width}×{photo.height} came back"
                    )
    tables = [_table(photo, rate, cases) for rate in OVERALL_RATES]
    seconds["total"] = time.perf_counter() - started
    names = ("photo.bbmr", "reconstruction.png", "comparison.png", "report.json")
    report = DemoReport(
        photo=photo_name,
        width=photo.width,
        height=photo.height,
        default=_default_table(photo, default),
        tables=tables,
        seconds={step: round(value, 2) for step, value in seconds.items()},
        files={name: str(folder / name) for name in names},
    )
    write_file(folder / "photo.bbmr", default.container.to_bytes())
    write_file(folder / "reconstruction.png", encode_picture(default.light, "png"))
    write_file(folder / "comparison.png", encode_picture(_figure(photo, tables[0], cases), "png"))
    write_file(folder / "report.json", report.model_dump_json(indent=2).encode() + b"\n")
    return report


def table(report: DemoReport) -> str:
    """Returns the report as aligned text."""
    lines = _lines(f"quality {report.default.quality}, the default", report.default.rows)
    for part in report.tables:
        title = f"overall rate {part.overall_rate}, lossless: at most 1/{part.overall_rate**2} of the samples"
        lines += _lines(title, part.rows)
    seconds = report.seconds
    lines.append(
        f"encoding {seconds['encode']:.1f} s, reconstruction over HTTP {seconds['reconstruct']:.1f} s "
        f"(five each), all {seconds['total']:.1f} s"
    )
    lines.append(f"written: {', '.join(report.files.values())}")
    return "\n".join(lines)


def _lines(title: str, rows: list[MethodResult]) -> list[str]:
    lines = [title, f"  {'':<20}{'PSNR-Y':>9}{'PSNR-RGB':>10}{'samples':>11}{'bytes':>11}"]
    for row in rows:
        luma, colour = _decibels(row.psnr_y), _decibels(row.psnr_rgb)
        lines.append(f"  {row.method:<20}{luma:>9}{colour:>10}{row.samples:>11,}{row.bytes:>11,}")
    return [*lines, ""]


def _run_case(photo: Photo, client: Client, seconds: dict[str, float], **options: Any) -> _Case:
    started = time.perf_counter()
    container = encode(photo, **options)
    size = len(container.to_bytes())
    encoded = time.perf_counter()
    light = client.reconstruct(container)
    seconds["encode"] += encoded - started
    seconds["reconstruct"] += time.perf_counter() - encoded
    return _Case(container, size, preview(container), light)


def _table(photo: Photo, rate: int, cases: dict[tuple[int, bool], _Case]) -> RateTable:
    rows = []
    for way in ("bicubic", "light"):
        for uniform in (True, False):
            case = cases[rate, uniform]
            picture = case.bicubic if way == "bicubic" else case.light
            name = f"{way} {'uniform' if uniform else 'block-based'}"
            rows.append(_measured(name, photo, picture, case.container.samples, case.size))
    return RateTable(overall_rate=rate, rows=rows)


def _default_table(photo: Photo, case: _Case) -> DefaultTable:
    codec, data = encode_plane(
        photo.rgb, "avif", quality=DEFAULT_QUALITY, subsampling="4:2:0", speed=6, tune="psnr"
    )
    avif = Image.fromarray(decode(data, codec, (photo.width, photo.height)))
    samples = case.container.samples
    return DefaultTable(
        quality=DEFAULT_QUALITY,
        rows=[
            _measured("AVIF", photo, avif, photo.width * photo.height, len(data)),
            _measured("bicubic", photo, case.bicubic, samples, case.size),
            _measured("light", photo, case.light, samples, case.size),
        ],
    )


def _measured(method: str, photo: Photo, picture: Image.Image, samples: int, size: int) -> MethodResult:
    figures = compare(photo.rgb, _rgb(picture))
    luma, colour = _rounded(figures["psnr_y"]), _rounded(figures["psnr_rgb"])
    return MethodResult(method=method, psnr_y=luma, psnr_rgb=colour, samples=samples, bytes=size)


def _figure(photo: Photo, figures: RateTable, cases: dict[tuple[int, bool], _Case]) -> Image.Image:
    rate = figures.overall_rate
    uniform, blocks = cases[rate, True], cases[rate, False]
    row = {row.method: row for row in figures.rows}
    original = Image.fromarray(photo.rgb)
    size = (f"{photo.width} x {photo.height}", f"{photo.width * photo.height:,} pixels")
    in_use = [(f"rate {rate}", RATE_COLOURS[rate]) for rate in sorted(blocks.container.coding_errors)]
    tinted = overlay(original, blocks.container.rate_map, blocks.container.grid)
    panels = (
        Panel("Original", size, original),
        Panel(f"Uniform, overall rate {rate}", _caption(row["light uniform"]), uniform.light.convert("RGB")),
        Panel(
            f"Block-based, overall rate {rate}",
            _caption(row["light block-based"]),
            blocks.light.convert("RGB"),
        ),
        Panel("Rate map", ("details: largest gain, largest loss",), tinted, tuple(in_use)),
    )
    return comparison_figure(
        panels, best_and_worst_details(photo.rgb, _rgb(uniform.light), _rgb(blocks.light))
    )


def _caption(row: MethodResult) -> tuple[str, str]:
    return f"PSNR-Y {_decibels(row.psnr_y)} dB", f"{row.samples:,} samples, {row.bytes:,} bytes"


def _rgb(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture.convert("RGB"))


def _decibels(value: float | None) -> str:
    return "equal" if value is None else f"{value:.2f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None or finite(value) is None else round(value, 4)


def _folder(name: str) -> Path:
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileAccessError(f"{name} is no folder and cannot become one: {error.strerror}") from error
    return folder
