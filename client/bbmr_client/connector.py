"""The clients of httpx behind a client of ours. In: a server, time-outs and TLS. Out: `httpx.AsyncClient`s."""

from __future__ import annotations

import asyncio
import ssl
from weakref import WeakKeyDictionary

import httpx

from bbmr_client.service import Server
from bbmr_client.text import printable
from bbmr_client.timeouts import Timeouts
from bbmr_client.tls import Tls
from bbmr_shared.errors import UsageError
from bbmr_shared.limits import MAX_CONNECTIONS

KEPT_CONNECTIONS = 20
KEPT_S = 2.0
"""Shorter than servers keep an idle connection (uvicorn: 5 s), or a request would now and then meet one that ends."""


class Connectors:
    """One client of httpx for each server and event loop, made when it is first needed.

    Connections belong to the loop that opened them, so whoever runs one loop after another gets new ones in each.

    Raises:
        UsageError: a file of `tls` cannot be used; in `of`, too: the environment names a proxy that cannot be used.
    """

    def __init__(
        self,
        servers: list[Server],
        times: Timeouts,
        tls: Tls | None,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self._times, self._transport = times, transport
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Server, httpx.AsyncClient]]
        self._made = WeakKeyDictionary()
        self._closed = False
        self._context: ssl.SSLContext | None = None
        if transport is None and (
            tls not in (None, Tls()) or any(server.url.startswith("https:") for server in servers)
        ):
            self._context = (tls or Tls()).context()

    def of(self, server: Server) -> httpx.AsyncClient:
        """The client for `server` in the running loop."""
        if self._closed:
            raise RuntimeError("this client is closed")
        made = self._made.setdefault(asyncio.get_running_loop(), {})
        if server not in made:
            made[server] = self._make(server)
        return made[server]

    async def close(self) -> None:
        """Give the connections of the running loop back; nothing can be sent afterwards."""
        self._closed = True
        for client in self._made.pop(asyncio.get_running_loop(), {}).values():
            await client.aclose()

    def _make(self, server: Server) -> httpx.AsyncClient:
        """A proxy from the environment is for the world outside; a server on this machine is asked directly."""
        times = self._times
        # On the way to http on this machine no certificate is asked for, and reading the authorities costs 20 ms.
        context = self._context or (
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if server.on_this_machine else None
        )
        try:
            return httpx.AsyncClient(
                timeout=httpx.Timeout(
                    connect=times.connect, read=times.read, write=times.write, pool=times.pool
                ),
                limits=httpx.Limits(
                    max_connections=MAX_CONNECTIONS,
                    max_keepalive_connections=KEPT_CONNECTIONS,
                    keepalive_expiry=KEPT_S,
                ),
                follow_redirects=False,  # a key must not travel on
                trust_env=not server.on_this_machine,
                verify=True if context is None else context,
                transport=self._transport,
            )
        except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
            raise UsageError(
                "the environment names a proxy or certificates that cannot be used "
                f"({printable(str(error)) or type(error).__name__}): "
                "see HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
            ) from error
