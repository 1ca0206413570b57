"""One runtime of `benchmarks.speed.runtimes` in a process of its own. Requests and answers are JSON lines."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bbmr_models.cards import read
from bbmr_models.inference.network import Network
from bbmr_models.inference.tile_input import TileInput
from bbmr_shared.metrics import psnr_y

from .runtimes_tiles import tile_of

MODEL = "light"


def main(kind: str, threads: str, folder: str) -> None:
    """Load the runtime, answer with the time that took, and serve requests until the input ends."""
    began = time.perf_counter()
    network = make(kind, int(threads), Path(folder))
    answer({"load_s": round(time.perf_counter() - began, 3), "loaded_mb": memory_mb("VmRSS")})
    tiles: dict[str, TileInput] = {}
    for line in sys.stdin:
        order, *arguments = json.loads(line)
        if order == "time":
            (side,) = arguments
            if side not in tiles:
                tiles[side] = tile_of(Path(folder) / f"time-{side}.npz")[0]
            answer(timed(network, tiles[side]))
        elif order == "memory":
            answer({"peak_mb": memory_mb("VmHWM")})
        else:
            answer(quality(network, kind, Path(folder)))


def make(kind: str, threads: int, folder: Path) -> Network:
    """Return the network of a kind of `benchmarks.speed.runtimes`."""
    if kind == "ncnn":
        from bbmr_models.inference.ncnn_network import NcnnNetwork

        return NcnnNetwork(MODEL, read(MODEL)[0], threads)
    if kind.startswith(("onnxruntime", "openvino")):
        from .runtimes_onnx import make_onnx

        return make_onnx(kind, threads, folder)
    from .runtimes_torch import make_torch

    return make_torch(kind, threads)


def timed(network: Network, tile: TileInput) -> dict[str, float]:
    wall, processor = time.perf_counter(), time.process_time()
    network.run([tile])
    return {
        "wall_ms": round((time.perf_counter() - wall) * 1000, 2),
        "cpu_ms": round((time.process_time() - processor) * 1000, 2),
    }


def quality(network: Network, kind: str, folder: Path) -> dict[str, Any]:
    """Return PSNR-Y of all pictures and the difference from the plain model, which saves its own for the others."""
    largest, differing, psnrs = 0, [], []
    for path in sorted(folder.glob("quality-*.npz")):
        tile, photo = tile_of(path)
        picture = network.run([tile])[0]
        plain = path.with_suffix(".npy")
        if kind == "plain":
            np.save(plain, picture)
        difference = np.abs(picture.astype(np.int16) - np.load(plain))
        largest = max(largest, int(difference.max()))
        differing.append(float(np.mean(difference > 0)))
        psnrs.append(psnr_y(photo, picture))
    return {
        "largest": largest,
        "differing": float(np.mean(differing)),
        "psnr_y": round(float(np.mean(psnrs)), 4),
    }


def memory_mb(name: str) -> float:
    """Return a line of the process's status in MB. Unlike getrusage, its peak does not include the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(round(int(line.split()[1]) * 1024 / 1e6, 1) for line in lines if line.startswith(f"{name}:"))


def answer(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
