"""What the tests of the store share: requests that store containers, files on the disk, a gate that holds threads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from bbmr_shared.container import MEDIA_TYPE

HEADERS = {"Content-Type": MEDIA_TYPE}


async def keep(client: httpx.AsyncClient, body: bytes) -> httpx.Response:
    """Sends a container to the store."""
    return await client.post("/containers", content=body, headers=HEADERS)


async def fill(client: httpx.AsyncClient, body: bytes) -> None:
    """Stores a container."""
    assert (await keep(client, body)).status_code in (200, 201)


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def ask(port: int, method: str, path: str, body: bytes = b"") -> socket.socket:
    """Returns a connection on which a request has been sent."""
    connection = socket.create_connection(("127.0.0.1", port), 10)
    connection.sendall(
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return connection


class Gate:
    """Holds the threads that call a function, until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns `function` with a wait for the gate before it."""

        def hang(*arguments: Any) -> Any:
            self.entered.set()
            self.opened.wait(60)
            return function(*arguments)

        return hang
