"""A run over many files, from the names on the command line to the summary.

In: a `Batch`, and who works for it. Out: files in the output folder, a report, a summary; failures of single files
are told and raise only at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

from bbmr_client.batch.atomic_output import put
from bbmr_client.batch.display import Display, make_display
from bbmr_client.batch.inputs import Passed, check_folder, find
from bbmr_client.batch.journal import Journal
from bbmr_client.batch.plan import Plan, Row
from bbmr_client.batch.report_file import check_report, write_report
from bbmr_client.batch.result import DONE, FAILED, UNCHANGED, Failed, Job, Known, Made, Result
from bbmr_client.batch.summary import SHOWN_FAILURES, Summary, Tally, named
from bbmr_client.batch.worker_pool import Workers
from bbmr_client.files import FileAccessError, print_out, reason
from bbmr_shared.errors import BbmrError, PictureError

HOPELESS = 10
"""Failures in a row whose reason is not the file's (no server, a full disk) after which a run gives up."""

SHOWN_WARNINGS = 20
"""Warnings that are shown while a run goes on; all of them are in the report."""

_WAIT_S = 0.5


class BatchFailedError(BbmrError):
    """Some of many files failed, or were not come to."""

    slug = "batch"


@dataclass(frozen=True)
class Batch:
    """What is asked for. names: expanded; endings: of files in folders; ending: of the outputs; noun: of an input."""

    names: list[str]
    output: str
    endings: frozenset[str]
    ending: str
    noun: str
    overwrite: bool = False
    quiet: bool = False
    report: str | None = None
    json: bool = False

    @property
    def container_is_output(self) -> bool:
        return self.ending == ".bbmr"


def run(batch: Batch, hire: Callable[[int], Workers]) -> Summary:
    """Do it. hire: gives the workers for so many inputs, or raises where they could do nothing.

    Raises:
        UsageError, FileAccessError: before anything was done: there is nothing to do, or nowhere to write.
        JournalError: as `Journal`.
        BatchFailedError: at the end: inputs failed. The summary was shown.
    """
    if batch.report is not None:
        check_report(batch.report)
    folder = check_folder(batch.output, batch.ending)
    display, passed, plan = make_display(batch.quiet), Passed(), Plan(batch.ending)
    try:
        for found in find(batch.names, batch.endings, folder, passed):
            plan.add(found)
            display.found(plan.added, batch.noun)
        plan.settle()
        if plan.count() == 0:
            raise PictureError(f"{', '.join(batch.names)} holds no {batch.noun}s: nothing to do")
        return _with_workers(batch, folder, plan, passed, display, hire(plan.count()))
    except sqlite3.Error as error:
        raise FileAccessError(f"the list of inputs cannot be kept in a temporary file: {error}") from error
    finally:
        display.close()
        plan.close()


def _with_workers(
    batch: Batch, folder: str, plan: Plan, passed: Passed, display: Display, workers: Workers
) -> Summary:
    began = time.monotonic()
    tally = Tally(batch.noun, plan.count(), failed=plan.count(FAILED))
    ended: BaseException | None = None
    stopped = ""
    try:
        _make(folder)
        with Journal(folder, lambda line: display.say(f"warning: {line}")) as journal:
            journal.sweep()
            try:
                stopped = _Run(batch, folder, plan, display, workers, journal, tally).all()
            finally:
                workers.stop()
                journal.sweep()
    except (KeyboardInterrupt, SystemExit) as sent:
        ended, stopped = sent, "interrupted: the same command goes on from here"
    except BbmrError as error:
        if tally.finished == 0:
            raise
        ended, stopped = error, str(error)
    finally:
        workers.stop()
        display.close()
    summary = Summary(
        tally, time.monotonic() - began, plan.failures(SHOWN_FAILURES), stopped, batch.report, passed
    )
    _conclude(batch, folder, plan, summary, display)
    if ended is not None:
        raise ended
    if tally.failed or tally.left:
        raise BatchFailedError(_last_words(summary))
    return summary


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as problem:
        raise FileAccessError(f"{folder} cannot be made: {reason(problem)}") from problem


class _Run:
    """The loop: jobs out, results in, each result to its place."""

    def __init__(
        self,
        batch: Batch,
        folder: str,
        plan: Plan,
        display: Display,
        workers: Workers,
        journal: Journal,
        tally: Tally,
    ) -> None:
        self._batch, self._folder, self._plan, self._display = batch, folder, plan, display
        self._workers, self._journal, self._tally = workers, journal, tally
        self._in_flight: dict[int, tuple[Row, Job]] = {}
        self._in_a_row = self._warned = 0

    def all(self) -> str:
        """Work through the plan; says why it ended early, or ""."""
        for row in self._plan.failures(SHOWN_FAILURES):  # folders that could not be listed
            self._display.say(f"failed: {named(row.source, row.reason)}")
        waiting = self._plan.waiting()
        self._display.update(self._tally)
        last_reason = ""
        while True:
            while len(self._in_flight) < self._workers.size and self._in_a_row < HOPELESS:
                following = next(waiting, None)
                if following is None:
                    break
                self._submit(following)
            if not self._in_flight:
                break
            result = self._workers.next(_WAIT_S)
            if result is not None:
                last_reason = self._take(result) or last_reason
            self._display.update(self._tally)
        return f"given up after {HOPELESS} failures in a row: {last_reason}" if self._gave_up() else ""

    def _gave_up(self) -> bool:
        return self._in_a_row >= HOPELESS and self._tally.left > 0

    def _submit(self, row: Row) -> None:
        target = os.path.join(self._folder, row.output)
        known = self._journal.known(row.output)
        temporary = self._journal.temporary(row.index)
        job = Job(row.index, row.source, target, temporary, known, self._batch.overwrite)
        self._in_flight[row.index] = row, job
        self._workers.submit(job)

    def _take(self, result: Result) -> str:
        """Put a result in its place; gives the reason of a failure."""
        row, job = self._in_flight.pop(result.index)
        if isinstance(result, Made):
            try:
                self._place(row, job, result)
                return ""
            except BbmrError as error:
                if error.slug == "journal":
                    raise
                result = Failed(result.index, str(error))
            except OSError as problem:
                result = Failed(result.index, f"{job.target} cannot be written: {reason(problem)}")
        with contextlib.suppress(OSError):
            os.unlink(job.temporary)
        self._in_a_row = self._in_a_row + 1 if result.hopeless else 0
        self._tally.failed += 1
        self._plan.mark(row.index, FAILED, result.reason)
        self._display.say(f"failed: {named(row.source, result.reason)}")
        return result.reason

    def _place(self, row: Row, job: Job, made: Made) -> None:
        if not made.unchanged:
            self._journal.record(row.output, Known(made.recipe, made.digest, made.facts))
            put(job.temporary, job.target, self._folder, self._batch.overwrite)
        self._plan.mark(row.index, UNCHANGED if made.unchanged else DONE, facts=made.facts)
        self._in_a_row = 0
        self._tally.add(row.source, made.facts, made.unchanged)
        for warning in () if made.unchanged else made.facts.warnings:
            self._warned += 1
            if self._warned <= SHOWN_WARNINGS:
                self._display.say(f"{row.source}: warning: {warning}")
            elif self._warned == SHOWN_WARNINGS + 1:
                self._display.say("further warnings are not shown: --report FILE.csv has them all")


def _conclude(batch: Batch, folder: str, plan: Plan, summary: Summary, display: Display) -> None:
    if batch.report is not None:
        write_report(batch.report, plan.rows(), folder, batch.container_is_output)
    if batch.json:
        print_out(json.dumps(summary.as_dict(), indent=2))
    else:
        for line in summary.lines():
            display.say(line)


def _last_words(summary: Summary) -> str:
    tally = summary.tally
    if summary.stopped:
        return f"{tally.left} of {tally.total} {tally.noun}s are left: {summary.stopped}"
    first = summary.failures[0]
    return f"{tally.failed} of {tally.total} {tally.noun}s failed, the first: {named(first.source, first.reason)}"
