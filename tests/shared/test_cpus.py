"""How many CPUs a process may use, read from faked control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bbmr_shared.cpus import available_cpus


@pytest.fixture(autouse=True)
def sixteen_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)


def machine(root: Path, groups: str, **files: str) -> Path:
    """A root folder whose process is in `groups`; `files` are paths below /sys/fs/cgroup and their text."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def v1(quota: int, period: int = 100_000, folder: str = "cpu") -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


def test_without_control_groups_affinity_counts_and_not_the_machine(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == 16


def test_without_affinity_the_machine_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert available_cpus(tmp_path) == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cpus(tmp_path) == 1


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("1000 100000", 1),
        ("6400000 100000", 16),
        ("max 100000", 16),
        ("", 16),
        ("0 100000", 16),
        ("100000 0", 16),
        ("a b", 16),
    ],
)
def test_v2_quota(tmp_path: Path, text: str, cpus: int) -> None:
    assert available_cpus(machine(tmp_path, "0::/\n", **{"cpu.max": text})) == cpus


def test_v2_quota_of_the_group_and_of_those_above(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/system.slice/bbmr.service\n",
        **{"system.slice/cpu.max": "300000 100000", "system.slice/bbmr.service/cpu.max": "max 100000"},
    )
    assert available_cpus(root) == 3


def test_v2_group_as_the_host_names_it(tmp_path: Path) -> None:
    """In a container, the quota lies at the mount, while the path is the one on the host."""
    assert available_cpus(machine(tmp_path, "0::/docker/0123abcd\n", **{"cpu.max": "400000 100000"})) == 4


def test_v2_group_outside_the_namespace(tmp_path: Path) -> None:
    root = machine(
        tmp_path, "0::/../other\n", **{"cpu.max": "400000 100000", "../other/cpu.max": "100000 100000"}
    )
    assert available_cpus(root) == 4


@pytest.mark.parametrize(("quota", "cpus"), [(250_000, 3), (100_000, 1), (-1, 16)])
@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_v1_quota(tmp_path: Path, quota: int, cpus: int, mount: str) -> None:
    root = machine(tmp_path, f"3:{mount}:/\n2:memory:/\n", **v1(quota, folder=mount))
    assert available_cpus(root) == cpus


def test_v1_group_beside_an_empty_v2(tmp_path: Path) -> None:
    """The hybrid hierarchy of systemd."""
    root = machine(
        tmp_path, "4:cpu,cpuacct:/docker/ab\n0::/docker/ab\n", **v1(-1), **v1(500_000, folder="cpu/docker/ab")
    )
    assert available_cpus(root) == 5


def test_unreadable_files_are_no_quota(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\nno colon here\n")
    (root / "sys/fs/cgroup/cpu.max").mkdir(parents=True)
    (root / "proc/self/cgroup").write_bytes(b"\xff\xfe")
    assert available_cpus(root) == 16


def test_this_machine() -> None:
    assert 1 <= available_cpus() <= 16
