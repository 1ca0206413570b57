"""Worker processes for encoding. Each is started anew (spawn), reused for many tasks, and replaced if it dies.

A process that dies (killed for its memory, or by a crash of a codec) fails the one file that it had. A process ends
when its parent has ended for any reason, and removes its temporary file.
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

from bbmr_client.batch.file_task import OutputInfo, carry_out
from bbmr_client.batch.result import FileTask, TaskFailed, TaskResult
from bbmr_client.files import reason
from bbmr_shared.errors import BbmrError, UsageError
from bbmr_shared.limits import DEFAULT_LIMITS

_PATIENCE_S = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class WorkerError(BbmrError):
    """A worker process cannot be started."""

    slug = "worker"


class EncodeProcess:
    """A `Worker` that encodes in a process of its own.

    options: keyword arguments of `bbmr_client.encode`; key: from `recipe_key`.
    """

    def __init__(self, options: Mapping[str, Any], key: bytes) -> None:
        self._options, self._key = dict(options), key
        self._lock = threading.Lock()
        self._stopped = False
        self._process: SpawnProcess | None = None
        self._pipe: Connection[Any, Any] | None = None

    def start(self) -> None:
        """Start the process, so that it is ready for its first task.

        Raises:
            UsageError: the options are out of range or contradict each other.
            WorkerError: the process cannot be started.
        """
        try:
            answer = self._begin()
        except (EOFError, OSError) as error:
            why = self._death() or reason(error)
            raise WorkerError(f"a worker process could not be started ({why})") from error
        if answer is not None:
            raise UsageError(answer)

    def _begin(self) -> str | None:
        """Start the process. Returns what is wrong with the options, or None."""
        context = multiprocessing.get_context("spawn")
        with self._lock:
            if self._stopped:
                return None
            ours, theirs = context.Pipe()
            self._pipe = ours
            self._process = context.Process(
                target=serve, args=(theirs, self._options, self._key), daemon=True
            )
            with _signals_held():
                self._process.start()
            theirs.close()
        answer: str | None = self._receive()
        return answer

    def __call__(self, task: FileTask) -> TaskResult:
        try:
            if self._process is None or not self._process.is_alive():
                self._end()
                self.start()
            assert self._pipe is not None
            self._pipe.send(task)
            return self._receive()  # type: ignore[no-any-return]
        except BbmrError as error:
            return TaskFailed(task.index, str(error), affects_all=True)
        except (EOFError, OSError) as error:
            why = self._death() or str(error)
            self._end()
            return TaskFailed(task.index, f"{task.source}: its worker process ended ({why})")

    def stop(self) -> None:
        """Kill the process. The parent removes its temporary file."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process is not None and process.is_alive():
            process.kill()
            process.join(_PATIENCE_S)

    def _receive(self) -> Any:
        assert self._pipe is not None
        return self._pipe.recv()

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
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def serve(pipe: Connection[Any, Any], options: Mapping[str, Any], key: bytes) -> None:
    """The worker process: sends None (ready) or what is wrong with the options, then a result for every task."""
    for number in _SIGNALS:  # a terminal sends them to the whole group; the parent decides
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    warnings.simplefilter("ignore")
    temporaries: list[str] = []
    threading.Thread(target=_end_with_parent, args=(temporaries,), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the parent has ended
        _answer(pipe, options, key, temporaries)
    _remove(temporaries)


def _answer(
    pipe: Connection[Any, Any], options: Mapping[str, Any], key: bytes, temporaries: list[str]
) -> None:
    from bbmr_client.batch.encoding import check_options, encode_file

    def make(data: bytes, task: FileTask, file: BinaryIO) -> OutputInfo:
        return encode_file(data, task.source, options, file)

    try:
        check_options(options)
    except BbmrError as error:
        pipe.send(str(error))
        return
    pipe.send(None)
    while True:
        task = pipe.recv()
        temporaries[:] = [task.temporary]
        pipe.send(carry_out(task, key, DEFAULT_LIMITS.max_photo_bytes, make))


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Hold SIGINT and SIGTERM while a process is started inside.

    The child has them blocked until it ignores them. A signal to this process is handled afterwards: a start that is
    cut off would leave a child that prints a traceback.
    """
    sent: list[tuple[int, FrameType | None]] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():  # only there handlers are called
        for number in _SIGNALS:
            if callable(handler := signal.getsignal(number)):
                handlers[int(number)] = handler
                signal.signal(number, lambda *received: sent.append(received))
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

    resource_tracker.ensure_running()  # the first process starts it, and its start unblocks the signals again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent(temporaries: list[str]) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _remove(temporaries)
        os._exit(1)


def _remove(paths: list[str]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)
