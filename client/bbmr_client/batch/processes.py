"""Worker processes for encoding: each is started anew (spawn), made ready once, and replaced when it dies.

In: jobs. Out: results. A process that dies, killed for memory or by a crash of a codec, fails the one file it had.
Processes end with their parent, however that ends, and take their temporary file along.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any, BinaryIO

from bbmr_client.batch.file_task import Product, carry_out
from bbmr_client.batch.result import Failed, Job, Result
from bbmr_client.files import reason
from bbmr_shared.errors import BbmrError, UsageError
from bbmr_shared.limits import DEFAULT_LIMITS

_PATIENCE_S = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class WorkerError(BbmrError):
    """A process for the work cannot be had."""

    slug = "worker"


class EncodeProcess:
    """A process that encodes with `options`, the keyword arguments of `bbmr_client.encode`. key: of the recipes.

    Raises:
        UsageError: (`start`, and never later) the options make no sense.
        WorkerError: (`start`) there is no process to be had.
    """

    def __init__(self, options: Mapping[str, Any], key: bytes) -> None:
        self._options, self._key = dict(options), key
        self._lock = threading.Lock()
        self._stopped = False
        self._process: SpawnProcess | None = None
        self._line: Connection[Any, Any] | None = None

    def start(self) -> None:
        """Have the process ready for its first job."""
        try:
            answer = self._begin()
        except (EOFError, OSError) as error:
            why = self._death() or reason(error)
            raise WorkerError(f"a worker process could not be started ({why})") from error
        if answer is not None:
            raise UsageError(answer)

    def _begin(self) -> str | None:
        """What the new process says of the options."""
        context = multiprocessing.get_context("spawn")
        with self._lock:
            if self._stopped:
                return None
            ours, theirs = context.Pipe()
            self._line = ours
            self._process = context.Process(
                target=serve, args=(theirs, self._options, self._key), daemon=True
            )
            with _signals_held():
                self._process.start()
            theirs.close()
        answer: str | None = self._receive()
        return answer

    def __call__(self, job: Job) -> Result:
        try:
            if self._process is None or not self._process.is_alive():
                self._end()
                self.start()
            assert self._line is not None
            self._line.send(job)
            return self._receive()  # type: ignore[no-any-return]
        except BbmrError as error:
            return Failed(job.index, str(error), hopeless=True)
        except (EOFError, OSError) as error:
            why = self._death() or str(error)
            self._end()
            return Failed(job.index, f"{job.source}: its worker process ended ({why})")

    def stop(self) -> None:
        """End the process at once; it has nothing that its parent does not clean up."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process is not None and process.is_alive():
            process.kill()
            process.join(_PATIENCE_S)

    def _receive(self) -> Any:
        assert self._line is not None
        return self._line.recv()

    def _death(self) -> str:
        if self._process is None:
            return ""
        self._process.join(_PATIENCE_S)
        code = self._process.exitcode
        if code is None:
            return "it does not answer"
        if code >= 0:
            return f"exit status {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = ": perhaps there was not enough memory, try fewer --jobs" if name == "SIGKILL" else ""
        return f"{name}{hint}"

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join(_PATIENCE_S)
        if self._line is not None:
            self._line.close()
        self._process = self._line = None


def serve(line: Connection[Any, Any], options: Mapping[str, Any], key: bytes) -> None:
    """The process: says None (ready) or why the options make no sense, then answers every job with its result."""
    for number in _SIGNALS:  # sent to the whole group; the parent decides what ends
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    warnings.simplefilter("ignore")
    at_hand: list[str] = []
    threading.Thread(target=_end_with_parent, args=(at_hand,), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the parent has gone
        _answer(line, options, key, at_hand)
    _remove(at_hand)


def _answer(line: Connection[Any, Any], options: Mapping[str, Any], key: bytes, at_hand: list[str]) -> None:
    from bbmr_client.batch.encoding import check_options, encode_file

    def make(data: bytes, job: Job, file: BinaryIO) -> Product:
        return encode_file(data, job.source, options, file)

    try:
        check_options(options)
    except BbmrError as error:
        line.send(str(error))
        return
    line.send(None)
    while True:
        job = line.recv()
        at_hand[:] = [job.temporary]
        line.send(carry_out(job, key, DEFAULT_LIMITS.max_photo_bytes, make))


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """A process that is started inside has these signals blocked until it is ready to ignore them, and what is sent to
    this one meanwhile is answered afterwards: a start that is broken off would leave a child that complains."""
    sent: list[tuple[int, FrameType | None]] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():  # the only one that handlers are called in
        for number in _SIGNALS:
            if callable(handler := signal.getsignal(number)):
                handlers[int(number)] = handler
                signal.signal(number, lambda *facts: sent.append(facts))
    try:
        with _blocked():
            yield
    finally:
        for held, handler in handlers.items():
            signal.signal(held, handler)
        for held, frame in sent[:1]:
            handlers[held](held, frame)


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its own start, which the first process brings about, lets them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent(at_hand: list[str]) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _remove(at_hand)
        os._exit(1)


def _remove(paths: list[str]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)
