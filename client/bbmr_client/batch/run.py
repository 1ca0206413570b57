"""A run over many files, from the names on the command line to the summary.

In: a `Batch`, and a pool of workers. Out: files in the output folder, a report, a summary. The failure of a single
file is shown at once and raised at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from dataclasses import dataclass

from bbmr_client.batch.atomic_output import move_into_place
from bbmr_client.batch.display import Display, make_display
from bbmr_client.batch.inputs import Skipped, check_folder, find
from bbmr_client.batch.journal import Journal, JournalError
from bbmr_client.batch.plan import BatchPlan, PlanRow
from bbmr_client.batch.report_file import check_report, write_report
from bbmr_client.batch.result import (
    DONE,
    FAILED,
    UNCHANGED,
    FileTask,
    JournalEntry,
    TaskDone,
    TaskFailed,
    TaskResult,
)
from bbmr_client.batch.summary import SHOWN_FAILURES, Summary, Tally, named
from bbmr_client.batch.worker_pool import MakePool, WorkerPool
from bbmr_client.files import FileAccessError, print_out, reason
from bbmr_shared.errors import BbmrError, PictureError

MAX_FAILURES_IN_A_ROW = 10
"""A run gives up after this many failures in a row whose reason affects all files (no server, a full disk)."""

SHOWN_WARNINGS = 20
"""Warnings that are shown while a run goes on. The report has them all."""

_WAIT_S = 0.5


class BatchFailedError(BbmrError):
    """Some files failed, or were not reached."""

    slug = "batch"


@dataclass(frozen=True)
class Batch:
    """One run. names: expanded; endings: of files in folders; ending: of the outputs; noun: what an input is called."""

    names: list[str]
    output: str
    endings: frozenset[str]
    ending: str
    noun: str
    overwrite: bool = False
    quiet: bool = False
    report: str | None = None
    json: bool = False
    verbose: bool = False

    @property
    def container_is_output(self) -> bool:
        return self.ending == ".bbmr"


def run(batch: Batch, make_pool: MakePool) -> Summary:
    """Work through a batch.

    Raises:
        UsageError, FileAccessError: before the work: there is no input, or the output cannot be written.
        JournalError: as `Journal`.
        BatchFailedError: after the summary was shown: inputs failed or are left.
    """
    if batch.report is not None:
        check_report(batch.report)
    folder = check_folder(batch.output, batch.ending)
    display, skipped, plan = make_display(batch.quiet), Skipped(), BatchPlan(batch.ending)
    try:
        for found in find(batch.names, batch.endings, folder, skipped):
            plan.add(found)
            display.scanned(plan.added, batch.noun)
        plan.settle()
        if plan.count() == 0:
            raise PictureError(f"{', '.join(batch.names)} holds no {batch.noun}s: nothing to do")
        return _with_pool(batch, folder, plan, skipped, display, make_pool(plan.count()))
    except sqlite3.Error as error:
        raise FileAccessError(f"the list of inputs cannot be kept in a temporary file: {error}") from error
    finally:
        display.close()
        plan.close()


def _with_pool(
    batch: Batch, folder: str, plan: BatchPlan, skipped: Skipped, display: Display, pool: WorkerPool
) -> Summary:
    began = time.monotonic()
    tally = Tally(batch.noun, plan.count(), failed=plan.count(FAILED))
    ended: BaseException | None = None
    stopped = ""
    try:
        _make_folder(folder)
        with Journal(folder, lambda line: display.say(f"warning: {line}")) as journal:
            journal.remove_leftovers()
            try:
                stopped = _Run(batch, folder, plan, display, pool, journal, tally).all()
            finally:
                pool.stop()
                journal.remove_leftovers()
    except (KeyboardInterrupt, SystemExit) as sent:
        ended, stopped = sent, "interrupted: the same command goes on from here"
    except BbmrError as error:
        if tally.finished == 0:
            raise
        ended, stopped = error, str(error)
    finally:
        pool.stop()
        display.close()
    summary = Summary(
        tally, time.monotonic() - began, plan.failures(SHOWN_FAILURES), stopped, batch.report, skipped
    )
    _conclude(batch, folder, plan, summary, display)
    if ended is not None:
        raise ended
    if tally.failed or tally.left:
        raise BatchFailedError(_last_line(summary))
    return summary


def _make_folder(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as problem:
        raise FileAccessError(f"{folder} cannot be made: {reason(problem)}") from problem


class _Run:
    """The loop of a run: submits tasks to the pool and handles each result."""

    def __init__(
        self,
        batch: Batch,
        folder: str,
        plan: BatchPlan,
        display: Display,
        pool: WorkerPool,
        journal: Journal,
        tally: Tally,
    ) -> None:
        self._batch, self._folder, self._plan, self._display = batch, folder, plan, display
        self._pool, self._journal, self._tally = pool, journal, tally
        self._in_flight: dict[int, tuple[PlanRow, FileTask]] = {}
        self._in_a_row = self._warned = 0

    def all(self) -> str:
        """Work through the plan. Returns why it ended early, or ""."""
        for row in self._plan.failures(SHOWN_FAILURES):  # folders that cannot be listed
            self._display.say(f"failed: {named(row.source, row.reason)}")
        waiting = self._plan.waiting()
        self._display.update(self._tally)
        last_reason = ""
        while True:
            while len(self._in_flight) < self._pool.size and self._in_a_row < MAX_FAILURES_IN_A_ROW:
                following = next(waiting, None)
                if following is None:
                    break
                self._submit(following)
            if not self._in_flight:
                break
            result = self._pool.next(_WAIT_S)
            if result is not None:
                last_reason = self._take(result) or last_reason
            self._display.update(self._tally)
        if not self._gave_up():
            return ""
        return f"given up after {MAX_FAILURES_IN_A_ROW} failures in a row: {last_reason}"

    def _gave_up(self) -> bool:
        return self._in_a_row >= MAX_FAILURES_IN_A_ROW and self._tally.left > 0

    def _submit(self, row: PlanRow) -> None:
        target = os.path.join(self._folder, row.output)
        known = self._journal.known(row.output)
        temporary = self._journal.temporary(row.index)
        task = FileTask(row.index, row.source, target, temporary, known, self._batch.overwrite)
        self._in_flight[row.index] = row, task
        self._pool.submit(task)

    def _take(self, result: TaskResult) -> str:
        """Handle a result. Returns the reason of a failure, or ""."""
        row, task = self._in_flight.pop(result.index)
        if isinstance(result, TaskDone):
            try:
                self._finish(row, task, result)
                return ""
            except JournalError:  # no file after this one could be recorded either
                raise
            except BbmrError as error:
                result = TaskFailed(result.index, str(error))
            except OSError as problem:
                result = TaskFailed(result.index, f"{task.target} cannot be written: {reason(problem)}")
        with contextlib.suppress(OSError):
            os.unlink(task.temporary)
        self._in_a_row = self._in_a_row + 1 if result.affects_all else 0
        self._tally.failed += 1
        self._plan.mark(row.index, FAILED, result.reason)
        self._display.say(f"failed: {named(row.source, result.reason)}")
        return result.reason

    def _finish(self, row: PlanRow, task: FileTask, done: TaskDone) -> None:
        if not done.unchanged:
            self._journal.record(row.output, JournalEntry(done.recipe, done.digest, done.stats))
            move_into_place(task.temporary, task.target, self._folder, self._batch.overwrite)
        self._plan.mark(row.index, UNCHANGED if done.unchanged else DONE, stats=done.stats)
        self._in_a_row = 0
        self._tally.add(row.source, done.stats, done.unchanged)
        if self._batch.verbose:
            self._display.say(_done_line(row.source, task.target, done))
        if not done.unchanged:
            self._show_warnings(row.source, done.stats.warnings)

    def _show_warnings(self, source: str, warnings: tuple[str, ...]) -> None:
        for warning in warnings:
            self._warned += 1
            if self._warned <= SHOWN_WARNINGS:
                self._display.say(f"{source}: warning: {warning}")
            elif self._warned == SHOWN_WARNINGS + 1:
                self._display.say("further warnings are not shown: --report FILE.csv has them all")


def _conclude(batch: Batch, folder: str, plan: BatchPlan, summary: Summary, display: Display) -> None:
    if batch.report is not None:
        write_report(batch.report, plan.rows(), folder, batch.container_is_output)
    if batch.json:
        print_out(json.dumps(summary.as_dict(), indent=2))
    else:
        for line in summary.lines():
            display.say(line)


def _done_line(source: str, target: str, done: TaskDone) -> str:
    stats = done.stats
    how = "done before" if done.unchanged else f"{stats.seconds:.2f} s"
    return f"{source} → {target}: {stats.width}×{stats.height}, {stats.bytes_out} bytes, {how}"


def _last_line(summary: Summary) -> str:
    tally = summary.tally
    if summary.stopped:
        return f"{tally.left} of {tally.total} {tally.noun}s are left: {summary.stopped}"
    first = summary.failures[0]
    return f"{tally.failed} of {tally.total} {tally.noun}s failed, the first: {named(first.source, first.reason)}"
