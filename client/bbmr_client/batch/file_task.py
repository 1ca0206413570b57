"""Does the work for one file, in the same way for every command: reads it, makes the result, and writes it.

It runs in a worker process or thread and writes to the task's temporary file; the run renames that to its target.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bbmr_client.batch.result import FileStats, FileTask, JournalEntry, TaskDone, TaskFailed, TaskResult
from bbmr_client.files import FileAccessError, is_special, new_file, read_file, reason
from bbmr_client.text import printable
from bbmr_shared.errors import BadAnswerError, BbmrError, ServerRefusedError, ServerUnreachableError
from bbmr_shared.release import release

_AFFECTS_ALL = (401, 403, 404, 405, 429, 502, 503)
"""Statuses that a server would answer for the next file as well."""

_DIGEST_BYTES = 32
_PIECE = 1 << 20


class ExistsError(BbmrError):
    """The output exists already and is not what this run would write."""

    slug = "exists"


@dataclass(frozen=True)
class OutputInfo:
    """What was written: the size of the picture, and warnings."""

    width: int
    height: int
    warnings: tuple[str, ...] = ()


Make = Callable[[bytes, FileTask, BinaryIO], OutputInfo]
"""Makes the result from the source's bytes and writes it to a file."""


def recipe_key(command: str, options: Mapping[str, Any]) -> bytes:
    """Returns the part of a recipe that is the same for every file: the command, its options, this release."""
    values = {"command": command, "release": release(), "options": dict(options)}
    return json.dumps(values, sort_keys=True, default=str).encode()


def carry_out(task: FileTask, key: bytes, limit: int, make: Make) -> TaskResult:
    """Do one task. Errors become a `TaskFailed`; only signals such as Ctrl-C are raised.

    key: from `recipe_key`; limit: bytes that a source may have.
    """
    try:
        return _carry_out(task, key, limit, make)
    except ServerRefusedError as error:
        return TaskFailed(task.index, _line(error), affects_all=error.status_code in _AFFECTS_ALL)
    except (ServerUnreachableError, BadAnswerError) as error:
        return TaskFailed(task.index, _line(error), affects_all=True)
    except BbmrError as error:
        return TaskFailed(task.index, _line(error))
    except MemoryError:
        return TaskFailed(task.index, "not enough memory for a picture of this size")
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return TaskFailed(task.index, f"cannot be written: {reason(error)}", affects_all=is_full)
    except Exception as error:
        text = printable(str(error), 500)
        return TaskFailed(task.index, f"unexpected {type(error).__name__}: {text} (please report it)")


def _carry_out(task: FileTask, key: bytes, limit: int, make: Make) -> TaskResult:
    _check_paths(task)
    data = read_file(task.source, limit=limit)
    recipe = hashlib.blake2b(data, digest_size=_DIGEST_BYTES, key=hashlib.blake2b(key).digest()).digest()
    known = _still_right(task, recipe)
    if known is not None:
        return TaskDone(task.index, recipe, known.digest, known.stats, unchanged=True)
    began = time.perf_counter()
    with new_file(task.temporary) as file:
        info = make(data, task, file)
        seconds = round(time.perf_counter() - began, 3)
        file.flush()
        os.fsync(file.fileno())  # before the journal entry: a power cut must not leave a name without content
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        digest = _digest_of(file)
    stats = FileStats(info.width, info.height, len(data), size, seconds, info.warnings)
    return TaskDone(task.index, recipe, digest, stats)


def _check_paths(task: FileTask) -> None:
    """Raises `BbmrError` if the source must not be read or the target must not be written."""
    both = os.path.exists(task.target) and os.path.exists(task.source)
    if both and os.path.samefile(task.source, task.target):
        raise ExistsError("the result would replace the file itself: name another folder with -o")
    if os.path.lexists(task.target) and task.known is None and not task.overwrite:
        raise ExistsError(f"{task.target} exists and was not written by such a run: --overwrite replaces it")
    if is_special(Path(task.source)):  # reading a pipe could wait for ever
        raise FileAccessError(f"{task.source} is no regular file")


def _still_right(task: FileTask, recipe: bytes) -> JournalEntry | None:
    """Returns the journal's entry of a target that this recipe made and that is intact; None if it has to be made.

    Raises:
        ExistsError: another file is in its place, and `overwrite` is not set.
    """
    if not os.path.lexists(task.target):
        return None
    is_intact = task.known is not None and _digest(task.target) == task.known.digest
    if task.known is not None and is_intact and task.known.recipe == recipe:
        return task.known
    if not task.overwrite:
        why = "is of another state of the file or of other options" if is_intact else "was changed or damaged"
        raise ExistsError(f"{task.target} exists and {why}: --overwrite replaces it")
    return None


def _digest_of(file: BinaryIO) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.digest()


def _digest(path: str) -> bytes | None:
    """Returns the digest of the file `path`, or None if it is no regular file."""
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            return _digest_of(file)
    except OSError as problem:
        raise FileAccessError(f"{path} cannot be read: {reason(problem)}") from problem


def _line(error: BbmrError) -> str:
    return printable(str(error), 1000)
