"""One file's work, the same for every command: read, see whether it is done, make, write.

In: a `Job`, and the function that makes the product. Out: a `Result`; it never raises, but for Ctrl-C and the like.
Runs in a worker process or thread. The target is not touched here: the run puts the result in its place.
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

from bbmr_client.batch.result import Facts, Failed, Job, Made, Result
from bbmr_client.files import FileAccessError, is_special, new_file, read_file, reason
from bbmr_client.text import printable
from bbmr_shared.errors import BadAnswerError, BbmrError, ServerRefusedError, ServerUnreachableError
from bbmr_shared.release import release

_NOT_OF_THE_FILE = (401, 403, 404, 405, 429, 502, 503)
"""Answers that the next file would have as well."""

_BITS = 256
_PIECE = 1 << 20


class ExistsError(BbmrError):
    """The output is there and is not what this run would write."""

    slug = "exists"


@dataclass(frozen=True)
class Product:
    """What was written: the picture's size, and warnings."""

    width: int
    height: int
    warnings: tuple[str, ...] = ()


Make = Callable[[bytes, Job, BinaryIO], Product]
"""From the source's bytes, writes the result to a file."""


def recipe_key(command: str, options: Mapping[str, Any]) -> bytes:
    """What stands for a command with its options and this release in the digest of a recipe."""
    told = {"command": command, "release": release(), "options": dict(options)}
    return json.dumps(told, sort_keys=True, default=str).encode()


def carry_out(job: Job, key: bytes, limit: int, make: Make) -> Result:
    """Do one job. key: from `recipe_key`; limit: bytes that a source may have."""
    try:
        return _carry_out(job, key, limit, make)
    except ServerRefusedError as error:
        return Failed(job.index, _line(error), hopeless=error.status_code in _NOT_OF_THE_FILE)
    except (ServerUnreachableError, BadAnswerError) as error:
        return Failed(job.index, _line(error), hopeless=True)
    except BbmrError as error:
        return Failed(job.index, _line(error))
    except MemoryError:
        return Failed(job.index, "not enough memory for a picture of this size")
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return Failed(job.index, f"cannot be written: {reason(error)}", hopeless=full)
    except Exception as error:
        text = printable(str(error), 500)
        return Failed(job.index, f"unexpected {type(error).__name__}: {text} (please report it)")


def _carry_out(job: Job, key: bytes, limit: int, make: Make) -> Result:
    there = os.path.lexists(job.target)
    if os.path.exists(job.target) and os.path.exists(job.source) and os.path.samefile(job.source, job.target):
        raise ExistsError("the result would replace the file itself: name another folder with -o")
    if there and job.known is None and not job.overwrite:
        raise ExistsError(f"{job.target} exists and was not written by such a run: --overwrite replaces it")
    if is_special(Path(job.source)):  # a pipe would be waited for, for ever
        raise FileAccessError(f"{job.source} is no regular file")
    data = read_file(job.source, limit=limit)
    recipe = hashlib.blake2b(data, digest_size=_BITS // 8, key=hashlib.blake2b(key).digest()).digest()
    if there:
        whole = job.known is not None and _digest(job.target) == job.known.digest
        if job.known is not None and whole and job.known.recipe == recipe:
            return Made(job.index, recipe, job.known.digest, job.known.facts, unchanged=True)
        if not job.overwrite:
            why = "is of another state of the file or of other options" if whole else "was changed or damaged"
            raise ExistsError(f"{job.target} exists and {why}: --overwrite replaces it")
    began = time.perf_counter()
    with new_file(job.temporary) as file:
        product = make(data, job, file)
        seconds = round(time.perf_counter() - began, 3)
        file.flush()
        os.fsync(file.fileno())  # before its row is: else a power cut could leave a name without content
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        digest = _digest_of(file)
    facts = Facts(product.width, product.height, len(data), size, seconds, product.warnings)
    return Made(job.index, recipe, digest, facts)


def _digest_of(file: BinaryIO) -> bytes:
    digest = hashlib.blake2b(digest_size=_BITS // 8)
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.digest()


def _digest(path: str) -> bytes | None:
    """Of a file as it is on the disk; None where it is no regular file."""
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            return _digest_of(file)
    except OSError as problem:
        raise FileAccessError(f"{path} cannot be read: {reason(problem)}") from problem


def _line(error: BbmrError) -> str:
    return printable(str(error), 1000)
