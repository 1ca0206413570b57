"""The options that `encode` and `reconstruct` have for many files, and who does the work of each.

In: options as given. Out: a finished run. What is needed for it is imported when it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bbmr_client.batch.reconstructing import Ask, Wish
    from bbmr_client.batch.worker_pool import Workers
    from bbmr_client.http import Client

REQUESTS = 4
"""Requests in flight unless --jobs says otherwise: enough to keep a server's queue filled while answers travel."""

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        help="Many files: worked on at a time. Default: encode, a process per core; reconstruct, 4 requests.",
        show_default=False,
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Many files: replace outputs that are there and differ.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, no summary; one line if anything failed.")
]
ReportFile = Annotated[
    str | None,
    typer.Option("--report", metavar="FILE", help="Many files: a row for each, as .csv or .json."),
]


def hire_encoders(options: Mapping[str, Any], jobs: int | None) -> Callable[[int], Workers]:
    """Processes that encode with `options`, the keyword arguments of `bbmr_client.encode`."""
    from bbmr_client.batch.concurrency import check_jobs, usable_cores
    from bbmr_client.batch.file_task import recipe_key
    from bbmr_client.batch.processes import EncodeProcess
    from bbmr_client.batch.worker_pool import Crew

    most = check_jobs(jobs, usable_cores())

    def hire(inputs: int) -> Workers:
        key = recipe_key("encode", options)
        hands = [EncodeProcess(options, key) for _ in range(min(most, inputs))]
        try:
            hands[0].start()  # now, so that options that make no sense end the run before anything is written
        except BaseException:
            hands[0].stop()
            raise
        return Crew(hands)

    return hire


def hire_requests(
    make_client: Callable[[], Client], wish: Wish, jobs: int | None
) -> Callable[[int], Workers]:
    """Threads that each keep one request in flight, all by one client."""
    from bbmr_client.batch.concurrency import check_jobs
    from bbmr_client.batch.reconstructing import RequestHand
    from bbmr_client.batch.worker_pool import Crew

    most = check_jobs(jobs, REQUESTS)

    def hire(inputs: int) -> Workers:
        client = make_client()
        hands = [RequestHand(client, wish, _reconstruct_key(wish)) for _ in range(min(most, inputs))]
        return Crew(hands, client.close)

    return hire


def hire_network(ask: Ask, wish: Wish) -> Callable[[int], Workers]:
    """The network on this machine, for one container at a time."""
    from bbmr_client.batch.reconstructing import reconstruct_job
    from bbmr_client.batch.worker_pool import Alone

    key = _reconstruct_key(wish)
    return lambda inputs: Alone(lambda job: reconstruct_job(job, key, wish, ask))


def _reconstruct_key(wish: Wish) -> bytes:
    from bbmr_client.batch.file_task import recipe_key

    return recipe_key("reconstruct", {"format": wish.format, "region": wish.region, "model": wish.model})
