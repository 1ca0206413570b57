"""The pages of docs/benchmarks/: each is generated from the JSON file of one benchmark.

A benchmark calls `write`. `benchmarks.render.report` writes all pages again from their JSON files.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import machine

from . import (
    ablation_pages,
    backbone_pages,
    client_pages,
    flops_pages,
    folder_pages,
    operating_points_pages,
    overload_pages,
    paper_pages,
    rate_distortion_pages,
    rescaling_pages,
    runtimes_pages,
    service_pages,
    sizes_pages,
    soak_pages,
    speed_pages,
    visual_pages,
)


@dataclass(frozen=True)
class Subject:
    """What one page is about.

    Attributes:
        title: heading of the page.
        question: what the benchmark answers, for the list of pages.
        markdown: makes the tables from the results.
        picture: suffix of the picture beside the page; empty if there is none.
        caption: what the picture shows.
    """

    title: str
    question: str
    markdown: Callable[[dict[str, Any]], str]
    picture: str = ""
    caption: str = ""


SUBJECTS: dict[str, Subject] = {
    "rate-distortion": Subject(
        "Bytes against quality",
        "bbmr beside AVIF, JPEG XL, WebP and JPEG at equal quality",
        rate_distortion_pages.markdown,
        "png",
        "Quality over bits per pixel, and bytes beside AVIF's at equal quality",
    ),
    "operating-points": Subject(
        "Operating points",
        "how good the encoder's estimates of bytes and errors are",
        operating_points_pages.markdown,
    ),
    "rescaling": Subject(
        "Rescaling",
        "block-based against uniform rates, bicubic against the network",
        rescaling_pages.markdown,
        "png",
        "Gain in PSNR-Y over uniform bicubic, for each picture",
    ),
    "paper": Subject(
        "The paper's table",
        "the gain of block-based rates with every backbone",
        paper_pages.markdown,
        "png",
        "Gain of block-based rates for every network",
    ),
    "ablations": Subject("Ablations", "the gain of each part of the method", ablation_pages.markdown),
    "visual": Subject(
        "Crops",
        "original, uniform, block-based and rate map side by side",
        visual_pages.markdown,
        "webp",
        "Original, uniform, block-based and the rates, side by side",
    ),
    "sizes": Subject(
        "Size of the network",
        "quality against operations and milliseconds",
        sizes_pages.markdown,
        "png",
        "dB against operations and against milliseconds",
    ),
    "flops": Subject("Operations", "parameters and operations of every network", flops_pages.markdown),
    "speed": Subject("Speed", "encoding and reconstruction on a CPU", speed_pages.markdown, "png", "Speed"),
    "backbones": Subject("Backbones", "our backbones against the reference code", backbone_pages.markdown),
    "backbones-cuda": Subject("Backbones on a GPU", "the same on a GPU", backbone_pages.markdown),
    "runtimes": Subject(
        "Runtimes", "torch, ncnn, ONNX Runtime and OpenVINO on a CPU", runtimes_pages.markdown
    ),
    "client": Subject("Client", "size, start and encoding of the client alone", client_pages.markdown),
    "folder": Subject(
        "Killed folder run", "encoding of 1,000 photos, killed half-way", folder_pages.markdown
    ),
    "service": Subject(
        "Service",
        "throughput, latency and memory of the server",
        service_pages.markdown,
        "png",
        "Pictures a second over clients, for each batch",
    ),
    "service-cuda": Subject(
        "Service on a GPU",
        "the same on a GPU",
        service_pages.markdown,
        "png",
        "Pictures a second over clients, for each batch, on a GPU",
    ),
    "soak": Subject(
        "Soak test",
        "10,000 requests: answers and memory",
        soak_pages.markdown,
        "png",
        "Memory over requests, and times over thousands of them",
    ),
    "overload": Subject(
        "Overload", "ten times as many requests as the server can serve", overload_pages.markdown
    ),
}
"""Name of the results and of the page → subject, in the order of the list of pages."""


def write(folder: Path, name: str, results: dict[str, Any], subject: str = "") -> str:
    """Write `name`.json with command and machine, and the page `name`.md if there is a subject.

    The subject is that of `name` unless `subject` names another. Returns the text of the page, or an empty string.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = {"command": _command(), "machine": machine(), **results}
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    text = page(name, results, subject)
    if text:
        (folder / f"{name}.md").write_text(text)
    return text


def page(name: str, results: dict[str, Any], subject: str = "") -> str:
    """Return the text of a page; an empty string if `name` has no subject."""
    about = SUBJECTS.get(subject or name)
    if about is None:
        return ""
    source = f"[All benchmarks](README.md) · every figure: [{name}.json]({name}.json)"
    parts = [f"# {about.title}", source, about.markdown(results).strip()]
    if about.picture:
        parts.append(f"![{about.caption}]({name}.{about.picture})")
    return "\n\n".join([*parts, _origin(results)]) + "\n"


def index(results: Path) -> str:
    """Return the list of the pages whose results are in the folder `results`."""
    lines = []
    for name, about in SUBJECTS.items():
        if (path := results / f"{name}.json").is_file():
            date = json.loads(path.read_text())["machine"]["date"]
            lines.append(f"- [{about.title}]({name}.md): {about.question} ({date})")
    return "\n".join(lines)


def _origin(results: dict[str, Any]) -> str:
    """Return command, date, machine and versions in one line."""
    where = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in where["packages"].items())
    cpu = f"{where['cpu']}, {where['cores']} cores"
    return f"`{results['command']}` · {where['date']} · {cpu} · Python {where['python']}, {versions}"


def _command() -> str:
    """Return the command of this process, without the folders of this machine."""
    spec = sys.modules["__main__"].__spec__
    module = spec.name.removesuffix(".__main__") if spec is not None else Path(sys.argv[0]).stem
    return shlex.join(["python", "-m", module, *map(_without_folders, sys.argv[1:])])


def _without_folders(word: str) -> str:
    """Return an argument; a path that exists is shortened to its last name, a weights file to its last two."""
    option, equals, value = word.rpartition("=")
    if not Path(value).exists():
        return word
    parts = Path(value).parts
    return option + equals + ("/".join(parts[-2:]) if value.endswith(".safetensors") else parts[-1])
