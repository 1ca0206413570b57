"""Ray Data as the workers of a batch: jobs go in, results come back as they are ready.

A run is divided into windows of some thousand jobs. Each window is one Ray data set, mapped by a pool of `BulkWorker`
actors and read as it proceeds. So the window bounds the memory, and Ray can balance the files among the workers.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import shutil
import tempfile
import threading
from dataclasses import replace
from typing import Any

import ray
import ray.data

from bbmr_client.batch.result import FileTask, TaskFailed, TaskResult
from bbmr_shared.cpus import available_cpus
from bbmr_shared.errors import BbmrError, UsageError, one_line

from .bulk_worker import STREAMS, BulkTask, BulkWorker

WINDOW = 2048
"""Jobs of a window for each worker. At 0.1 s a file a window takes minutes, and its pool starts in seconds."""

LARGEST_WINDOW = 50_000

_STORE_BYTES = 128 << 20  # job descriptions only: pictures go from file to file


class ClusterError(BbmrError):
    """Ray does not start, cannot be reached, or has too few resources."""

    slug = "cluster"


class RayWorkerPool:
    """`bbmr_client.batch.worker_pool.WorkerPool` over Ray Data.

    Args:
        workers: how many; None: one for each GPU, or one for each machine if there is none.
        threads: CPU cores of each worker; None: all cores divided among them.
        address: of a cluster; None: the one that RAY_ADDRESS names, or a new Ray on this machine.
        inputs: the largest number of jobs.

    Raises:
        ClusterError if the cluster cannot be reached, UsageError if it has too few cores or GPUs.
    """

    def __init__(
        self, task: BulkTask, workers: int | None, threads: int | None, address: str | None, inputs: int
    ) -> None:
        self._folder = _connect(address)
        self._results: queue.SimpleQueue[TaskResult] = queue.SimpleQueue()
        self._waiting: list[FileTask] = []
        self._reader: threading.Thread | None = None
        self._stopped = False
        try:
            self._workers, self._resources = _allocate(task, workers, threads, inputs)
        except BaseException:
            self.stop()
            raise
        threads = task.settings.engine.threads or int(self._resources["num_cpus"])
        self._task = replace(task, settings=task.settings.with_changes(threads=threads))
        self.size = min(WINDOW * self._workers, LARGEST_WINDOW)

    def submit(self, job: FileTask) -> None:
        """Adds a job to the next window."""
        self._waiting.append(job)

    def next(self, timeout: float) -> TaskResult | None:
        """Returns a result, or None if there is none within `timeout` seconds."""
        if self._waiting and (self._reader is None or not self._reader.is_alive()):
            jobs, self._waiting = self._waiting, []
            self._reader = threading.Thread(target=self._read, args=(jobs,), daemon=True)
            self._reader.start()
        try:
            return self._results.get(timeout=timeout)
        except queue.Empty:
            return None

    def stop(self) -> None:
        """Ends all jobs and leaves the cluster. A second call does nothing."""
        if self._stopped:
            return
        self._stopped = True
        ray.shutdown()
        if self._reader is not None:
            self._reader.join(timeout=5)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, jobs: list[FileTask]) -> None:
        """Runs one window and collects its results. A job without a result fails."""
        missing = {job.index for job in jobs}
        why = "the cluster gave no answer"
        try:
            rows = [{"job": pickle.dumps(job)} for job in jobs]
            # One block for each file: then Ray repeats only the files that a dead process worked on.
            data = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                BulkWorker,
                fn_constructor_args=(self._task,),
                batch_size=None,
                compute=ray.data.ActorPoolStrategy(
                    size=min(self._workers, len(rows)),
                    max_concurrent_calls_per_actor=STREAMS,
                    enable_true_multi_threading=True,
                ),
                **self._resources,
            )
            for row in data.iter_rows():
                result: TaskResult = pickle.loads(row["result"])
                missing.discard(result.index)
                self._results.put(result)
        except Exception as error:
            why = f"the cluster failed: {one_line(error)}"
        if not self._stopped:
            for index in missing:
                self._results.put(TaskFailed(index, why, affects_all=True))


def _connect(address: str | None) -> str | None:
    """Connects to the cluster, or starts one on this machine. Returns the folder of a started one."""
    address = address or os.environ.get("RAY_ADDRESS") or None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it warns about the normal end of this process
    data = ray.data.DataContext.get_current()
    data.enable_progress_bars = False
    data.print_on_execution_start = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address is not None and address != "local":
            ray.init(address=address, **quiet)
            return None
        folder = tempfile.mkdtemp(prefix="bbmr-")
        try:
            ray.init(
                address="local",
                num_cpus=available_cpus(),
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                _temp_dir=folder,
                **quiet,
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except Exception as error:  # Ray raises plain `Exception` if one of its processes does not start
        where = "on this machine" if address is None else f"at {address}"
        raise ClusterError(f"there is no Ray {where}: {one_line(error)}") from error
    return folder


def _allocate(
    task: BulkTask, workers: int | None, threads: int | None, inputs: int
) -> tuple[int, dict[str, float]]:
    """Returns the number of workers and the Ray resources of each."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    on_gpu = task.kind == "reconstruct" and task.settings.engine.device != ("cpu",) and gpus > 0
    if task.settings.engine.device not in (("auto",), ("cpu",), ("cuda",)):
        raise UsageError("--device must be auto, cpu or cuda: Ray chooses the GPU of a worker")
    if task.settings.engine.device == ("cuda",) and not gpus and task.kind == "reconstruct":
        raise UsageError("there is no GPU in the cluster: use --device cpu")
    cores = [int(node["CPU"]) for node in nodes]
    if workers is None:
        workers = gpus if on_gpu else sum(cores) if task.kind == "encode" else len(nodes)
    workers = min(workers, max(1, inputs))
    if threads is None:
        threads = 1 if task.kind == "encode" else max(1, min(min(cores), sum(cores) // workers))
    if workers * threads > sum(cores) or (on_gpu and workers > gpus):
        raise UsageError(
            f"{workers} workers with {threads} cores each are too many for {sum(cores)} cores and {gpus} GPUs"
        )
    return workers, {"num_cpus": threads, "num_gpus": 1 if on_gpu else 0}
