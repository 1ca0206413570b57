"""Starting: quick, and without torch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("encode", "reconstruct", "decode", "preview", "info", "verify", "ratemap", "compare", "demo")


def python(*arguments: str) -> tuple[float, str]:
    """(seconds of the quickest of three runs, what it wrote)."""
    times = []
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *arguments], env=unmeasured, capture_output=True, text=True, check=True
        )
        times.append(time.perf_counter() - started)
    return min(times), done.stdout


def test_help_comes_at_once() -> None:
    """0.17 s where it was written; the limit leaves room for a busy machine."""
    seconds, text = python("-m", "bbmr_client", "--help")
    assert seconds < 0.7
    assert all(command in text for command in COMMANDS)


def test_the_import_costs_nothing() -> None:
    seconds, loaded = python("-c", "import sys, bbmr_client; print(*sys.modules)")
    assert seconds < 0.5
    assert not {"numpy", "PIL", "httpx", "typer", "torch"} & set(loaded.split())


def test_the_whole_client_does_without_torch() -> None:
    modules = [
        f"bbmr_client.{path.stem}"
        for path in (ROOT / "client/bbmr_client").glob("*.py")
        if path.stem[0] != "_"
    ]
    _, loaded = python("-c", f"import sys, {', '.join(modules)}; print(*sys.modules)")
    assert {"torch", "bbmr_models", "bbmr_server"} & set(loaded.split()) == set()


def test_version(run: Run) -> None:
    outcome = run("--version")
    assert outcome.code == 0
    assert re.fullmatch(r"bbmr-client \d+\.\d+\.\d+\S*\n", outcome.out)


def test_without_arguments_the_help_is_shown(run: Run) -> None:
    outcome = run()
    assert outcome.code == 0
    assert outcome.out == run("--help").out
    assert outcome.out.count("\n") > 15


def test_a_command_that_is_none(run: Run) -> None:
    outcome = run("encoed")
    assert outcome.code == 2
    assert "encoed" in outcome.err
    assert "\n" not in outcome.err
