"""The connections of a client, and the only module that knows httpx.

In: a server, a request and what is sent. Out: the answer as it comes in; what each way to fail means is said here.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import httpx

from bbmr_client.http.connection_errors import cause, refused_by_tls
from bbmr_client.http.request import Request, Server
from bbmr_client.http.retries import PassingError
from bbmr_client.http.timeouts import Timeouts
from bbmr_client.http.tls import Tls
from bbmr_client.text import printable
from bbmr_shared.errors import BadAnswerError, ServerTimeoutError, ServerUnreachableError, UsageError
from bbmr_shared.limits import MAX_CONNECTIONS

KEPT_CONNECTIONS = 20
KEPT_S = 2.0
"""Shorter than servers keep an idle connection (uvicorn: 5 s), or a request would now and then meet one that ends."""


Transport = httpx.AsyncBaseTransport
"""What may stand in for the network."""

_FAILURES = (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ssl.SSLError)
"""What an exchange can end with. UnicodeError: a host name that no name server could be asked for. SSLError: what
TLS 1.3 tells only after the connection stands; httpx lets it through."""

_HUNG_UP = re.compile("closed connection|disconnected")
"""How httpx's protocol errors tell a connection that ended too early from words that are no HTTP."""


@dataclass(frozen=True)
class Incoming:
    """An answer of which the head is there; its body comes in `pieces`."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


class Connectors:
    """One client of httpx for each server and event loop, made when it is first needed.

    Connections belong to the loop that opened them, so whoever runs one loop after another gets new ones in each.

    Raises:
        UsageError: a file of `tls` cannot be used; in `send`, too: the environment names a proxy that cannot be used.
    """

    def __init__(
        self,
        servers: list[Server],
        times: Timeouts,
        tls: Tls | None,
        transport: Transport | None,
    ) -> None:
        if not isinstance(transport, Transport | None):
            raise UsageError("a transport is an httpx.AsyncBaseTransport, for both clients")
        self._times, self._transport = times, transport
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Server, httpx.AsyncClient]]
        self._made = WeakKeyDictionary()
        self._closed = False
        self._context: ssl.SSLContext | None = None
        if transport is None and (
            tls not in (None, Tls()) or any(server.url.startswith("https:") for server in servers)
        ):
            self._context = (tls or Tls()).context(httpx.create_ssl_context)

    @asynccontextmanager
    async def send(
        self,
        server: Server,
        request: Request,
        headers: Mapping[str, str],
        content: AsyncIterator[bytes] | None,
    ) -> AsyncIterator[Incoming]:
        """Send a request, and take in its answer within the block.

        Raises:
            PassingError: it may be tried again, there or elsewhere.
            ServiceError: it is of no use to try again. UsageError: the address cannot be one.
        """
        client = self._client_for(server)
        try:
            async with client.stream(
                request.method,
                server.url + request.path,
                headers=dict(headers),
                params=dict(request.params),
                content=content,
            ) as response:
                yield Incoming(response.status_code, response.headers, response.aiter_bytes())
        except _FAILURES as error:
            raise _meaning(error, server, self._times) from error

    async def close(self) -> None:
        """Give the connections of the running loop back; nothing can be sent afterwards."""
        self._closed = True
        for client in self._made.pop(asyncio.get_running_loop(), {}).values():
            await client.aclose()

    def _client_for(self, server: Server) -> httpx.AsyncClient:
        """The client for `server` in the running loop."""
        if self._closed:
            raise RuntimeError("this client is closed")
        for loop in [loop for loop in self._made if loop.is_closed()]:
            del self._made[loop]  # their clients hold them
        made = self._made.setdefault(asyncio.get_running_loop(), {})
        if server not in made:
            made[server] = self._make(server)
        return made[server]

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


def _meaning(error: Exception, server: Server, times: Timeouts) -> Exception:
    """What a failure on the way means: a `PassingError`, or a `BbmrError` that no further try would change."""
    shown, why = server.shown, cause(error)
    match error:
        case httpx.ConnectTimeout():
            return PassingError(
                ServerTimeoutError(f"{shown} did not accept a connection within {times.connect:g} s")
            )
        case httpx.ReadTimeout():
            return ServerTimeoutError(
                f"{shown} did not answer within {times.read:g} s: wait longer with --timeout"
            )
        case httpx.PoolTimeout():
            return ServerTimeoutError(
                f"{shown} was not asked: more requests at once than connections, for {times.pool:g} s"
            )
        case httpx.TimeoutException():
            return ServerTimeoutError(
                f"{shown} did not take the container in time: wait longer with --timeout"
            )
        case _ if (insecure := refused_by_tls(error)) is not None:
            return ServerUnreachableError(insecure.format(shown=shown, why=why))
        case httpx.ConnectError() | httpx.ProxyError():
            return PassingError(
                ServerUnreachableError(
                    f"no server at {shown} ({why}): start one with bbmr-server, or name another with --server"
                )
            )
        case httpx.NetworkError() | ssl.SSLError():
            return PassingError(ServerUnreachableError(f"the connection to {shown} broke ({why}): try again"))
        case httpx.UnsupportedProtocol() | httpx.InvalidURL() | UnicodeError():
            return UsageError(f"{shown} is not an address of a server: {why}")
        case _:
            strange = BadAnswerError(f"{shown} did not answer as HTTP asks ({why})")
            return PassingError(strange) if _HUNG_UP.search(str(error)) else strange
