"""What `encode` and `reconstruct` share for many files: options, and the pools that do the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bbmr_shared.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bbmr_client.batch.reconstructing import Reconstruct, ReconstructOptions
    from bbmr_client.batch.run import Batch
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
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more: planes, servers; of many files, each one.")
]
Json = Annotated[bool, typer.Option("--json", help="Report as JSON.")]
ReportFile = Annotated[
    str | None,
    typer.Option("--report", metavar="FILE", help="Many files: a row for each, as .csv or .json."),
]


@dataclass(frozen=True)
class RunOptions:
    """The options above, as the command line gives them.

    Raises:
        UsageError: --quiet and --verbose are both given.
    """

    jobs: int | None = None
    overwrite: bool = False
    quiet: bool = False
    verbose: bool = False
    report: str | None = None
    json: bool = False

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose exclude each other")

    def check_single(self) -> None:
        """Raises `UsageError` if a report of many files is wanted of one file."""
        if self.report is not None:
            raise UsageError("--report is for many files: name the folder for the results with -o DIR/")

    def batch(self, names: list[str], output: str, endings: frozenset[str], ending: str, noun: str) -> Batch:
        """Returns the run with these options; the arguments are those of `Batch`."""
        from bbmr_client.batch.run import Batch

        return Batch(
            names,
            output,
            endings,
            ending,
            noun,
            overwrite=self.overwrite,
            quiet=self.quiet,
            report=self.report,
            json=self.json,
            verbose=self.verbose,
        )


def encoder_pool(options: Mapping[str, Any], jobs: int | None) -> MakePool:
    """Returns a maker of pools of processes. options: keyword arguments of `bbmr_client.encode`."""
    from bbmr_client.batch.concurrency import check_jobs
    from bbmr_client.batch.file_task import recipe_key
    from bbmr_client.batch.processes import EncodeProcess
    from bbmr_client.batch.worker_pool import ThreadWorkerPool
    from bbmr_shared.cpus import available_cpus

    most = check_jobs(jobs, available_cpus())

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
