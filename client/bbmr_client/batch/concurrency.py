"""How many files are worked on at a time."""

from __future__ import annotations

import os
from pathlib import Path

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


def usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Returns the number of cores that affinity and a container's quota (cgroup v2) allow."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text().split()
        cores = min(cores, -(-int(allowed) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no such file
        pass
    return max(1, min(cores, MAX_JOBS))
