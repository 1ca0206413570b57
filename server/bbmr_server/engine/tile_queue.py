"""The queue of tiles: tiles of all jobs in, batches of equal shape and weights out.

The job that is due first goes first (see `Job.due`). So a small picture does not wait for the last tile of a large one,
and equal pictures are finished one after the other, not all at the end. A batch starts with the next tile of that job
and is filled with tiles of the same shape: its own first, then those of other jobs. A batch has 1, 2, 4, 8 … tiles,
because networks keep compiled operations for every shape and number of tiles.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass

from bbmr_models.inference.tiles import Tile

from .job import Job

Entry = tuple[Job, Tile]


@dataclass(frozen=True)
class Batch:
    """Tiles of one shape that go through one set of weights together."""

    key: str
    entries: tuple[Entry, ...]


class TileQueue:
    """The tiles that no device has yet. Any thread may use it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: list[Job] = []
        self._wakes = 0

    def add(self, job: Job) -> None:
        """Queue the tiles in `job.todo`, unless the job was discarded meanwhile."""
        with self._changed:
            if not job.closed:
                self._insert(job)
                self._changed.notify_all()

    def give_back(self, entries: Iterable[Entry]) -> None:
        """Put back tiles that were taken and not done, before the other tiles of their jobs.

        Tiles of jobs that were discarded meanwhile are left out.
        """
        with self._changed:
            for job, tile in reversed(list(entries)):
                if job.closed:
                    continue
                job.todo.appendleft(tile)
                if job not in self._jobs:
                    self._insert(job)
            self._changed.notify_all()

    def discard(self, job: Job) -> None:
        """Remove a job's tiles, and take none of it from now on."""
        with self._changed:
            job.closed = True
            job.todo.clear()
            if job in self._jobs:
                self._jobs.remove(job)

    def wake(self) -> None:
        """Make every `take` that waits return."""
        with self._changed:
            self._wakes += 1
            self._changed.notify_all()

    def take(
        self, most: int, wait_s: float, fill_s: float = 0.0, pixels: float = math.inf
    ) -> tuple[Batch | None, list[Job]]:
        """Returns the next batch, and the jobs that were removed because nobody waits for them any more.

        The batch is None if there is none within `wait_s` seconds, or after `wake`.

        Args:
            most: tiles in a batch.
            fill_s: seconds to wait for more tiles if there are fewer.
            pixels: most pixels in a batch; a larger tile goes alone.
        """
        with self._changed:
            wakes = self._wakes
            if not self._jobs and wait_s > 0:
                self._changed.wait_for(lambda: self._jobs or wakes != self._wakes, wait_s)
            if fill_s > 0 and self._jobs:
                end = time.monotonic() + fill_s
                while self._jobs and not self._full(most, pixels) and (rest := end - time.monotonic()) > 0:
                    self._changed.wait(rest)
            given_up = self._remove_given_up()
            return (self._gather(most, pixels) if self._jobs else None), given_up

    def _insert(self, job: Job) -> None:
        insort(self._jobs, job, key=lambda one: one.due)

    def _remove_given_up(self) -> list[Job]:
        given_up = [job for job in self._jobs if job.given_up()]
        for job in given_up:
            self._jobs.remove(job)
            job.todo.clear()
        return given_up

    def _gather(self, most: int, pixels: float) -> Batch:
        key, found = self._next(most, pixels)
        entries = found[: 1 << (len(found).bit_length() - 1)]
        for job, tile in entries:
            job.todo.remove(tile)
        self._jobs = [job for job in self._jobs if job.todo]
        return Batch(key, tuple(entries))

    def _full(self, most: int, pixels: float) -> bool:
        """Whether there are enough tiles for the largest batch that may be next."""
        first = self._jobs[0]
        return len(self._next(most, pixels)[1]) >= _most(most, pixels, _kind(first, first.todo[0])[1])

    def _next(self, most: int, pixels: float) -> tuple[str, list[Entry]]:
        """Key of the weights, and tiles that could be the next batch."""
        first = self._jobs[0]
        key, shape = _kind(first, first.todo[0])
        most = _most(most, pixels, shape)
        found: list[Entry] = []
        for job in self._jobs:
            if found and (first.alone or job.alone):
                continue
            found += [(job, tile) for tile in _alike(job, key, shape)]
            if len(found) >= most:
                break
        return key, found[:most]


def _most(most: int, pixels: float, shape: tuple[int, int]) -> int:
    return max(1, int(min(most, pixels // (shape[0] * shape[1]))))


def _kind(job: Job, tile: Tile) -> tuple[str, tuple[int, int]]:
    assert job.model is not None
    return job.model.key, tile.seen[2:]


def _alike(job: Job, key: str, shape: tuple[int, int]) -> list[Tile]:
    """A job's next tiles of one kind, all from its current row of tiles: its source keeps one row in memory."""
    if job.model is None or job.model.key != key:
        return []
    row = job.todo[0].core[1]
    tiles = []
    for tile in job.todo:
        if tile.core[1] != row:
            break
        if tile.seen[2:] == shape:
            tiles.append(tile)
    return tiles
