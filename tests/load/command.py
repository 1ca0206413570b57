"""The load generator as a command: it sends containers to a server, and prints counts and times as JSON.

python -m tests.load.command http://127.0.0.1:8000 a.bbmr b.bbmr --clients 8 --count 1000
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .generator import LoadRequest, Outcome, closed_loop, open_loop


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return counts, and the times of answers with status 200 in milliseconds."""
    good = [outcome.seconds * 1000 for outcome in outcomes if outcome.status == 200]
    ended = max((outcome.at + outcome.seconds for outcome in outcomes), default=0.0)
    span = ended - min((outcome.at for outcome in outcomes), default=0.0)
    return {
        "requests": len(outcomes),
        "statuses": {str(key): count for key, count in sorted(Counter(o.status for o in outcomes).items())},
        "wrong": sum(bool(outcome.wrong) for outcome in outcomes),
        "seconds": round(span, 2),
        "pictures_per_second": round(len(good) / span, 2) if span else 0.0,
        **{f"p{part}_ms": round(float(np.percentile(good, part)), 1) if good else None for part in (50, 99)},
    }


def main(
    url: Annotated[str, typer.Argument(help="Address of a server.")],
    containers: Annotated[list[Path], typer.Argument(help="Containers to send, in turns.")],
    clients: Annotated[int, typer.Option(help="Clients of the closed loop.")] = 8,
    count: Annotated[int, typer.Option(help="Requests.")] = 100,
    per_second: Annotated[
        float, typer.Option(help="Requests per second of an open loop; 0: a closed loop.")
    ] = 0.0,
    accept: Annotated[list[str] | None, typer.Option(help="Types of the answers, in turns.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="Query parameter, such as max_side=200.")] = None,
) -> None:
    """Send the requests; print counts and times as JSON."""
    params = dict(word.split("=", 1) for word in param or [])
    kinds = [
        LoadRequest(path.read_bytes(), kind, params)
        for path in containers
        for kind in accept or ["image/png"]
    ]
    requests = islice(cycle(kinds), count)
    load = open_loop(url, requests, per_second) if per_second else closed_loop(url, requests, clients)
    print(json.dumps(summary(asyncio.run(load)), indent=1))


if __name__ == "__main__":
    typer.run(main)
