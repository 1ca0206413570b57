"""`python -m bbmr_server.healthcheck`: the exit status for Docker or systemd."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bbmr_server import healthcheck


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server on loopback that answers `/readyz` with `status`, and everything else with 404; yields its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def run(**variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BBMR_")}
    command = [sys.executable, "-m", "bbmr_server.healthcheck"]
    return subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_ready_server_is_healthy() -> None:
    with answering(200) as port:
        result = run(BBMR_HOST="0.0.0.0", BBMR_PORT=str(port))
    assert (result.returncode, result.stderr) == (0, "")


def test_a_server_that_loads_or_stops_is_not_healthy() -> None:
    with answering(503) as port:
        result = run(BBMR_PORT=str(port))
    assert result.returncode == 1
    assert "status 503" in result.stderr


def test_without_a_server_it_fails_with_one_line() -> None:
    with answering(200) as port:
        pass  # a port that was free a moment ago
    result = run(BBMR_PORT=str(port))
    assert result.returncode == 1
    assert "no answer from 127.0.0.1" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_proxy_in_the_environment_is_not_used() -> None:
    with answering(200) as port:
        result = run(BBMR_PORT=str(port), http_proxy="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9")
    assert result.returncode == 0


def test_a_port_that_is_no_number_is_named_in_one_line() -> None:
    result = run(BBMR_PORT="http")
    assert result.returncode == 1
    assert "BBMR_PORT" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("host", "asked"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.7", "10.0.0.7"), ("localhost", "localhost")],
)
def test_a_wildcard_address_is_asked_on_loopback(host: str, asked: str) -> None:
    assert healthcheck.address({"BBMR_HOST": host}) == (asked, 8000)


def test_it_imports_only_the_standard_library() -> None:
    code = (
        "import sys; from bbmr_server import healthcheck; "
        "print(sorted({'torch', 'fastapi', 'numpy', 'pydantic', 'uvicorn'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.strip() == "[]"
