"""One exchange over httpx: how it is set up, and what each way to fail means.

In: a `Service` and a `Request`. Out: the arguments for httpx, and the `Answer` or the error that came of it. Moves no
bytes itself.
"""

from __future__ import annotations

import time
from typing import Any, TypeVar

import httpx

from bbmr_client.answer import Answer, Collector
from bbmr_client.service import Request, Service
from bbmr_client.text import printable
from bbmr_shared.errors import (
    BadAnswerError,
    ServerTimeoutError,
    ServerUnreachableError,
    ServiceError,
    UsageError,
)

FAILURES = (httpx.HTTPError, httpx.InvalidURL, UnicodeError)
"""What an exchange can end with; UnicodeError: a host name that no name server could be asked for."""

_Made = TypeVar("_Made", httpx.Client, httpx.AsyncClient)


class Exchange:
    """One request, and the judgement of its answer while it comes in."""

    def __init__(self, service: Service, request: Request) -> None:
        self.arguments: dict[str, Any] = {
            "method": request.method,
            "url": request.url,
            "headers": dict(request.headers),
            "params": dict(request.params),
            "content": request.content,
        }
        self._service, self._request = service, request
        self._deadline = time.monotonic() + service.timeouts.total
        self._collector: Collector | None = None

    def begin(self, response: httpx.Response) -> None:
        """Judge the status line and the headers."""
        status, headers = response.status_code, response.headers
        wanted = self._request
        self._collector = Collector(self._service.shown, status, headers, wanted.accept, wanted.most)

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body; raises once it is too much or too late."""
        assert self._collector is not None
        if time.monotonic() > self._deadline:
            raise self.too_late()
        self._collector.feed(piece)

    def finish(self) -> Answer:
        assert self._collector is not None
        return self._collector.finish()

    def too_late(self) -> ServerTimeoutError:
        """The whole exchange took longer than it may."""
        total = self._service.timeouts.total
        failed = "did not answer" if self._collector is None else "did not finish its answer"
        return ServerTimeoutError(
            f"{self._service.shown} {failed} within {total:g} s: wait longer with --timeout"
        )

    def failure(self, error: Exception) -> ServiceError | UsageError:
        """What a failure on the way means."""
        server, times = self._service.shown, self._service.timeouts
        why = printable(str(error)) or type(error).__name__
        match error:
            case httpx.ConnectTimeout():
                return ServerTimeoutError(f"{server} did not accept a connection within {times.connect:g} s")
            case httpx.ReadTimeout():
                return ServerTimeoutError(
                    f"{server} did not answer within {times.read:g} s: wait longer with --timeout"
                )
            case httpx.TimeoutException():
                return ServerTimeoutError(
                    f"{server} did not take the container in time: wait longer with --timeout"
                )
            case httpx.ConnectError() | httpx.ProxyError():
                return ServerUnreachableError(
                    f"no server at {server} ({why}): start one with bbmr-server, or name another with --server"
                )
            case httpx.NetworkError():
                return ServerUnreachableError(f"the connection to {server} broke ({why}): try again")
            case httpx.UnsupportedProtocol() | httpx.InvalidURL() | UnicodeError():
                return UsageError(f"{server} is not an address of a server: {why}")
            case _:
                return BadAnswerError(f"{server} did not answer as HTTP asks ({why})")


def connector(kind: type[_Made], service: Service, transport: object | None) -> _Made:
    """The client of httpx for one server.

    A proxy from the environment is for the world outside; a server on this machine is asked directly.

    Raises:
        UsageError: the environment names a proxy or certificates that cannot be used.
    """
    times = service.timeouts
    arguments: dict[str, Any] = {
        "timeout": httpx.Timeout(connect=times.connect, read=times.read, write=times.write, pool=times.pool),
        # Each exchange has a connection of its own, which its deadline may shut down.
        "limits": httpx.Limits(max_keepalive_connections=0),
        "follow_redirects": False,
    }
    if transport is not None:
        arguments["transport"] = transport
    try:
        if service.on_this_machine:
            arguments["trust_env"] = False
            if service.url.startswith("https:"):
                arguments["verify"] = (
                    httpx.create_ssl_context()
                )  # SSL_CERT_FILE of the environment holds here, too
        return kind(**arguments)
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        raise UsageError(
            "the environment names a proxy or certificates that cannot be used "
            f"({printable(str(error)) or type(error).__name__}): "
            "see HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
        ) from error
