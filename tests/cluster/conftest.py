"""One Ray cluster for each file of tests, in its own processes, started as an operator does it: `serve run FILE`.

It serves the real application with two engines at /, and the application of `sleepy` at /sleepy. The process of the
tests never joins the cluster.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_shared.container import Container

ROOT = Path(__file__).resolve().parents[2]
QUEUE = 3
"""`queue_length` of the sleepy application."""
DEADLINE_S = 5.0
"""Deadline of the sleepy application."""


@dataclass(frozen=True)
class Cluster:
    """url: of the real application; folder: where the sleepy engine writes its traces; pid: of `serve run`."""

    url: str
    folder: Path
    pid: int

    @property
    def sleepy(self) -> str:
        return self.url + "/sleepy"

    def processes(self, title: str) -> list[int]:
        """Returns the cluster's processes whose command line begins with `title`."""
        return [pid for pid in descendants(self.pid) if command(pid).startswith(title)]

    def traces(self, kind: str) -> int:
        return len(list(self.folder.glob(f"{kind}-*")))


def environment() -> dict[str, str]:
    """Returns an environment without settings of the server, and with Ray as quiet as possible."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BBMR_", "RAY_"))}
    return {**kept, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}


def command(pid: int) -> str:
    """Returns the command line or title of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    """Returns every descendant of the process `pid`."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found[1:]


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Waits until `condition()` is true; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.05)


def shipped_config() -> dict[str, Any]:
    """Returns docs/serve.yaml."""
    held: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "serve.yaml").read_text())
    return held


@pytest.fixture(scope="module")  # its processes are never idle, and would slow all later tests
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install '.[cluster]' in a checkout")
    folder = tmp_path_factory.mktemp("cluster")
    config = shipped_config()
    config["http_options"]["port"] = port = _free_port()
    real = config["applications"][0]
    real["deployments"] = [
        {"name": "Ingress", "num_replicas": 1, "ray_actor_options": {"num_cpus": 0.2}},
        {"name": "Engine", "num_replicas": 2, "ray_actor_options": {"num_cpus": 0.3}},
    ]
    for deployment in real["deployments"][1:]:
        deployment["autoscaling_config"] = None
    few = {"ray_actor_options": {"num_cpus": 0.1}}
    config["applications"].append(
        {
            "name": "sleepy",
            "route_prefix": "/sleepy",
            "import_path": "tests.cluster.sleepy:app",
            "args": {"folder": str(folder), "queue_length": QUEUE, "deadline_s": DEADLINE_S, "drain_s": 2},
            "deployments": [{"name": "Ingress", **few}, {"name": "Engine", **few}],
        }
    )
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump(config))
    short = tempfile.mkdtemp(prefix="bbmr-")  # for sockets, whose paths must be short
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, "run", "--app-dir", str(ROOT), str(file)],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**environment(), "RAY_TMPDIR": short},
        )
    below: list[int] = []
    try:
        url = f"http://127.0.0.1:{port}"

        def serving() -> bool:
            said = (folder / "log").read_text(errors="replace")
            assert process.poll() is None, said[-4000:]
            assert "failed with exception" not in said, said[-4000:]
            with contextlib.suppress(httpx.HTTPError):
                return all(
                    httpx.get(f"{url}{prefix}/readyz", timeout=5).status_code == 200
                    for prefix in ("", "/sleepy")
                )
            return False

        wait_until(serving, 200)
        below = descendants(process.pid)
        yield Cluster(url, folder, process.pid)
        below = descendants(process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(40)
        process.kill()
        process.wait()
        end = time.monotonic() + 20
        while (left := {pid: command(pid) for pid in below if command(pid)}) and time.monotonic() < end:
            time.sleep(0.1)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(short, ignore_errors=True)
    assert not left, f"the cluster left processes behind: {left}"


_SERVE = """
import functools, sys, ray
from ray.serve.scripts import cli
ray.init = functools.partial(ray.init, include_dashboard=False, object_store_memory=128 << 20)
sys.argv[0] = "serve"
cli()
"""
"""The command `serve` of this interpreter's Ray, without the ten processes of its dashboard."""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def detail() -> np.ndarray:
    """A part of the sample photo: uint8 [200, 280, 3]."""
    with Image.open(ROOT / "samples/lake-sherburne.jpg") as photo:
        return np.asarray(photo.crop((440, 180, 720, 380)))


@pytest.fixture(scope="session")
def container(detail: np.ndarray) -> Container:
    return encode(detail, rate=4)
