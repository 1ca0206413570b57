"""Sets the markers of every test, and the number of random examples.

A test is marked by its folder, by its fixtures, or by what its code calls; where that cannot tell, in its own file.
Only tests that start processes are run once more when they fail (`--reruns`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from tests import hypothesis_profiles

TESTS = Path(__file__).parent

BY_PATH = {
    "benchmarks/": ("benchmark", "process"),
    "cluster/": ("cluster", "process"),
    "docker/": ("process",),
    "e2e/": ("process",),
    "e2e/test_overload.py": ("benchmark",),
    "e2e/test_soak.py": ("benchmark",),
    "server/engine/test_loading.py": ("process",),
}
BY_FIXTURE = {"browser": ("browser",)}
STARTERS = {"fork", "kill", "make_engine", "multiprocessing", "Popen", "running_server", "subprocess"}
"""Names in the code of a test, of its fixtures or of their helpers that mean: it starts a process."""

hypothesis_profiles.register()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts jobs in the background, and the processes of a test would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Tests share the cores, so a thread of torch that waits must not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects by the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    seen: dict[FunctionType, bool] = {}
    for item in (item for item in items if TESTS in item.path.parents):
        for name in _marks(item, seen):
            item.add_marker(name)
        if item.get_closest_marker("process") is None:
            item.add_marker(pytest.mark.flaky(reruns=0))


def _marks(item: pytest.Item, seen: dict[FunctionType, bool]) -> Iterator[str]:
    path = item.path.relative_to(TESTS).as_posix()
    for start, names in BY_PATH.items():
        if path.startswith(start):
            yield from names
    for fixture, names in BY_FIXTURE.items():
        if fixture in getattr(item, "fixturenames", ()):
            yield from names
    if any(_starts_process(function, seen) for function in _functions(item)):
        yield "process"


def _functions(item: pytest.Item) -> Iterator[Callable[..., Any]]:
    """The test and its fixtures."""
    if isinstance(item, pytest.Function):
        yield item.function
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            yield from (definition.func for definition in definitions)


def _starts_process(function: Callable[..., Any], seen: dict[FunctionType, bool]) -> bool:
    """Whether the code of `function`, or of helpers in `tests` that it names, names one of `STARTERS`."""
    while hasattr(function, "__wrapped__"):  # a context manager, or a test of hypothesis
        function = function.__wrapped__
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType) or not function.__module__.startswith("tests"):
        return False
    if function not in seen:
        seen[function] = False  # a helper may call itself
        names = set(_names(function.__code__))
        helpers = [function.__globals__[name] for name in names if name in function.__globals__]
        seen[function] = not names.isdisjoint(STARTERS) or any(
            _starts_process(helper, seen) for helper in helpers if callable(helper)
        )
    return seen[function]


def _names(code: CodeType) -> Iterator[str]:
    """The global names and attributes in `code` and in the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
