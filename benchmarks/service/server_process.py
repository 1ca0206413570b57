"""A server to measure: `bbmr-server` as a process of its own, on a free port of this machine.

with run_server({"BBMR_QUEUE_LENGTH": "4"}) as server:
    server.url, server.pid, server.metrics()
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

START_S = 180.0
STOP_S = 30.0
_LISTENING = re.compile(r"listening on (http://\S+)")


@dataclass
class ServerProcess:
    """A running server; `log` is the file with its output."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def host_and_port(self) -> tuple[str, int]:
        """The address for a socket."""
        url = httpx.URL(self.url)
        return url.host, url.port or 80

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30, trust_env=False)

    def ready(self) -> bool:
        """Return whether /readyz answers 200."""
        return self.get("/readyz").status_code == 200

    def metrics(self) -> dict[str, float]:
        """Return the values of /metrics: name with labels → value."""
        lines = [line for line in self.get("/metrics").text.splitlines() if line and line[0] != "#"]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def wait_until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until `condition()` is true. Raises RuntimeError after `seconds`, or if the server has ended."""
        end = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(
                    f"the server did not get there; its output: {self.log.read_text()[-2000:]}"
                )
            time.sleep(0.05)


@contextmanager
def run_server(settings: Mapping[str, str] | None = None, device: str = "cpu") -> Iterator[ServerProcess]:
    """Start a server with only these BBMR_… variables, wait until it is ready, and end it after the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BBMR_")}
    environment |= {"BBMR_DEVICE": device, **(settings or {})}
    with tempfile.TemporaryDirectory(prefix="bbmr-served-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "bbmr_server.main", "--port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment,
            )
        server = ServerProcess(process, log)
        try:
            server.wait_until(lambda: _LISTENING.search(log.read_text()), START_S)
            match = _LISTENING.search(log.read_text())
            assert match is not None
            server.url = match[1]
            server.wait_until(server.ready, START_S)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
