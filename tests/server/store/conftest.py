"""Fixtures of the tests of the store: servers with a store in a temporary folder."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .helpers import Gate


@pytest.fixture
def place(digest: str) -> str:
    """The address of `body`."""
    return f"/containers/{digest}"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def make_store(make_bench: Callable[..., Any], store: Path) -> Callable[..., Any]:
    """`make_store(**settings)`: a server's bench with its store in `store`."""
    return lambda **settings: make_bench(store=str(store), **settings)


@pytest.fixture
def serve(make_store: Callable[..., Any], connect: Any) -> Callable[..., Any]:
    """`async with serve(**settings) as client`: a client of a server with its store in `store`."""

    @contextlib.asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with connect(make_store(**settings)) as client:
            yield client

    return make


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()
