"""The repository itself: nothing of one machine in it, and the commands that the documents promise."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml

# Put together here so that this file does not find itself.
MACHINE = re.compile(
    "|".join(
        re.escape(start + rest)
        for start, rest in [
            ("/wo", "rk/"),
            ("/ro", "ot/"),
            ("/ho", "me/"),
            ("/Us", "ers/"),
            ("/opt/wh", "eels"),
            ("/opt/py", "pi"),
            ("C:", "\\"),
        ]
    )
)
REGISTRY = re.compile(
    "|".join(
        re.escape(start + rest)
        for start, rest in [
            ("pypi", ".org"),
            ("pythonhosted", ".org"),
            ("download.py", "torch.org"),
            ("docker", ".io"),
            ("docker", ".com"),
            ("ghcr", ".io"),
            ("gcr", ".io"),
            ("quay", ".io"),
            ("nvcr", ".io"),
            ("registry.np", "mjs.org"),
            ("mcr.micro", "soft.com"),
            ("--index", "-url"),
            ("--extra-index", "-url"),
        ]
    )
)
TARGETS = (
    "setup",
    "demo",
    "train",
    "test",
    "test-all",
    "docker-test",
    "lint",
    "format",
    "hooks",
    "fuzz",
    "lock",
    "clean",
)


def tracked(root: Path) -> list[Path]:
    """Every file that git holds (or, in an unpacked archive, every file outside hidden folders)."""
    command = ["git", "ls-files", "-z"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    if result.returncode == 0:
        return [root / name for name in result.stdout.split("\0") if name and (root / name).is_file()]
    files = (path for path in root.rglob("*") if path.is_file())
    return [path for path in files if not any(part.startswith(".") for part in path.relative_to(root).parts)]


def found_in_text(root: Path, pattern: re.Pattern[str]) -> list[str]:
    hits = []
    for path in tracked(root):
        data = path.read_bytes()
        if b"\0" in data[:8192]:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if pattern.search(line):
                hits.append(f"{path.relative_to(root)}:{number}: {line.strip()[:100]}")
    return hits


def test_no_file_names_a_folder_of_one_machine(root: Path) -> None:
    assert found_in_text(root, MACHINE) == []


def test_no_file_names_a_package_registry(root: Path) -> None:
    assert found_in_text(root, REGISTRY) == []


def test_nothing_that_is_made_is_tracked(root: Path) -> None:
    made = re.compile(r"(^|/)(\.venv|demo-output|runs|__pycache__|build|dist)/|\.(ckpt|pyc|tmp)$")
    names = [path.relative_to(root).as_posix() for path in tracked(root)]
    assert [name for name in names if made.search(name)] == []


def test_no_tracked_file_is_huge(root: Path) -> None:
    limit = 8 * 2**20
    assert [str(path) for path in tracked(root) if path.stat().st_size > limit] == []


@pytest.mark.parametrize("target", TARGETS)
def test_make_help_lists_the_target(root: Path, target: str) -> None:
    assert re.search(rf"^{target}\s+\S", make(root, "help"), re.MULTILINE)


def test_help_is_what_plain_make_prints(root: Path) -> None:
    assert make(root) == make(root, "help")


@pytest.mark.parametrize("target", ["test", "test-all"])
def test_the_tests_end_with_pytest(root: Path, target: str) -> None:
    """The last command decides what a CI reads as the closing line."""
    commands = make(root, "-n", target).strip().splitlines()
    assert " -m pytest " in commands[-1]


def test_a_developer_runs_all_but_the_slow_kinds(root: Path) -> None:
    options = make(root, "-n", "test").strip().splitlines()[-1]
    assert '-m "not cluster and not benchmark"' in options
    assert "--cov" not in options


def test_test_all_leaves_nothing_out(root: Path) -> None:
    options = make(root, "-n", "test-all").strip().splitlines()[-1].partition(" -m pytest ")[2]
    assert " -m " not in options
    assert "--cov" in options
    assert "--hypothesis-profile ci" in options


def test_ci_runs_every_test(root: Path) -> None:
    script = root / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert "set -euo pipefail" in text
    assert text.rstrip().endswith("make --no-print-directory test-all")


def test_hosted_ci_calls_the_same_script(root: Path) -> None:
    workflow = yaml.safe_load((root / ".github/workflows/ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]


def test_no_folder_has_more_python_files_than_can_be_surveyed(root: Path) -> None:
    counted = Counter(path.parent for path in tracked(root) if path.suffix == ".py")
    assert {str(folder): count for folder, count in counted.items() if count > 20} == {}


def test_no_text_installs_the_project_from_an_index(root: Path) -> None:
    """The name `bbmr` in a package index is not ours; from a checkout, or with the address of a file, it is."""
    by_name = re.compile(r"pip install (-\S+ (\S+ )?)*[\'\"]?bbmr\b(?!\S* @)")
    assert found_in_text(root, by_name) == []


def make(root: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--no-print-directory", *arguments]
    result = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return result.stdout
