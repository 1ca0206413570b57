"""The connections of a client. The only module that knows httpx.

Sends a request to a server and streams the response; translates httpx's exceptions into those of the project.
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

from bbmr_client.http.connection_errors import root_cause, tls_message
from bbmr_client.http.request import Request, Server
from bbmr_client.http.retries import RetryableError
from bbmr_client.http.timeouts import Timeouts
from bbmr_client.http.tls import Tls
from bbmr_client.text import printable
from bbmr_shared.errors import BadAnswerError, ServerTimeoutError, ServerUnreachableError, UsageError
from bbmr_shared.limits import MAX_CONNECTIONS

MAX_IDLE_CONNECTIONS = 20
IDLE_CONNECTION_S = 2.0
"""Shorter than servers keep an idle connection (uvicorn: 5 s). Otherwise a request would now and then use one that the
server is closing."""


Transport = httpx.AsyncBaseTransport
"""The type of a replacement for the network, for tests."""

_HTTPX_ERRORS = (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ssl.SSLError)
"""Everything that httpx raises. UnicodeError: a host name that cannot be encoded. SSLError: TLS 1.3 reports some errors
after the connection is open, and httpx does not wrap them."""

_CLOSED_EARLY = re.compile("closed connection|disconnected")
"""Distinguishes, among httpx's protocol errors, a connection that ended too early from bytes that are not HTTP."""


@dataclass(frozen=True)
class StreamedResponse:
    """A response whose headers have arrived; its body arrives in `pieces`."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


class ConnectionPool:
    """One httpx client for each server and event loop, made when it is first needed.

    Connections belong to the event loop that opened them, so a caller that runs several loops one after the other gets
    new connections in each.

    Raises:
        UsageError: a file of `tls` cannot be used. `send` raises it too if the environment names an unusable proxy.
    """

    def __init__(
        self,
        servers: list[Server],
        timeouts: Timeouts,
        tls: Tls | None,
        transport: Transport | None,
    ) -> None:
        if not isinstance(transport, Transport | None):
            raise UsageError("a transport is an httpx.AsyncBaseTransport, for both clients")
        self._timeouts, self._transport = timeouts, transport
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Server, httpx.AsyncClient]]
        self._clients = WeakKeyDictionary()
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
    ) -> AsyncIterator[StreamedResponse]:
        """Send a request; its response can be read within the block.

        Raises:
            RetryableError: another try may succeed, with this or another server.
            ServiceError: a retry would not help. UsageError: the address cannot be one.
            RuntimeError: this pool is closed.
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
                yield StreamedResponse(response.status_code, response.headers, response.aiter_bytes())
        except _HTTPX_ERRORS as error:
            raise _translated(error, server, self._timeouts) from error

    async def close(self) -> None:
        """Close the connections of the running loop. Nothing can be sent afterwards."""
        self._closed = True
        for client in self._clients.pop(asyncio.get_running_loop(), {}).values():
            await client.aclose()

    def _client_for(self, server: Server) -> httpx.AsyncClient:
        """The client for `server` in the running loop."""
        if self._closed:
            raise RuntimeError("this client is closed")
        for loop in [loop for loop in self._clients if loop.is_closed()]:
            del self._clients[
                loop
            ]  # a client refers to its loop, so the weak reference alone does not free it
        clients = self._clients.setdefault(asyncio.get_running_loop(), {})
        if server not in clients:
            clients[server] = self._make_client(server)
        return clients[server]

    def _make_client(self, server: Server) -> httpx.AsyncClient:
        """A client for `server`. A proxy of the environment is not used for a server on this machine."""
        timeouts = self._timeouts
        # For http on this machine no certificate is checked, and loading the authorities would take 20 ms.
        context = self._context or (ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if server.is_loopback else None)
        try:
            return httpx.AsyncClient(
                timeout=httpx.Timeout(
                    connect=timeouts.connect, read=timeouts.read, write=timeouts.write, pool=timeouts.pool
                ),
                limits=httpx.Limits(
                    max_connections=MAX_CONNECTIONS,
                    max_keepalive_connections=MAX_IDLE_CONNECTIONS,
                    keepalive_expiry=IDLE_CONNECTION_S,
                ),
                follow_redirects=False,  # the key must not go to another server
                trust_env=not server.is_loopback,
                verify=True if context is None else context,
                transport=self._transport,
            )
        except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
            raise UsageError(
                "the environment names a proxy or certificates that cannot be used "
                f"({printable(str(error)) or type(error).__name__}): "
                "see HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
            ) from error


def _translated(error: Exception, server: Server, timeouts: Timeouts) -> Exception:
    """A `RetryableError`, or a `BbmrError` if a retry would fail in the same way."""
    url, why = server.url, root_cause(error)
    match error:
        case httpx.TimeoutException():
            return _timeout(error, url, timeouts)
        case _ if (insecure := tls_message(error)) is not None:
            return ServerUnreachableError(insecure.format(server=url, why=why))
        case httpx.ConnectError() | httpx.ProxyError():
            return RetryableError(
                ServerUnreachableError(
                    f"no server at {url} ({why}): start one with bbmr-server, or name another with --server"
                )
            )
        case httpx.NetworkError() | ssl.SSLError():
            return RetryableError(ServerUnreachableError(f"the connection to {url} broke ({why}): try again"))
        case httpx.UnsupportedProtocol() | httpx.InvalidURL() | UnicodeError():
            return UsageError(f"{url} is not an address of a server: {why}")
        case _:
            bad = BadAnswerError(f"{url} did not answer as HTTP asks ({why})")
            return RetryableError(bad) if _CLOSED_EARLY.search(str(error)) else bad


def _timeout(error: httpx.TimeoutException, url: str, timeouts: Timeouts) -> Exception:
    match error:
        case httpx.ConnectTimeout():
            return RetryableError(
                ServerTimeoutError(f"{url} did not accept a connection within {timeouts.connect:g} s")
            )
        case httpx.ReadTimeout():
            return ServerTimeoutError(
                f"{url} did not answer within {timeouts.read:g} s: wait longer with --timeout"
            )
        case httpx.PoolTimeout():
            return ServerTimeoutError(
                f"no connection to {url} was free for {timeouts.pool:g} s: more requests at once than connections"
            )
        case _:
            return ServerTimeoutError(f"{url} did not take the container in time: wait longer with --timeout")
