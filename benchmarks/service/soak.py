"""A long run: ten thousand small requests to a real server. Are answers lost or wrong, does memory grow?

In: one photo, from which small pictures are cut. Out: `soak.json`, `soak.md`, `soak.png`. Every answer is compared
with the reconstruction made in this process. Memory is that of the server with its workers, sampled twice a second;
its slope over the last half of the run is fitted by least squares.

    python -m benchmarks.service.soak
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.render.pages import write
from benchmarks.render.soak_pages import plot
from tests.load.command import summary
from tests.load.generator import Outcome, closed_loop
from tests.load.mixture import AnswerCheck, mixture

from .processes import MemorySample, MemorySampler
from .server_process import ServerProcess, run_server

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "samples" / "lake-sherburne.jpg"
GROWTH = 0.5
"""MB per thousand requests. A slope below this, after subtracting twice its standard error, counts as none."""
BINS = 20


def main(
    photo: Annotated[Path, typer.Argument(help="Photo from which small pictures are cut.")] = PHOTO,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = ROOT / "docs" / "benchmarks",
    count: Annotated[int, typer.Option(help="Requests.")] = 10_000,
    clients: Annotated[int, typer.Option(help="Clients that wait for their answers.")] = 8,
    device: Annotated[str, typer.Option(help="Device of the server's network.")] = "cpu",
) -> None:
    """Measure, check, print and write."""
    with run_server(device=device) as server:
        results = soak(server, photo, count, clients)
    text = write(output, "soak", {"photo": photo.name, "device": device, **results})
    plot(results, output / "soak.png")
    print(text)
    if not all(row["holds"] for row in results["checks"]):
        raise typer.Exit(1)


def soak(server: ServerProcess, photo: Path, count: int, clients: int, kinds: int = 144) -> dict[str, Any]:
    """Send `count` requests of `kinds` kinds in random order; returns their outcome and the memory."""
    requests = mixture(photo, kinds)
    judge = AnswerCheck(requests)
    before = server.metrics()
    chosen = random.Random(count).choices(requests, k=count)
    with MemorySampler(server.pid, every_s=0.5) as sampler:
        outcomes = asyncio.run(closed_loop(server.url, chosen, clients, judge))
    after = server.metrics()
    name = 'bbmr_requests_total{method="POST",route="/reconstruct",status="200"}'
    counted = after.get(name, 0) - before.get(name, 0)
    memory = _memory(sampler.samples, outcomes)
    counts = summary(outcomes)
    steepest = memory["slope_mb_per_1000"] - 2 * memory["slope_error"]
    checks = {
        "every request was answered with 200": counts["statuses"] == {"200": count},
        "every answer is the offline reconstruction": counts["wrong"] == 0,
        "the server counted as many": counted == count,
        "nothing is left in the queue": after["bbmr_queue_length"] == 0,
        "memory does not grow over the last half": steepest <= GROWTH,
    }
    return {
        "clients": clients,
        **counts,
        "verdicts": dict(judge.verdicts),
        "wrong_answers": [outcome.wrong for outcome in outcomes if outcome.wrong][:20],
        "memory": memory,
        "seconds_by_thousand": _by_thousand(outcomes),
        "checks": [{"check": text, "holds": bool(holds)} for text, holds in checks.items()],
    }


def slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Fit `y` over `x` by least squares: slope, its standard error, and the value at x = 0.

    Neighbouring samples are correlated, so the fit uses the means of `BINS` parts of equal length.
    """
    parts = zip(np.array_split(x, BINS), np.array_split(y, BINS), strict=True)
    means = np.array([(a.mean(), b.mean()) for a, b in parts if len(a)])
    if len(means) < 3 or np.ptp(means[:, 0]) == 0:
        return 0.0, float("inf"), float(y.mean())
    centred = means[:, 0] - means[:, 0].mean()
    rise = float((centred * means[:, 1]).sum() / (centred**2).sum())
    start = float(means[:, 1].mean() - rise * means[:, 0].mean())
    left = means[:, 1] - start - rise * means[:, 0]
    error = float(np.sqrt((left**2).sum() / (len(means) - 2) / (centred**2).sum()))
    return rise, error, start


def _memory(samples: list[MemorySample], outcomes: list[Outcome]) -> dict[str, Any]:
    ended = np.sort([outcome.at + outcome.seconds for outcome in outcomes])
    thousands = np.searchsorted(ended, [sample.at for sample in samples]) / 1000
    megabytes = np.array([sample.resident for sample in samples])
    late = thousands >= thousands[-1] / 2
    rise, error, start = slope(thousands[late], megabytes[late])
    kept = np.linspace(0, len(samples) - 1, min(len(samples), 150)).astype(int)
    return {
        "first_mb": round(float(megabytes[0]), 1),
        "half_mb": round(float(megabytes[late][0]), 1),
        "last_mb": round(float(megabytes[-1]), 1),
        "most_mb": round(float(megabytes.max()), 1),
        "slope_mb_per_1000": round(rise, 4),
        "slope_error": round(error, 4),
        "fitted_at_0_mb": round(start, 2),
        "samples": [[round(float(thousands[at]) * 1000), round(float(megabytes[at]), 1)] for at in kept],
    }


def _by_thousand(outcomes: list[Outcome]) -> list[dict[str, float]]:
    """Return percentiles of each thousand requests, in milliseconds."""
    times = [outcome.seconds * 1000 for outcome in outcomes if outcome.status == 200]
    parts = [times[at : at + 1000] for at in range(0, len(times), 1000)]
    return [{f"p{cut}_ms": round(float(np.percentile(part, cut)), 1) for cut in (50, 99)} for part in parts]


if __name__ == "__main__":
    typer.run(main)
