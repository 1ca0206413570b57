"""Fixtures of the end-to-end tests: real servers in their own processes, a browser, visits of the page."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_client.server_process import running_server
from bbmr_shared.container import Container

from .browser import Visit, chromium, visit

ROOT = Path(__file__).resolve().parents[2]
MAX_BODY_BYTES = 300_000
"""Small enough to exceed in a test, large enough for the containers of the tests."""


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with running_server({"BBMR_DEVICE": "cpu", "BBMR_MAX_BODY_BYTES": str(MAX_BODY_BYTES)}) as url:
        yield url


@pytest.fixture(scope="session")
def detail() -> np.ndarray:
    """A part of the sample photo with sky, rock and snow: uint8 [300, 420, 3]."""
    with Image.open(ROOT / "samples/lake-sherburne.jpg") as photo:
        return np.asarray(photo.crop((440, 180, 860, 480)))


@pytest.fixture(scope="session")
def container(detail: np.ndarray) -> Container:
    return encode(detail, rate=4)


@pytest.fixture
def client() -> Callable[..., tuple[int, str, str]]:
    """Runs `bbmr-client` as a process; returns (exit status, standard output, standard error)."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BBMR_")}

    def call(*arguments: object) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "bbmr_client", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    with running_server({"BBMR_DEVICE": "cpu"}) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def here(browser: Any, url: str) -> Iterator[Visit]:
    """A visit at the size of a desktop. Checks afterwards: no error in the console, no request to another host."""
    yield from visit(browser, url)


@pytest.fixture
def phone(browser: Any, url: str) -> Iterator[Visit]:
    """A visit at the size of a small phone, with touch."""
    yield from visit(browser, url, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)


@pytest.fixture(scope="module")
def photo(detail: np.ndarray) -> bytes:
    """420×300 pixels of sky, rock and snow as PNG."""
    out = io.BytesIO()
    Image.fromarray(detail).save(out, "PNG")
    return out.getvalue()
