"""Requests over a bare socket, for clients that break rules which HTTP libraries keep."""

from __future__ import annotations

import socket

from bbmr_shared.container import MEDIA_TYPE
from benchmarks.service.server_process import ServerProcess


def connect(server: ServerProcess, buffer: int | None = None) -> socket.socket:
    """Returns a connection whose receive buffer has `buffer` bytes."""
    made = socket.socket()
    if buffer is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    made.settimeout(60)
    made.connect(server.host_and_port)
    return made


def head(length: int | None, extra: str = "") -> bytes:
    """Returns the head of a POST /reconstruct. If `length` is None, the body is chunked."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = ["POST /reconstruct HTTP/1.1", "Host: x", f"Content-Type: {MEDIA_TYPE}", framing]
    return ("\r\n".join(lines) + f"\r\n{extra}\r\n").encode()


def read_head(made: socket.socket) -> tuple[int, dict[str, str]]:
    """Returns status and headers of the response; drops what follows."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = made.recv(65536)
        assert piece, "the connection was closed without an answer"
        data += piece
    first, *lines = data.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(first.split()[1]), fields
