"""What is to be done: names from the command line become files.

In: names, patterns and folders. Out: `Found` and `Unlisted`, lazily and in no order (`plan` sorts them).
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bbmr_client.files import STDIO, FileAccessError, reason
from bbmr_shared.errors import UsageError

PICTURES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".avifs", ".tif", ".tiff"}
    | {".bmp", ".dib", ".gif", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm"}
    | {".tga", ".qoi", ".pcx", ".heic", ".heif", ".hif", ".jxl"}
)
"""Endings of the files that are taken from a folder as photos; those that cannot be read are told as failures."""

CONTAINERS = frozenset({".bbmr"})

_MAGIC = frozenset("*?[")
_HIDDEN_ON_WINDOWS = 0x2  # FILE_ATTRIBUTE_HIDDEN

_Identity = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True)
class Found:
    """A file to be worked on. folder: where its output lies in the output folder, "" being the folder itself."""

    given: int
    source: str
    folder: str


@dataclass(frozen=True)
class Unlisted:
    """A folder that could not be looked into, and why."""

    given: int
    source: str
    folder: str
    reason: str


@dataclass
class Passed:
    """What was passed over, for a line to the person who may miss it."""

    files: int = 0
    links: int = 0


def expand(names: Sequence[str]) -> list[str]:
    """The names with their patterns expanded, as not every shell does it; a file of that very name comes first.

    Raises:
        UsageError: a pattern fits nothing, or a name is empty.
    """
    expanded: list[str] = []
    for name in names:
        if not name:
            raise UsageError("a file name is empty")
        if not _MAGIC & set(name) or os.path.lexists(name):
            expanded.append(name)
            continue
        fitting = sorted(glob.glob(name, recursive=True))
        if not fitting:
            raise UsageError(f"nothing fits the pattern {name}")
        expanded += fitting
    return expanded


def is_batch(names: Sequence[str], output: str | None) -> bool:
    """Whether these (expanded) names and this output ask for a folder of results and not for one file.

    Raises:
        UsageError: they ask for neither.
    """
    if STDIO in names:
        if len(names) > 1:
            raise UsageError("standard input (-) is an input of its own: name no others beside it")
        if output is not None and output != STDIO and _means_folder(output):
            raise UsageError(f"standard input has no name to write in {output}: name a file with -o")
        return False
    folders = [name for name in names if os.path.isdir(name)]
    several = len(names) > 1 or bool(folders)
    if several and output in (None, STDIO):
        what = f"{folders[0]} is a folder" if folders else f"{len(names)} inputs were given"
        raise UsageError(f"{what}: name the folder for the results with -o DIR")
    return several or (output is not None and output != STDIO and _means_folder(output))


def find(
    names: Sequence[str], endings: frozenset[str], output: str, passed: Passed
) -> Iterator[Found | Unlisted]:
    """Every file that the (expanded) `names` mean.

    A name that is no folder is always taken. Of a folder: the files with one of `endings`, however deep, but for
    hidden ones and for what lies in the folder `output`; links to files are followed, links to folders are not. One
    folder alone has its tree mirrored; where there are more names, each folder keeps its name, as `cp -r` does it.
    """
    for given, name in enumerate(names):
        if os.path.isdir(name):
            top = "" if len(names) == 1 else os.path.basename(os.path.realpath(name))
            yield from _walk(given, name, top, endings, output, passed)
        else:
            yield Found(given, name, "")


def _walk(
    given: int, name: str, top: str, endings: frozenset[str], output: str, passed: Passed
) -> Iterator[Found | Unlisted]:
    beyond = _identity(output)
    waiting: list[tuple[str, str, tuple[_Identity | None, ...]]] = [(name, top, (_identity(name),))]
    while waiting:
        folder, place, above = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if _hidden(entry):
                        continue
                    inner = os.path.join(place, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        identity = _identity(entry.path)
                        # A junction or a mount can lead back up, and results are no inputs.
                        if identity is None or (identity not in above and identity != beyond):
                            waiting.append((entry.path, inner, (*above, identity)))
                    elif entry.is_symlink() and os.path.isdir(entry.path):
                        passed.links += 1
                    elif os.path.splitext(entry.name)[1].lower() not in endings:
                        passed.files += 1
                    elif entry.is_file() or entry.is_symlink():  # a link to nothing is a failure to be told
                        yield Found(given, entry.path, place)
        except OSError as problem:
            yield Unlisted(given, folder, place, f"cannot be listed: {reason(problem)}")


def check_folder(output: str, ending: str) -> str:
    """The output folder without a slash at its end, once it is or can become one. ending: of the files in it.

    Raises:
        UsageError: it is not there and called like a file.
        FileAccessError: it is a file, or lies under one, or may not be written.
    """
    folder = output.rstrip("/" + os.sep) or output
    if not os.path.lexists(folder) and folder == output and output.lower().endswith(ending):
        raise UsageError(f"{output} would be a folder: if that is meant, write {output}/")
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise FileAccessError(f"{output} is no folder: name one with -o DIR")
    above = os.path.abspath(folder)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above):
        raise FileAccessError(f"{output} cannot be made: {above} is no folder")
    if not os.access(above, os.W_OK):
        raise FileAccessError(f"{output} cannot be written: permission denied")
    return folder


def _means_folder(output: str) -> bool:
    return output.endswith(("/", os.sep)) or os.path.isdir(output)


def _hidden(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("."):  # our journal and temporary files, too
        return True
    if os.name != "nt":
        return False
    attributes = getattr(entry.stat(follow_symlinks=False), "st_file_attributes", 0)
    return bool(attributes & getattr(stat, "FILE_ATTRIBUTE_HIDDEN", _HIDDEN_ON_WINDOWS))


def _identity(path: str) -> _Identity | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
