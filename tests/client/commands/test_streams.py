"""Standard streams that are closed or full, in a process of its own: one clear line, or nothing that could say it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def shell(words: str, photo: Path, packed: Path) -> subprocess.CompletedProcess[str]:
    """Run `bbmr-client` with the redirections of a shell; PHOTO, IN and OUT stand for files."""
    names = {"PHOTO": str(photo), "IN": str(packed), "OUT": str(packed.with_name("out.bbmr"))}
    command = f'"{sys.executable}" -m bbmr_client {words}'
    for word, name in names.items():
        command = command.replace(word, f'"{name}"')
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment,
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("info IN >&-", "standard output is closed"),
        ("info IN --json >&-", "standard output is closed"),
        ("preview IN -o - >&-", "standard output is closed"),
        ("--version >&-", "standard output is closed"),
        ("encode - -o OUT <&-", "standard input is closed"),
        ("info - <&-", "standard input is closed"),
        ("info IN > /dev/full", "standard output cannot be written: no space left on device"),
        ("verify IN --json > /dev/full", "standard output cannot be written: no space left on device"),
        ("preview IN -o - > /dev/full", "standard output cannot be written: no space left on device"),
        ("--help > /dev/full", "standard output cannot be written: no space left on device"),
    ],
)
def test_one_line(words: str, line: str, photo: Path, packed: Path) -> None:
    done = shell(words, photo, packed)
    assert done.stderr == f"bbmr-client: {line}\n"
    assert done.returncode == 1


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full"])
def test_work_is_done_though_nobody_can_be_told(redirection: str, photo: Path, packed: Path) -> None:
    done = shell(f"encode PHOTO -o OUT {redirection}", photo, packed)
    assert done.returncode == 0
    assert packed.with_name("out.bbmr").stat().st_size > 100


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full"])
def test_a_failure_keeps_its_status(redirection: str, photo: Path, packed: Path) -> None:
    done = shell(f"info PHOTO {redirection}", photo, packed)
    assert done.returncode == 1
    assert done.stdout == ""
