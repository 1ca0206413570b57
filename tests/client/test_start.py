"""Starting: with no more than is needed, and without torch. (`benchmarks/speed/client.py` measures how soon.)"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("encode", "reconstruct", "decode", "preview", "info", "verify", "ratemap", "compare", "demo")
HEAVY = {"numpy", "PIL", "httpx", "anyio", "pydantic", "rich", "torch"}
"""Modules that take a tenth of a second or more. typer loads pydantic when it checks a value."""


def loaded_by(code: str) -> set[str]:
    """The modules that a new interpreter has after `code`."""
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    code += "\nimport sys; print('\\n', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=unmeasured, capture_output=True, text=True, check=True
    )
    return set(done.stdout.rpartition("\n ")[2].split())


def test_the_version_loads_no_parser() -> None:
    loaded = loaded_by("from bbmr_client.cli import main; main(['--version'])")
    assert "bbmr_client.cli" in loaded
    assert not {"typer", "click", *HEAVY} & loaded


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_nothing_that_it_does_not_need(run: Run, command: str) -> None:
    words = [command, "--help"] if command else ["--help"]
    assert all(name in run("--help").out for name in COMMANDS)
    loaded = loaded_by(f"from bbmr_client.cli import main; main({words})")
    assert "typer" in loaded
    assert not HEAVY & loaded


def test_help_loads_no_command() -> None:
    loaded = loaded_by("from bbmr_client.cli import main; main(['--help'])")
    assert (
        not {f"bbmr_client.commands.{name}" for name in ("encode", "reconstruct", "inspect", "compare")}
        & loaded
    )


def test_the_import_costs_nothing() -> None:
    loaded = loaded_by("import bbmr_client")
    assert "bbmr_client" in loaded
    assert not {"numpy", "PIL", "httpx", "typer", "torch"} & loaded


def test_the_whole_client_does_without_torch() -> None:
    root = ROOT / "client"
    modules = [
        ".".join(path.relative_to(root).with_suffix("").parts)
        for path in (root / "bbmr_client").rglob("*.py")
        if path.stem[0] != "_"
    ]
    loaded = loaded_by(f"import {', '.join(modules)}")
    assert set(modules) <= loaded
    assert {"torch", "bbmr_models", "bbmr_server"} & loaded == set()


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
