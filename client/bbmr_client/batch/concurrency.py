"""Decides how many files a run works on at a time."""

from __future__ import annotations

from bbmr_shared.errors import UsageError
from bbmr_shared.limits import MAX_JOBS


def check_jobs(jobs: int | None, default: int) -> int:
    """Returns `jobs`, or `default` (at most `MAX_JOBS`) if it is None.

    Raises:
        UsageError: `jobs` is not 1 to `MAX_JOBS`.
    """
    if jobs is None:
        return min(default, MAX_JOBS)
    if not 1 <= jobs <= MAX_JOBS:
        raise UsageError(f"--jobs is 1 to {MAX_JOBS}, not {jobs}")
    return jobs
