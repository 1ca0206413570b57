"""X-Forwarded-For is trusted only from proxies that a setting names. The command itself is run."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

# The whole command with an engine that does nothing.
SERVER = """
import sys, types

class Still:
    models, devices, catalogue, failure = ("light",), ("cpu",), {}, None
    started = ready = True
    def stop(self, timeout=0): pass
    def refuse_all(self): pass

loading = types.ModuleType("bbmr_server.loading")
loading.make_engine = lambda settings, *rest, **more: Still()
sys.modules["bbmr_server.loading"] = loading
from bbmr_server.main import main
sys.exit(main(["--port", "0"]))
"""


@contextmanager
def server(**variables: str) -> Iterator[tuple[str, list[str]]]:
    """Yields the address of a server, and the lines that it has printed so far."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BBMR_")}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stderr=subprocess.PIPE, text=True, env=kept | variables
    )
    assert process.stderr is not None
    lines: list[str] = []
    try:
        for line in process.stderr:
            lines.append(line)
            if "listening on " in line:
                break
        assert lines, "it did not start"
        reader = threading.Thread(target=lines.extend, args=(process.stderr,))
        reader.start()
        yield lines[-1].split()[-1], lines
    finally:
        process.terminate()
        process.wait(20)
    reader.join(10)


def ask(url: str, forwarded: str) -> int:
    return httpx.get(url + "/models", headers={"X-Forwarded-For": forwarded}, timeout=10).status_code


@pytest.mark.parametrize("trusted", ["10.0.0.0/8,127.0.0.0/8", "*"])
def test_a_named_proxy_is_trusted(trusted: str) -> None:
    with server(BBMR_FORWARDED_ALLOW_IPS=trusted, BBMR_RATE_LIMIT="1/hour") as (url, lines):
        assert [ask(url, "203.0.113.1") for _ in range(2)] == [200, 429]
        assert ask(url, "203.0.113.2") == 200
    assert any(" client=203.0.113.2 " in line for line in lines)


@pytest.mark.parametrize(
    "variables", [{"BBMR_FORWARDED_ALLOW_IPS": "10.0.0.0/8"}, {"FORWARDED_ALLOW_IPS": "*"}]
)
def test_nobody_else_is_trusted(variables: dict[str, str]) -> None:
    with server(BBMR_RATE_LIMIT="1/hour", **variables) as (url, lines):
        assert [ask(url, f"203.0.113.{last}") for last in (1, 2)] == [200, 429]
    assert not any("203.0.113." in line for line in lines)
    assert any(" client=127.0.0.1 " in line for line in lines)


def test_of_several_addresses_the_last_one_counts() -> None:
    with server(BBMR_FORWARDED_ALLOW_IPS="127.0.0.1", BBMR_RATE_LIMIT="1/hour") as (url, _):
        assert ask(url, "198.51.100.1, 203.0.113.1") == 200
        assert ask(url, "198.51.100.2, 203.0.113.1") == 429  # the client itself wrote the first one
