"""One measurement of `benchmarks.speed.speed` in a process of its own: reconstruction time and peak memory, as JSON."""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path

import torch

from bbmr_client.encoding.encoder import encode
from bbmr_models import load
from bbmr_models.reconstruct import Reconstructor
from bbmr_shared.compositing.composite import composite
from bbmr_shared.container import Container
from benchmarks.common import SIZES, cut, read_rgb


def main(kind: str, photo: str, size: str, threads: str, runs: str) -> None:
    """Print the medians in ms and the peak resident memory over idle in MB."""
    if kind == "container":
        sys.stdout.buffer.write(encode(cut(read_rgb(Path(photo)), *SIZES[size]), rate=4).to_bytes())
        return
    import subprocess

    command = [sys.executable, "-m", "benchmarks.speed.speed_worker", "container", photo, size, threads, runs]
    data = subprocess.run(
        command, check=True, capture_output=True
    ).stdout  # encoded in another process, so that its memory does not count here
    torch.set_num_threads(int(threads))
    reconstructor = Reconstructor(load("light"))
    container = Container.from_bytes(data)
    idle = _peak_mb()
    totals, parts = [], []
    for _ in range(int(runs)):
        began = time.perf_counter()
        composite(container.decode_planes(), container.rate_map, container.grid)
        middle = time.perf_counter()
        reconstructor.reconstruct(container)
        totals.append(time.perf_counter() - middle)
        parts.append(middle - began)
    total, part = statistics.median(totals) * 1000, statistics.median(parts) * 1000
    result = {
        "total_ms": total,
        "composite_ms": part,
        "network_ms": total - part,
        "peak_mb": _peak_mb() - idle,
    }
    print(json.dumps({key: round(value, 1) for key, value in result.items()}))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main(*sys.argv[1:])
