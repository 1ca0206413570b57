"""Putting a finished file in its place: in one step, inside the output folder, over nothing unless that is asked for.

In: a temporary file and its target. Out: the target.
"""

from __future__ import annotations

import errno
import os
import shutil

from bbmr_client.batch.file_task import ExistsError
from bbmr_client.files import FileAccessError


def put(temporary: str, target: str, folder: str, overwrite: bool) -> None:
    """Rename `temporary` to `target` in `folder`; folders on the way are made.

    Raises:
        ExistsError: something is there that was not a moment ago.
        FileAccessError: a link on the way leads out of the folder.
        OSError: as the system says it.
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
        near = os.path.join(parent, os.path.basename(temporary))  # a mount in the output folder
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
            os.rename(temporary, target)  # there it refuses to replace
            return
        try:
            os.link(temporary, target)
        except FileExistsError:
            raise
        except OSError as problem:
            if problem.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                raise
            # A file system without links: looking first is the most there is.
            if os.path.lexists(target):
                raise FileExistsError from None
            os.replace(temporary, target)
            return
        os.unlink(temporary)
    except FileExistsError:
        raise ExistsError(f"{target} exists since a moment ago: --overwrite replaces it") from None
