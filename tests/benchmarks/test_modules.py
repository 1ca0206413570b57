"""Every benchmark module imports without running, and the documents name modules that exist."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path

import pytest

import benchmarks
import tests.load

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    module.name
    for package in (benchmarks, tests.load)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_and_has_a_docstring(name: str) -> None:
    assert importlib.import_module(name).__doc__


def test_commands_in_documents_and_docstrings_name_modules() -> None:
    texts = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("tests/load/*.py")]
    found = (re.findall(r"-m ((?:benchmarks|tests|bbmr_\w+)\.[\w.]*\w)", path.read_text()) for path in texts)
    named = {name for names in found for name in names}
    assert named
    assert [name for name in sorted(named) if importlib.util.find_spec(name) is None] == []
