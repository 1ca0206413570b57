"""Pictures, containers, the command line in this process, and servers on real loopback sockets."""

from __future__ import annotations

import io
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from bbmr_client.cli import main
from bbmr_client.encoding.encoder import encode
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container


def make_rgb(width: int, height: int, seed: int = 5) -> np.ndarray:
    """A picture with a smooth and a busy half, uint8 [height, width, 3]."""
    random = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    rgb = np.stack([x, y, (x + y) / 2], axis=2)
    half = width // 2
    rgb[:, half:] = random.integers(0, 256, (height, width - half, 3))
    return rgb.astype(np.uint8)


@pytest.fixture(scope="session")
def rgb() -> Callable[..., np.ndarray]:
    return make_rgb


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A 300×200 PNG."""
    path = tmp_path / "photo.png"
    Image.fromarray(make_rgb(300, 200)).save(path)
    return path


@pytest.fixture(scope="session")
def container() -> Container:
    return encode(make_rgb(300, 200), rate=4)


@pytest.fixture
def packed(tmp_path: Path, container: Container) -> Path:
    """The container of the 300×200 picture as a file."""
    path = tmp_path / "photo.bbmr"
    path.write_bytes(container.to_bytes())
    return path


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit status, standard output, and standard error without its last newline."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Outcome]]:
    """`bbmr-client` in this process. No BBMR_ setting of the outside reaches it."""
    for name in ("BBMR_SERVER", "BBMR_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BBMR_CONFIG", "")  # nor does a settings file
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(code, out, err.rstrip("\n"))

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def fails(run: Callable[..., Outcome], tmp_path: Path) -> Callable[..., str]:
    """Run a command that must fail: its status, one line, no traceback, and no file changed. Gives the line."""

    def call(*arguments: object, code: int = 1) -> str:
        before = snapshot(tmp_path)
        outcome = run(*arguments)
        assert outcome.code == code, outcome
        assert outcome.out == ""
        assert outcome.err.startswith("bbmr-client: ")
        assert outcome.err.count("\n") == 0, outcome.err
        assert "unexpected" not in outcome.err
        assert "Traceback" not in outcome.err
        assert snapshot(tmp_path) == before, "something was left behind"
        return outcome.err

    return call


def snapshot(folder: Path) -> dict[str, int]:
    return {
        str(path): path.lstat().st_size for path in folder.rglob("*") if path.is_file() or path.is_symlink()
    }


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up in the middle is what some tests are about."""


Handler = Callable[[BaseHTTPRequestHandler, bytes], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], str]]:
    """Start a server on a real loopback socket that answers every request with the given function; gives its URL."""
    servers: list[Server] = []

    def start(handler: Handler) -> str:
        class Requests(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                handler(self, b"")

            def do_POST(self) -> None:
                handler(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = Server(("127.0.0.1", 0), Requests)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def answer(request: BaseHTTPRequestHandler, status: int, mime: str, body: bytes, **headers: str) -> None:
    request.send_response(status)
    request.send_header("Content-Type", mime)
    for name, value in {"Content_Length": str(len(body)), **headers}.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


@pytest.fixture(scope="session")
def reply() -> Callable[..., None]:
    """Write one whole answer: request, status, media type, body, further headers."""
    return answer


@pytest.fixture
def composite_server(serve: Callable[[Handler], str]) -> str:
    """A server that keeps to the interface and whose network adds nothing: it answers the composite."""

    def handler(request: BaseHTTPRequestHandler, body: bytes) -> None:
        if request.command == "GET":
            answer(request, 200, "application/json", b'{"status": "ready"}')
            return
        picture = preview(Container.from_bytes(body))
        region = parse_qs(urlsplit(request.path).query).get("region")
        if region:
            x, y, width, height = (int(part) for part in region[0].split(","))
            picture = picture.crop((x, y, x + width, y + height))
        mime = request.headers["Accept"]
        data = io.BytesIO()
        picture.save(data, mime.partition("/")[2].upper())
        answer(request, 200, mime, data.getvalue())

    return serve(handler)
