"""Runtimes: the speed, memory and accuracy of everything that can run `light` on a CPU.

In: photos that were not trained on, and photos to calibrate 8-bit integers. Out: `runtimes.json`, `runtimes.md`.
Every runtime has a process of its own. They take turns, so that other load affects all of them. The best of all turns
counts, as wall time and as processor time, which other load changes less. Runtimes that are not installed are left
out: `pip install onnx onnxscript onnxruntime openvino`.

    python -m benchmarks.speed.runtimes eval2k --calibrate train
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution, requires
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common import photos, read_rgb
from benchmarks.render.pages import write
from benchmarks.render.runtimes_pages import LARGEST

from .runtimes_tiles import save_tile

PLAIN = "torch: the model as it was trained"
TORCH = "torch, float32"
KINDS: dict[str, tuple[str, str]] = {
    "plain": (PLAIN, "torch"),
    "torch-float32": (TORCH, "torch"),
    "torch-frozen": ("torch, frozen and optimised by TorchScript", "torch"),
    "torch-compiled": ("torch, compiled", "torch"),
    "torch": ("torch, inner convolutions in bfloat16", "torch"),
    "torch-autocast": ("torch, all in bfloat16", "torch"),
    "ncnn": ("ncnn, float32", "ncnn"),
    "onnxruntime": ("ONNX Runtime, float32", "onnxruntime"),
    "openvino": ("OpenVINO, float32", "openvino"),
    "openvino-bfloat16": ("OpenVINO, all in bfloat16", "openvino"),
    "onnxruntime-int8": ("ONNX Runtime, 8-bit integers", "onnxruntime"),
    "openvino-int8": ("OpenVINO, 8-bit integers", "openvino"),
}
"""Kind → its name in the table and the package that it needs."""
SIDES = {"256": (256, 256), "512": (512, 512), "1184": (1184, 1184)}
"""Timed tiles: a small picture, a medium one, and core and halo of a large one."""
QUALITY = (768, 768)
RATES = (4.0, 2.0)


def main(
    photo_paths: Annotated[list[Path], typer.Argument(help="Photos, or folders of them.")],
    calibrate: Annotated[
        Path | None, typer.Option(help="Photos to calibrate 8-bit integers. Default: no such runtimes.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("docs/benchmarks"),
    turns: Annotated[int, typer.Option(help="Turns of each runtime.")] = 5,
    only: Annotated[list[str] | None, typer.Option(help="Kinds. Default: all.")] = None,
) -> None:
    """Measure, print and write."""
    kinds = [kind for kind, (_, package) in KINDS.items() if find_spec(package) is not None]
    if calibrate is None or find_spec("onnxruntime") is None:
        kinds = [kind for kind in kinds if "int8" not in kind]
    kinds = [kind for kind in kinds if kind == "plain" or not only or kind in only]
    pictures = photos(photo_paths)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tiles(folder, pictures)
        if any(kind.startswith(("onnx", "openvino")) for kind in kinds):
            from . import runtimes_onnx

            runtimes_onnx.export(folder)
            if any("int8" in kind for kind in kinds):
                runtimes_onnx.quantise(folder, photos([calibrate] if calibrate else []))
        rows = {kind: row for kind in kinds for row in [measure_quality(kind, folder)]}
        for threads in (1, 2):
            measure_times(kinds, threads, folder, turns, rows)
    results = {
        "pictures": [path.name for path in pictures],
        "turns": turns,
        "versions": versions(),
        "rows": list(rows.values()),
    }
    print(write(output, "runtimes", results))


def make_tiles(folder: Path, pictures: list[Path]) -> None:
    """Write what the processes read: tiles to time, and tiles of every picture with their photo."""
    for name, (height, width) in SIDES.items():
        save_tile(folder / f"time-{name}.npz", read_rgb(pictures[0]), height, width, 4.0)
    for number, path in enumerate(pictures):
        for rate in RATES:
            save_tile(folder / f"quality-{number}-{rate:g}.npz", read_rgb(path), *QUALITY, rate)


class RuntimeProcess:
    """A runtime in a process of its own. Requests and answers are JSON lines."""

    def __init__(self, kind: str, threads: int, folder: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.speed.runtimes_worker", kind, str(threads), str(folder)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},  # as the server's workers
        )
        self.loaded = self._answer()

    def request(self, *order: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError("a runtime's process ended")


def measure_quality(kind: str, folder: Path) -> dict[str, Any]:
    """Return the memory for one tile of full size, and the difference from the pictures of the plain model."""
    title, package = KINDS[kind]
    worker = RuntimeProcess(kind, 1, folder)
    row = {
        "kind": kind,
        "title": title,
        "megabytes_installed": round(installed(package) / 1e6),
        **worker.loaded,
    }
    row |= worker.request("time", "1184")
    row["first_ms"] = row.pop("wall_ms")
    del row["cpu_ms"]
    row |= worker.request("memory")
    row |= worker.request("quality")
    worker.close()
    print(row, flush=True)
    return row


def measure_times(
    kinds: list[str], threads: int, folder: Path, turns: int, rows: dict[str, dict[str, Any]]
) -> None:
    """Add the best wall and processor times of each kind, in ms, to `rows`."""
    for side in SIDES:
        case = f"{side}, {threads} thread{'s' * (threads > 1)}"
        some = [
            kind for kind in kinds if kind != "torch-compiled" or case == LARGEST
        ]  # it compiles for minutes in every case
        workers = {kind: RuntimeProcess(kind, threads, folder) for kind in some}
        times: dict[str, list[dict[str, Any]]] = {kind: [] for kind in some}
        for turn in range(turns + 1):
            for kind, worker in workers.items():
                answer = worker.request("time", side)
                if turn:  # the first turn fills caches and compiles
                    times[kind].append(answer)
        for kind, measured in times.items():
            best = {key: min(answer[key] for answer in measured) for key in ("wall_ms", "cpu_ms")}
            rows[kind][case] = best
        for worker in workers.values():
            worker.close()


def versions() -> dict[str, str]:
    """Return the versions of the installed runtimes, without torch, whose version is in every result."""
    names = sorted({package for _, package in KINDS.values()} - {"torch"})
    return {name: distribution(name).version for name in names if find_spec(name) is not None}


def installed(package: str) -> int:
    """Return the bytes of a package and of its dependencies, without those of bbmr itself."""
    return sum(_bytes(name) for name in _brought(package) - _brought("bbmr"))


def _brought(package: str) -> set[str]:
    from packaging.requirements import Requirement

    packages: set[str] = set()
    waiting = [package]
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in packages:
            continue
        try:
            needed = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:
            continue
        packages.add(name)
        waiting += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    return packages


def _bytes(package: str) -> int:
    files = distribution(package).files or []
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file())


if __name__ == "__main__":
    typer.run(main)
