"""Runs `bbmr-server` as a separate process on a free port of this machine, for the duration of a block.

with running_server() as url:
    ...
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from bbmr_client.http import Client
from bbmr_shared.errors import ServerUnreachableError, ServiceError

START_TIMEOUT_S = 180.0
"""Most of it is for loading torch from a cold disk."""

STOP_TIMEOUT_S = 10.0
_POLL_S = 0.1
_INHERITED_SETTINGS = {"BBMR_DEVICE"}


@contextmanager
def running_server(
    settings: Mapping[str, str] | None = None,
    *,
    start_timeout: float = START_TIMEOUT_S,
    command: tuple[str, ...] = (sys.executable, "-m", "bbmr_server.main"),
) -> Iterator[str]:
    """Start a server on 127.0.0.1, yield its URL once it is ready, and stop it after the block.

    settings: its BBMR_… environment variables. Of the caller's own, it inherits only BBMR_DEVICE.
    start_timeout: seconds until it must be ready.

    Raises:
        ServerUnreachableError: it ended or was not ready in time; the last lines that it wrote are in the message.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BBMR_") or name in _INHERITED_SETTINGS
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment, **(settings or {})},
        )
        try:
            _wait_until_ready(process, url, log, time.monotonic() + start_timeout)
            yield url
        finally:
            _stop(process)


def free_port() -> int:
    """Returns a TCP port of 127.0.0.1 that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: IO[bytes], deadline: float) -> None:
    with Client(url, timeout=5.0, retries=0) as client:
        while True:
            if process.poll() is not None:
                raise ServerUnreachableError(
                    f"the server ended with status {process.returncode} before it was ready: {_tail(log)}"
                )
            try:
                if client.ready():
                    return
            except ServiceError:
                pass  # not listening yet
            if time.monotonic() > deadline:
                raise ServerUnreachableError(f"the server was not ready in time; it last wrote: {_tail(log)}")
            time.sleep(_POLL_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: IO[bytes], lines: int = 3) -> str:
    """The last lines that the server wrote, as one line."""
    log.seek(0)
    text = log.read().decode(errors="replace").strip().splitlines()
    return " | ".join(line.strip() for line in text[-lines:]) or "nothing"
