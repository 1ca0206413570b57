"""Runs an app under uvicorn: its configuration, and a server that announces its start and bounds its stop."""

from __future__ import annotations

import asyncio
import math
import signal
import socket
import time
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from bbmr_server.settings import Settings

from .protocol import KEEP_ALIVE_S, bounded_protocol


class Server(uvicorn.Server):
    """A server of one app. `announce` gets a line when it listens and one when it stops.

    `app.state.stop_by` is set to the time (of `time.monotonic`) at which accepted requests are refused.
    """

    def __init__(self, app: FastAPI, settings: Settings, announce: Callable[[str], None]) -> None:
        super().__init__(_config(app, settings))
        self._app = app
        self._drain_s = settings.http.drain_s
        self._announce = announce
        self._address = ""

    def serve_on(self, listener: socket.socket) -> None:
        """Serve until a signal, or `stop`, ends the server. Blocks."""
        self._address = _url(listener)
        # This handler is for a signal before uvicorn has set its own handlers. After its shutdown uvicorn raises the
        # signal again; with this handler that does not kill the process.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        self.run(sockets=[listener])

    def stop(self) -> None:
        """Shut down gracefully; may be called from any thread."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, and announce the address."""
        await super().startup(sockets)
        if self.started:
            self._announce(f"listening on {self._address}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down as uvicorn does. Requests that are not finished after `drain_s` are refused."""
        state = self._app.state.bbmr
        self._announce(f"stopping; {state.engine.inside} pictures are finished within {self._drain_s:g} s")
        self._app.state.stop_by = time.monotonic() + self._drain_s
        asyncio.get_running_loop().call_later(self._drain_s, state.refuse_all)
        await super().shutdown(sockets)


def _config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",  # not uvloop where it is installed, as by Ray: everything was tested with asyncio's loop
        http=bounded_protocol(settings.http),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=bool(settings.http.forwarded_allow_ips),
        forwarded_allow_ips=list(settings.http.forwarded_allow_ips),
        timeout_keep_alive=KEEP_ALIVE_S,
        # `shutdown` refuses what is left at drain_s; this ends connections that are still open after that.
        timeout_graceful_shutdown=math.ceil(settings.http.drain_s) + 2,
    )


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"
