"""Counts the CPUs that this process may use: its affinity and its control group's quota, not the machine's number."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

V1_CONTROLLERS = ("cpu", "cpu,cpuacct", "cpuacct,cpu")
"""Folders under which systems mount the CPU controller of cgroup v1."""


def available_cpus(root: Path = Path("/")) -> int:
    """Returns how many CPUs this process may use, at least 1.

    That is the smaller of its affinity and its CPU quota (cgroup v1 and v2, its own group and those above), where
    a quota of 1.5 CPUs counts as 2, as in the Go and Java runtimes. Unreadable files count as no quota.
    `root` is the folder that holds `proc` and `sys`.
    """
    quotas = [*_v2_quotas(root), *_v1_quotas(root)]
    return max(1, min([_affinity(), *quotas]))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _v2_quotas(root: Path) -> Iterator[int]:
    for group in _groups(root, ""):
        fields = _read(root / "sys/fs/cgroup" / group / "cpu.max").split()
        if len(fields) == 2:
            yield from _whole_cpus(*fields)


def _v1_quotas(root: Path) -> Iterator[int]:
    groups = _groups(root, "cpu")
    for mount in V1_CONTROLLERS:
        for group in groups:
            folder = root / "sys/fs/cgroup" / mount / group
            yield from _whole_cpus(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _groups(root: Path, controller: str) -> list[PurePosixPath]:
    """The control group of this process for `controller` ("" is cgroup v2) and all above it, relative to the mount.

    The mount's own folder is always among them: in a container it is the container's group, while
    `/proc/self/cgroup` may still name the group as the host sees it.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, named = line.partition(":")
        controllers, _, path = named.partition(":")
        if controller in controllers.split(","):
            group = PurePosixPath(path.lstrip("/"))
            if ".." not in group.parts:  # a group outside this cgroup namespace
                return [group, *group.parents]
    return [PurePosixPath()]


def _whole_cpus(quota: str, period: str) -> Iterator[int]:
    """The quota in CPUs, rounded up; nothing if there is none ("max" in v2, -1 in v1) or it cannot be read."""
    try:
        microseconds, every = int(quota), int(period)
    except ValueError:
        return
    if microseconds > 0 and every > 0:
        yield -(-microseconds // every)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
