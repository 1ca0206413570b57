"""Overload: ten times as many requests as a server can serve. Are they served or refused properly?

In: one photo. Out: `overload.json`, `overload.md`. The capacity is measured first, with half as many clients as the
server has places. Then ten times as many requests per second are sent, whether answers come or not, while another
connection requests /healthz again and again.

    python -m benchmarks.service.overload
"""

from __future__ import annotations

import asyncio
import http.client
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer
from PIL import Image

from bbmr_client.encoding.encoder import encode
from benchmarks.render.pages import write
from benchmarks.service.periodic import PeriodicThread
from tests.load.command import summary
from tests.load.generator import LoadRequest, closed_loop, open_loop

from .server_process import ServerProcess, run_server

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "samples" / "lake-sherburne.jpg"
SIDE = 640
"""Side of the square picture in pixels: large enough that the network limits the throughput, not the connections."""
PLACES, DEADLINE_S = 8, 30.0
TIMES = 10
HEALTHY_MS = 100.0


def main(
    photo: Annotated[Path, typer.Argument(help="Photo from which the picture is cut.")] = PHOTO,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = ROOT / "docs" / "benchmarks",
    seconds: Annotated[float, typer.Option(help="How long the overload lasts.")] = 30.0,
    device: Annotated[str, typer.Option(help="Device of the server's network.")] = "cpu",
) -> None:
    """Measure, check, print and write."""
    with run_server(settings(), device) as server:
        results = overload(server, photo, seconds)
    print(write(output, "overload", {"photo": photo.name, "device": device, **results}))
    if not all(row["holds"] for row in results["checks"]):
        raise typer.Exit(1)


def settings() -> dict[str, str]:
    """Return the settings of the server for `overload`."""
    return {"BBMR_QUEUE_LENGTH": str(PLACES), "BBMR_DEADLINE_S": str(DEADLINE_S)}


def overload(server: ServerProcess, photo: Path, seconds: float, side: int = SIDE) -> dict[str, Any]:
    """Send `TIMES` the capacity for `seconds`; returns the outcome of the requests and of /healthz."""
    request = LoadRequest(piece(photo, side))
    normal = summary(asyncio.run(closed_loop(server.url, [request] * (3 * PLACES), PLACES // 2)))
    offered = TIMES * normal["pictures_per_second"]
    with HealthProbe(server) as health:
        outcomes = asyncio.run(
            open_loop(server.url, [request] * max(1, round(offered * seconds)), offered, judge)
        )
    counts = summary(outcomes)
    accepted = [outcome.seconds for outcome in outcomes if outcome.status == 200]
    refused = [outcome.seconds * 1000 for outcome in outcomes if outcome.status == 429]
    waits = sorted({int(o.headers["Retry-After"]) for o in outcomes if o.status == 429 and not o.wrong})
    slowest = float(np.max(health.milliseconds))
    checks = {
        "every request was answered with 200 or 429": set(counts["statuses"]) <= {"200", "429"},
        "every refusal is a problem with a whole number in Retry-After": counts["wrong"] == 0,
        f"the accepted ones were served within {DEADLINE_S:g} s": max(accepted, default=0) <= DEADLINE_S,
        "most were refused": len(refused) > len(outcomes) / 2,
        "at least half as many were served as without the overload": counts["pictures_per_second"]
        >= normal["pictures_per_second"] / 2,
        "nothing is left in the queue": server.metrics()["bbmr_queue_length"] == 0,
        "/healthz always answered 200": health.failures == 0,
        f"/healthz always answered within {HEALTHY_MS:g} ms": slowest < HEALTHY_MS,
    }
    return {
        "side": side,
        "places": PLACES,
        "deadline_s": DEADLINE_S,
        "capacity_per_second": normal["pictures_per_second"],
        "offered_per_second": round(offered, 1),
        **counts,
        "slowest_accepted_s": round(max(accepted, default=0.0), 2),
        "refused_p99_ms": round(float(np.percentile(refused, 99)), 1) if refused else None,
        "retry_after_s": waits,
        "health": {
            "asked": len(health.milliseconds),
            "p50_ms": round(float(np.median(health.milliseconds)), 1),
            "p99_ms": round(float(np.percentile(health.milliseconds, 99)), 1),
            "slowest_ms": round(slowest, 1),
        },
        "checks": [{"check": text, "holds": bool(holds)} for text, holds in checks.items()],
    }


def piece(photo: Path, side: int = SIDE) -> bytes:
    """Return the middle of a photo as a container."""
    with Image.open(photo) as image:
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return encode(image.convert("RGB").crop((left, top, left + side, top + side)), rate=4).to_bytes()


def judge(request: LoadRequest, answer: httpx.Response) -> str:
    """Return what is wrong with a picture or a refusal."""
    kind = answer.headers["Content-Type"]
    if answer.status_code == 200:
        return "" if kind == request.accept else f"a picture of the type {kind}"
    if kind != "application/problem+json":
        return f"a refusal of the type {kind}"
    wait = answer.headers.get("Retry-After", "")
    return "" if wait.isdecimal() and int(wait) >= 1 else f"Retry-After says {wait!r}"


class HealthProbe(PeriodicThread):
    """Requests /healthz every 50 ms inside the `with` block, on a connection of its own."""

    def __init__(self, server: ServerProcess, every_s: float = 0.05) -> None:
        super().__init__(every_s)
        self.milliseconds: list[float] = []
        self.failures = 0
        self._connection = http.client.HTTPConnection(*server.host_and_port, timeout=60)

    def tick(self) -> None:
        began = time.perf_counter()
        try:
            self._connection.request("GET", "/healthz")
            answer = self._connection.getresponse()
            answer.read()
            self.failures += answer.status != 200
        except (OSError, http.client.HTTPException):
            self.failures += 1
            self._connection.close()  # the next request opens it again
        self.milliseconds.append((time.perf_counter() - began) * 1000)

    def finish(self) -> None:
        self._connection.close()


if __name__ == "__main__":
    typer.run(main)
