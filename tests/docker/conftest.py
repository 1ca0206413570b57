"""What the checks of the images share: the three images, and a server that runs in one of them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docker import confined
from tests.docker.builder import BASE, NEEDED, Builder, Image
from tests.docker.sources import package_sources

ROOT = Path(__file__).resolve().parents[2]
SUMMARY: list[str] = []
"""Lines that are printed after the last check: sizes and times."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if SUMMARY:
        terminalreporter.section("images")
    for line in SUMMARY:
        terminalreporter.line(line)


@pytest.fixture(scope="session")
def builder() -> Iterator[Builder]:
    """A builder with the stand-in base; its folder (DOCKER_TEST_WORK) is kept, so the next run is faster."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.getuid() != 0:
        pytest.exit(
            "docker-test wants to be root on Linux, with buildah and mmdebstrap"
            + (f"; not found: {', '.join(missing)}" if missing else ""),
            returncode=1,
        )
    work = Path(os.environ.get("DOCKER_TEST_WORK") or Path(tempfile.gettempdir()) / "bbmr-docker-test")
    made = Builder(work, package_sources().mounts(work / "sources"))
    started = time.monotonic()
    size = made.base()
    SUMMARY.append(f"stand-in base: {time.monotonic() - started:.0f} s, {size / 1e6:.0f} MB, in {work}")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what .dockerignore lets into a build, so that all images are of the same state of the files."""
    folder = tmp_path_factory.mktemp("build") / "context"
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for name in [".dockerignore", *(line[1:] for line in lines if line.startswith("!"))]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    return folder


def arguments(name: str) -> dict[str, str]:
    """The build arguments with which `name` is built here."""
    if name == "client":
        return {"PYTHON_IMAGE": BASE}
    backend = "" if package_sources().links else "cpu"
    return {"CUDA_IMAGE" if name == "server-gpu" else "PYTHON_IMAGE": BASE, "TORCH_BACKEND": backend}


def build(builder: Builder, context: Path, name: str, **more: str) -> Image:
    started = time.monotonic()
    dockerfile = ROOT / "docker" / f"{name}.Dockerfile"
    title = "-".join([name, *more.values()])
    image, _ = builder.build(f"bbmr-{title}", dockerfile, context, **arguments(name), **more)
    seconds = time.monotonic() - started
    program = sum(path.lstat().st_size for path in (image.root / "opt/app").rglob("*"))
    SUMMARY.append(
        f"{title}: built in {seconds:.0f} s, {image.size / 1e6:.0f} MB with the base, "
        f"{program / 1e6:.1f} MB of it bbmr itself"
    )
    return image


@pytest.fixture(scope="session")
def client(builder: Builder, context: Path) -> Image:
    return build(builder, context, "client")


@pytest.fixture(scope="session")
def server(builder: Builder, context: Path) -> Image:
    return build(builder, context, "server")


@pytest.fixture(scope="session")
def server_light(builder: Builder, context: Path) -> Image:
    """The CPU server without torch."""
    return build(builder, context, "server", EXTRA="server-light")


@pytest.fixture(scope="session")
def server_gpu(builder: Builder, context: Path) -> Image:
    """The GPU's Dockerfile on the stand-in, with the build of torch that is there: all of it but CUDA."""
    return build(builder, context, "server-gpu")


@pytest.fixture(scope="session", params=["client", "server", "server-gpu"])
def image(request: pytest.FixtureRequest) -> Image:
    """Each image in turn."""
    found: Image = request.getfixturevalue(request.param.replace("-", "_"))
    return found


@dataclass
class Running:
    """A server in its image, on a port of loopback."""

    image: Image
    process: subprocess.Popen[str]
    port: int
    data: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def health(self) -> tuple[int, str]:
        """Run the HEALTHCHECK of the image as an engine does: exit status and what it said."""
        kind, *command = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return confined.run(self.image, command, {"BBMR_PORT": str(self.port)}, timeout=30)

    def wait(self, seconds: float = 120) -> None:
        """Wait until it is healthy."""
        end = time.monotonic() + seconds
        while self.health()[0] != 0:
            assert self.process.poll() is None, f"the server ended:\n{self.process.communicate()[0]}"
            assert time.monotonic() < end, "the server did not become healthy"
            time.sleep(0.5)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@pytest.fixture
def running(server: Image, tmp_path: Path) -> Iterator[Running]:
    """A server that has just been started, as ENTRYPOINT and CMD say; killed afterwards if it still runs."""
    with serving(server, tmp_path / "data") as found:
        yield found


@contextmanager
def serving(
    image: Image, data: Path, more: dict[str, str] | None = None, *volumes: tuple[Path, str, str]
) -> Iterator[Running]:
    """A server of `image` that has just been started, with `data` as its volume, `more` variables and `volumes`."""
    data.mkdir()
    os.chown(data, 10001, 10001)
    port = free_port()
    # On a busy machine the sample photo may take longer than a server has by default when it stops.
    variables = {"BBMR_HOST": "127.0.0.1", "BBMR_PORT": str(port), "BBMR_THREADS": "2", "BBMR_DRAIN_S": "120"}
    process = confined.start(
        image, variables=variables | (more or {}), volumes=[(data, "/data", "rw"), *volumes]
    )
    try:
        yield Running(image, process, port, data)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
