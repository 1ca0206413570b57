"""What `encode` and `reconstruct` share for many files: options, and the pools that do the work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from bbmr_client.batch.reconstructing import Reconstruct, ReconstructOptions
    from bbmr_client.batch.worker_pool import MakePool, WorkerPool
    from bbmr_client.http import Client

REQUESTS = 4
"""Requests in flight without --jobs: enough to keep a server's queue filled while answers travel."""

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
    bool, typer.Option("--overwrite", help="Many files: replace outputs that exist and differ.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no summary; one line if anything failed.")]
ReportFile = Annotated[
    str | None,
    typer.Option("--report", metavar="FILE", help="Many files: a row for each, as .csv or .json."),
]


def encoder_pool(options: Mapping[str, Any], jobs: int | None) -> MakePool:
    """Returns a maker of pools of processes. options: keyword arguments of `bbmr_client.encode`."""
    from bbmr_client.batch.concurrency import check_jobs, usable_cores
    from bbmr_client.batch.file_task import recipe_key
    from bbmr_client.batch.processes import EncodeProcess
    from bbmr_client.batch.worker_pool import ThreadWorkerPool

    most = check_jobs(jobs, usable_cores())

    def make_pool(inputs: int) -> WorkerPool:
        key = recipe_key("encode", options)
        workers = [EncodeProcess(options, key) for _ in range(min(most, inputs))]
        try:
            workers[0].start()  # so that wrong options end the run before anything is written
        except BaseException:
            workers[0].stop()
            raise
        return ThreadWorkerPool(workers)

    return make_pool


def request_pool(
    make_client: Callable[[], Client], options: ReconstructOptions, jobs: int | None
) -> MakePool:
    """Returns a maker of pools of threads that share one client, each with one request in flight."""
    from bbmr_client.batch.concurrency import check_jobs
    from bbmr_client.batch.reconstructing import RequestWorker
    from bbmr_client.batch.worker_pool import ThreadWorkerPool

    most = check_jobs(jobs, REQUESTS)

    def make_pool(inputs: int) -> WorkerPool:
        client = make_client()
        key = _reconstruct_key(options)
        workers = [RequestWorker(client, options, key) for _ in range(min(most, inputs))]
        return ThreadWorkerPool(workers, client.close)

    return make_pool


def local_pool(reconstruct: Reconstruct, options: ReconstructOptions) -> MakePool:
    """Returns a maker of pools that run the network on this machine, for one container at a time."""
    from bbmr_client.batch.reconstructing import reconstruct_task
    from bbmr_client.batch.worker_pool import InlineWorkerPool

    key = _reconstruct_key(options)
    return lambda inputs: InlineWorkerPool(lambda task: reconstruct_task(task, key, options, reconstruct))


def _reconstruct_key(options: ReconstructOptions) -> bytes:
    from bbmr_client.batch.file_task import recipe_key

    values = {"format": options.format, "region": options.region, "model": options.model}
    return recipe_key("reconstruct", values)
