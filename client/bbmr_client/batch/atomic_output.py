"""Renames a finished file to its target, in one step and only inside the output folder."""

from __future__ import annotations

import errno
import os
import shutil

from bbmr_client.batch.file_task import ExistsError
from bbmr_client.files import FileAccessError


def move_into_place(temporary: str, target: str, folder: str, overwrite: bool) -> None:
    """Rename `temporary` to `target`, which lies in `folder`. Missing folders are made.

    Raises:
        ExistsError: `target` appeared since the task looked, and `overwrite` is not set.
        FileAccessError: a link in the path leads out of `folder`.
        OSError: the system refuses.
    """
    parent = os.path.dirname(target)
    top = os.path.realpath(folder)
    if os.path.commonpath([top, os.path.realpath(parent)]) != top:
        raise FileAccessError(f"{target} would be written outside of {folder}: a link on the way leads there")
    os.makedirs(parent, exist_ok=True)
    try:
        _rename(temporary, target, overwrite)
    except OSError as problem:
        if problem.errno != errno.EXDEV:
            raise
        near = os.path.join(parent, os.path.basename(temporary))  # `parent` is another file system
        try:
            shutil.copyfile(temporary, near)
            _rename(near, target, overwrite)
        except BaseException:
            os.unlink(near)
            raise
        os.unlink(temporary)


def _rename(temporary: str, target: str, overwrite: bool) -> None:
    if overwrite:
        os.replace(temporary, target)
        return
    try:
        if os.name == "nt":
            os.rename(temporary, target)  # never replaces on Windows
            return
        try:
            os.link(temporary, target)
        except FileExistsError:
            raise
        except OSError as problem:
            if problem.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                raise
            # A file system without hard links: only a look beforehand is possible.
            if os.path.lexists(target):
                raise FileExistsError from None
            os.replace(temporary, target)
            return
        os.unlink(temporary)
    except FileExistsError:
        raise ExistsError(f"{target} exists since a moment ago: --overwrite replaces it") from None
