"""Finds the files that the names on the command line mean.

In: names, patterns and folders. Out: `InputFile` and `UnreadableFolder`, one by one and in no order (`plan` sorts
them).
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
"""Endings of the files that are taken from a folder as photos. One that cannot be read is a failure."""

CONTAINERS = frozenset({".bbmr"})

_MAGIC = frozenset("*?[")
_HIDDEN_ON_WINDOWS = 0x2  # FILE_ATTRIBUTE_HIDDEN

_Identity = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True)
class InputFile:
    """A file to be worked on.

    argument: index of the name on the command line. folder: where the output lies in the output folder ("": at its
    top).
    """

    argument: int
    source: str
    folder: str


@dataclass(frozen=True)
class UnreadableFolder:
    """A folder that cannot be listed, and the reason. Other fields as in `InputFile`."""

    argument: int
    source: str
    folder: str
    reason: str


@dataclass
class Skipped:
    """Numbers of entries of folders that were skipped: files with another ending, and links to folders."""

    files: int = 0
    links: int = 0


def expand(names: Sequence[str]) -> list[str]:
    """Returns the names with patterns expanded, for shells that do not expand them.

    A name that exists is never a pattern.

    Raises:
        UsageError: nothing matches a pattern, or a name is empty.
    """
    expanded: list[str] = []
    for name in names:
        if not name:
            raise UsageError("a file name is empty")
        if not _MAGIC & set(name) or os.path.lexists(name):
            expanded.append(name)
            continue
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            raise UsageError(f"nothing matches the pattern {name}")
        expanded += matches
    return expanded


def is_batch(names: Sequence[str], output: str | None) -> bool:
    """Returns whether these (expanded) names and this output mean a folder of results, not one file.

    Raises:
        UsageError: they contradict each other.
    """
    if STDIO in names:
        if len(names) > 1:
            raise UsageError("standard input (-) is an input of its own: name no other beside it")
        if output is not None and output != STDIO and _means_folder(output):
            raise UsageError(f"standard input has no name to write in {output}: name a file with -o")
        return False
    folders = [name for name in names if os.path.isdir(name)]
    several = len(names) > 1 or bool(folders)
    if several and output in (None, STDIO):
        what = f"{folders[0]} is a folder" if folders else f"there are {len(names)} inputs"
        raise UsageError(f"{what}: name the folder for the results with -o DIR")
    return several or (output is not None and output != STDIO and _means_folder(output))


def find(
    names: Sequence[str], endings: frozenset[str], output: str, skipped: Skipped
) -> Iterator[InputFile | UnreadableFolder]:
    """Yields every file that the (expanded) `names` mean.

    A name that is no folder is always taken. Of a folder, files with one of `endings` are taken at every depth, except
    hidden ones and those in the folder `output`. Links to files are followed, links to folders are not. The tree of one
    folder alone is mirrored; beside other names, a folder keeps its own name, as with `cp -r`.
    """
    for argument, name in enumerate(names):
        if os.path.isdir(name):
            top = "" if len(names) == 1 else os.path.basename(os.path.realpath(name))
            yield from _walk(argument, name, top, endings, output, skipped)
        else:
            yield InputFile(argument, name, "")


def _walk(
    argument: int, name: str, top: str, endings: frozenset[str], output: str, skipped: Skipped
) -> Iterator[InputFile | UnreadableFolder]:
    results = _identity(output)
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
                        # A junction or a mount can lead back to a parent folder; and outputs must not become inputs.
                        if identity is None or (identity not in above and identity != results):
                            waiting.append((entry.path, inner, (*above, identity)))
                    elif entry.is_symlink() and os.path.isdir(entry.path):
                        skipped.links += 1
                    elif os.path.splitext(entry.name)[1].lower() not in endings:
                        skipped.files += 1
                    elif entry.is_file() or entry.is_symlink():  # a dangling link becomes a failure
                        yield InputFile(argument, entry.path, place)
        except OSError as problem:
            yield UnreadableFolder(argument, folder, place, f"cannot be listed: {reason(problem)}")


def check_folder(output: str, ending: str) -> str:
    """Returns the output folder without a slash at its end, if it exists or can be made.

    ending: of the files that will be in it.

    Raises:
        UsageError: it does not exist and its name looks like such a file's.
        FileAccessError: it is a file, lies below a file, or cannot be written.
    """
    folder = output.rstrip("/" + os.sep) or output
    if not os.path.lexists(folder) and folder == output and output.lower().endswith(ending):
        raise UsageError(f"{output} would be a folder: if that is what you want, write {output}/")
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
    if entry.name.startswith("."):  # this includes the journal and temporary files
        return True
    if os.name != "nt":
        return False
    attributes = getattr(entry.stat(follow_symlinks=False), "st_file_attributes", 0)
    return bool(attributes & getattr(stat, "FILE_ATTRIBUTE_HIDDEN", _HIDDEN_ON_WINDOWS))


def _identity(path: str) -> _Identity | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
