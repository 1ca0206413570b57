"""An HTTP/1.1 server on a loopback socket that answers by a script and records its requests."""

from __future__ import annotations

import hashlib
import io
import json
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image


def png(width: int, height: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height)).save(data, "PNG")
    return data.getvalue()


def long_png(width: int, height: int, filling: int) -> tuple[bytes, bytes]:
    """Returns (the start of a PNG with a chunk of `filling` bytes to follow, what follows that chunk's bytes).

    Its header can be read, and there is no picture in it.
    """

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    start = b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", filling) + b"IDAT"
    return start, bytes(4) + chunk(b"IEND", b"")


@dataclass
class Seen:
    """The requests that came in, one entry each, and their connections."""

    paths: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)

    @property
    def count(self) -> int:
        return len(self.paths)


Step = Callable[[BaseHTTPRequestHandler], None]


def picture(width: int = 300, height: int = 200) -> Step:
    return answer(200, "image/png", png(width, height))


def refusal(status: int, title: str = "No", **headers: str) -> Step:
    return answer(status, "application/problem+json", json.dumps({"title": title}).encode(), **headers)


def answer(status: int, mime: str, body: bytes, **headers: str) -> Step:
    def step(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {
            "Content_Type": mime,
            "Content_Length": str(len(body)),
            **headers,
        }.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return step


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """Close the connection in the middle of the response."""
    request.send_response(200)
    request.send_header("Content-Type", "image/png")
    request.send_header("Content-Length", "100000")
    request.end_headers()
    request.wfile.write(png(300, 200)[:50])
    request.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    context: ssl.SSLContext | None = None

    def finish_request(self, request: object, client_address: object) -> None:
        if self.context is not None:  # in the connection's own thread
            request = self.context.wrap_socket(request, server_side=True)  # type: ignore[arg-type]
        super().finish_request(request, client_address)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """Prints nothing: some tests are about clients that hang up."""


@contextmanager
def scripted(*steps: Step, tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[tuple[str, Seen]]:
    """Answer the first request by the first step, and so on; the last step is repeated. Yields (URL, requests)."""
    seen = Seen()
    lock = threading.Lock()

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            digest, left = hashlib.sha256(), int(self.headers.get("Content-Length", 0))
            while left and (piece := self.rfile.read(min(left, 1 << 16))):
                digest.update(piece)
                left -= len(piece)
            with lock:
                step = steps[min(seen.count, len(steps) - 1)]
                seen.paths.append(self.path)
                seen.headers.append(dict(self.headers))
                seen.bodies.append(digest.hexdigest())
                seen.connections.add(self.client_address)
            step(self)

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = _Server(("127.0.0.1", port), Requests)
    server.context = tls
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        host = f"127.0.0.1:{server.server_address[1]}"
        yield f"https://{host}" if tls else f"http://{host}", seen
    finally:
        server.shutdown()
        server.server_close()
