"""How many files are worked on at a time. In: what is asked for. Out: a number."""

from __future__ import annotations

import os
from pathlib import Path

from bbmr_shared.errors import UsageError
from bbmr_shared.limits import MAX_JOBS


def check_jobs(jobs: int | None, default: int) -> int:
    """The number asked for, or `default`.

    Raises:
        UsageError: it is not 1 to 256.
    """
    if jobs is None:
        return default
    if not 1 <= jobs <= MAX_JOBS:
        raise UsageError(f"--jobs is 1 to {MAX_JOBS}, not {jobs}")
    return jobs


def usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The cores that this process may use: not more than its affinity, nor than a container's quota (cgroup v2)."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text().split()
        cores = min(cores, -(-int(allowed) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no such file
        pass
    return max(1, min(cores, MAX_JOBS))
