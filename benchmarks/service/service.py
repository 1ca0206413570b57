"""The service: throughput by batch and clients, use of the device, memory, and a region of a large picture.

In: a folder of photos of 2K size and one of 4K size (mirrored to 8K). Out: `service.json`, `service.md`,
`service.png`; on a GPU `service-cuda…`. Servers are real processes, clients wait for their answers (closed loops),
answers are JPEG. What is compared is measured in the same run: 1.0 is a plain loop in this process, without HTTP,
that reads, reconstructs and encodes one picture after the other.

    python -m benchmarks.service.service eval2k eval4k/4k3_glass-facade.webp
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from bbmr_client.encoding.encoder import encode
from bbmr_models import load
from bbmr_models.reconstruct import Reconstructor
from bbmr_shared.container import Container
from bbmr_shared.images.output import encode_picture
from benchmarks.common import cut, photos, read_rgb
from benchmarks.render.pages import write
from benchmarks.render.service_pages import plot
from tests.load.command import summary
from tests.load.generator import LoadRequest, Outcome, closed_loop

from . import processes
from .server_process import ServerProcess, run_server

ROOT = Path(__file__).parents[2]
JPEG = "image/jpeg"
BATCHES = (0, 1, 2, 4, 8)
"""Values of BBMR_BATCH; 0 is the server's own choice."""
CLIENTS = (1, 2, 4, 8)
SMALL, REGION = 256, 512
SIDES = {"2K": (2048, 1365), "4K": (3840, 2160), "8K": (7680, 4320)}
RUNS = {"cpu": 3, "cuda": 20}
"""Requests per figure that are sent one at a time."""


def main(
    folder: Annotated[Path, typer.Argument(help="Photos of 2K size.")],
    large: Annotated[Path, typer.Argument(help="A photo of 4K size.")],
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = ROOT / "docs" / "benchmarks",
    device: Annotated[str, typer.Option(help="Device of the network: cpu or cuda.")] = "cpu",
    seconds: Annotated[float, typer.Option(help="Duration of each measurement.")] = 8.0,
) -> None:
    """Measure, print and write."""
    originals = [read_rgb(path) for path in photos([folder])]
    middles = [_middle(photo, SMALL, SMALL) for photo in originals]
    print("encoding", flush=True)
    small, medium = ([_packed(photo) for photo in those] for those in (middles, originals))
    whole = cut(read_rgb(large), *SIDES["8K"])
    huge = _packed(whole)
    sizes = {f"{SMALL}²": small[0], "2K": medium[0], "4K": _packed(cut(whole, *SIDES["4K"])), "8K": huge}
    results: dict[str, Any] = {
        "device": device,
        "photos": len(originals),
        "large": large.name,
        "throughput": [
            throughput(f"{SMALL}²", small, device, seconds, every=True),
            throughput("2K", medium, device, seconds, every=device != "cpu"),
        ],
    }
    with run_server(device=device) as server:
        results["one"] = one_at_a_time(server, sizes, RUNS.get(device, RUNS["cuda"]))
        results["region"] = region(server, huge, whole)
    name = "service" if device == "cpu" else "service-cuda"
    text = write(output, name, results)
    plot(results, output / f"{name}.png")
    print(text)


def throughput(kind: str, bodies: list[bytes], device: str, seconds: float, every: bool) -> dict[str, Any]:
    """Measure pictures per second for each batch and number of clients; without `every`, fewer combinations."""
    requests = [LoadRequest(body, JPEG) for body in bodies]
    before = alone(bodies, device, seconds)
    rows = []
    for batch in BATCHES:
        with run_server({"BBMR_BATCH": str(batch)}, device) as server:
            asyncio.run(closed_loop(server.url, requests[:2], 2))
            for clients in CLIENTS if every or not batch else (4,):
                rows.append({"batch": batch, "clients": clients, **busy(server, requests, clients, seconds)})
                print(kind, rows[-1], flush=True)
    reference = (before + alone(bodies, device, seconds)) / 2
    for row in rows:
        row["ratio"] = round(row["pictures_per_second"] / reference, 3)
    megapixels = statistics.mean(
        one.width * one.height / 1e6 for one in (Container.from_bytes(body) for body in bodies)
    )
    return {
        "kind": kind,
        "megapixels": round(megapixels, 3),
        "alone_per_second": round(reference, 3),
        "rows": rows,
    }


def alone(bodies: list[bytes], device: str, seconds: float) -> float:
    """Return the pictures per second of the plain loop."""
    reconstructor = Reconstructor(load("light", device), device)
    count, began = -1, 0.0
    for body in cycle(bodies):
        encode_picture(reconstructor.reconstruct(Container.from_bytes(body)), "jpeg")
        count += 1
        if count == 0:  # the first is the warm-up
            began = time.monotonic()
        elif time.monotonic() - began >= seconds:
            break
    return count / (time.monotonic() - began)


def busy(server: ServerProcess, requests: list[LoadRequest], clients: int, seconds: float) -> dict[str, Any]:
    """Measure what `clients` clients get within `seconds`, and the share of that time in which the device works."""

    def until() -> Iterator[LoadRequest]:
        end = time.monotonic() + seconds
        for request in cycle(requests):
            if time.monotonic() >= end:
                return
            yield request

    before = _device_seconds(server)
    counts = summary(asyncio.run(closed_loop(server.url, until(), clients)))
    worked, devices = _device_seconds(server)
    if set(counts["statuses"]) != {"200"}:
        raise SystemExit(f"not every request was answered with 200: {counts['statuses']}")
    share = (worked - before[0]) / counts["seconds"] / max(devices, 1)
    keys = ("requests", "pictures_per_second", "p50_ms", "p99_ms")
    return {**{key: counts[key] for key in keys}, "device_share": round(share, 3)}


def one_at_a_time(server: ServerProcess, sizes: dict[str, bytes], runs: int) -> dict[str, Any]:
    """Measure each size: time for the client, time in each stage, and peak memory over that of the idle server.

    The peak is the sum of what each process held at most (the kernel's count), in MB; `sampled` what they held
    together, and `proportional` the same with shared pages counted once, both sampled ten times a second.
    """
    idle = processes.MemorySampler(server.pid, shares=True).take()
    rows = []
    for kind, body in sizes.items():
        family = [server.pid, *processes.children(server.pid)]
        outcomes = asyncio.run(closed_loop(server.url, [LoadRequest(body, JPEG)] * runs, 1))
        for pid in family:
            processes.forget_peak(pid)
        with processes.MemorySampler(server.pid, every_s=0.1, shares=True) as sampler:  # slows the server
            asyncio.run(closed_loop(server.url, [LoadRequest(body, JPEG)] * runs, 1))
        row = {"kind": kind, **_times(outcomes)}
        row["above_idle_mb"] = round(sum(processes.peak(pid) for pid in family) - idle.resident, 1)
        row["sampled_mb"] = round(max(one.resident for one in sampler.samples) - idle.resident, 1)
        row["proportional_mb"] = round(
            max(one.proportional for one in sampler.samples) - idle.proportional, 1
        )
        rows.append(row)
        print(row, flush=True)
    return {
        "idle_mb": round(idle.resident, 1),
        "idle_proportional_mb": round(idle.proportional, 1),
        "runs": runs,
        "rows": rows,
    }


def region(server: ServerProcess, body: bytes, whole: NDArray[np.uint8], runs: int = 7) -> dict[str, Any]:
    """Compare a region of a large picture with a picture of its size, and with decoding the planes alone."""
    height, width = whole.shape[:2]
    left, top = (width - REGION) // 2, (height - REGION) // 2
    part = LoadRequest(body, JPEG, {"region": f"{left},{top},{REGION},{REGION}"})
    own = LoadRequest(_packed(_middle(whole, REGION, REGION)), JPEG)
    container = Container.from_bytes(body)
    times: dict[str, list[Outcome]] = {"region": [], "picture": []}
    decoding = []
    for _ in range(runs + 1):  # in turns, so that other load affects all of them
        began = time.perf_counter()
        container.decode_planes()
        decoding.append((time.perf_counter() - began) * 1000)
        for name, request in (("region", part), ("picture", own)):
            times[name] += asyncio.run(closed_loop(server.url, [request], 1))
    decode = statistics.median(decoding[1:])
    medians = {name: _times(outcomes[1:]) for name, outcomes in times.items()}
    bound = decode + 2 * medians["picture"]["p50_ms"]
    return {
        "side": REGION,
        "decode_ms": round(decode, 1),
        **medians,
        "bound_ms": round(bound, 1),
        "holds": medians["region"]["p50_ms"] <= bound,
    }


def _times(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return medians in milliseconds: of the whole request, and of each stage in Server-Timing."""
    stages: dict[str, list[float]] = {}
    for outcome in outcomes:
        if outcome.status != 200:
            raise SystemExit(f"a request was answered with {outcome.status}: {outcome.wrong}")
        for entry in outcome.headers["Server-Timing"].split(", "):
            name, _, value = entry.partition(";dur=")
            stages.setdefault(name, []).append(float(value))
    return {
        "p50_ms": round(statistics.median(outcome.seconds for outcome in outcomes) * 1000, 1),
        "stages_ms": {name: round(statistics.median(values), 1) for name, values in stages.items()},
    }


def _device_seconds(server: ServerProcess) -> tuple[float, int]:
    """Return the seconds in which all devices worked, summed, and their number."""
    seconds = [
        value
        for name, value in server.metrics().items()
        if name.startswith("bbmr_device_busy_seconds_total{")
    ]
    return sum(seconds), len(seconds)


def _packed(photo: NDArray[np.uint8]) -> bytes:
    return encode(photo, rate=4).to_bytes()


def _middle(photo: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    top, left = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
    return np.ascontiguousarray(photo[top : top + height, left : left + width])


if __name__ == "__main__":
    typer.run(main)
