"""The HTTP client: a container goes out, a picture comes back. The only module that knows httpx.

    with Client("http://127.0.0.1:8000") as client:
        picture = client.reconstruct(container)

In: a container (or its bytes). Out: a `PIL.Image.Image`, or the answer's bytes; every failure is a `ServiceError`.
`Client` and `AsyncClient` differ only in how bytes are moved: requests are written in `service`, answers judged in
`answer`, each once.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from PIL import Image

from bbmr_client.answer import Answer, Collector, load_picture, parse_json
from bbmr_client.deadline import Deadline
from bbmr_client.service import Packed, Request, Service, Timeouts
from bbmr_client.text import printable
from bbmr_shared.container import Container
from bbmr_shared.errors import (
    BadAnswerError,
    ServerRefusedError,
    ServerTimeoutError,
    ServerUnreachableError,
    ServiceError,
    UsageError,
)
from bbmr_shared.limits import DEFAULT_LIMITS, Limits
from bbmr_shared.region import Region

_FAILURES = (httpx.HTTPError, httpx.InvalidURL, UnicodeError)
"""What an exchange can end with; UnicodeError: a host name that no name server could be asked for."""

_Made = TypeVar("_Made", httpx.Client, httpx.AsyncClient)

__all__ = ["Answer", "AsyncClient", "Client", "Region", "Timeouts"]


class Client:
    """A server, asked and waited for.

    base_url: "http://host:port", also with a path. timeout: seconds for a whole exchange, or `Timeouts`. api_key: sent
    as a bearer token. transport: an `httpx.BaseTransport` in place of the network, for tests.

    Raises (every method):
        ServerUnreachableError, ServerTimeoutError: no connection, or no answer in time.
        ServerRefusedError: the server says why, in `.problem`.
        BadAnswerError: the answer is no picture of the right kind and size, or too large.
    """

    def __init__(
        self,
        base_url: str,
        timeout: float | Timeouts | None = None,
        *,
        api_key: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._service = Service(base_url, timeout, api_key, limits)
        self._http = _made(httpx.Client, self._service, transport)

    def reconstruct(
        self, container: Container | Packed, *, region: Region | None = None, model: str | None = None
    ) -> Image.Image:
        """The reconstructed picture, decoded. model: weights to use; None: those that the container names."""
        answer = self._send(self._service.reconstruct(container, "png", region, model))
        return load_picture(self._service.shown, self._service.check(answer, container, region))

    def reconstruct_bytes(
        self,
        container: Container | Packed,
        format: str = "png",
        *,
        region: Region | None = None,
        model: str | None = None,
    ) -> Answer:
        """The reconstructed picture as a file in `format` (png, webp, avif, jpeg), not decoded."""
        answer = self._send(self._service.reconstruct(container, format, region, model))
        self._service.check(answer, container, region)
        return answer

    def models(self) -> object:
        """What the server has loaded: the JSON of `GET /models`."""
        return parse_json(self._service.shown, self._send(self._service.get("/models")))

    def ready(self) -> bool:
        """Whether the server can work; False where it says that it cannot."""
        try:
            self._send(self._service.get("/readyz"))
        except ServerRefusedError:
            return False
        return True

    def close(self) -> None:
        """Give the connections back. Leaving a `with` block does it too."""
        self._http.close()

    def _send(self, request: Request) -> Answer:
        exchange = _Exchange(self._service, request)
        with Deadline(self._service.timeouts.total) as deadline:
            try:
                with self._http.stream(
                    **exchange.arguments, extensions={"trace": deadline.watch}
                ) as response:
                    exchange.begin(response)
                    for piece in response.iter_bytes():
                        exchange.feed(piece)
            except _FAILURES as error:
                raise exchange.too_late() if deadline.over else exchange.failure(error) from error
            if deadline.over:  # a body without a length looks complete when its socket is shut down
                raise exchange.too_late()
        return exchange.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """`Client` for asyncio: the same arguments, the same answers, the same errors; its methods are awaited."""

    def __init__(
        self,
        base_url: str,
        timeout: float | Timeouts | None = None,
        *,
        api_key: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._service = Service(base_url, timeout, api_key, limits)
        self._http = _made(httpx.AsyncClient, self._service, transport)

    async def reconstruct(
        self, container: Container | Packed, *, region: Region | None = None, model: str | None = None
    ) -> Image.Image:
        """See `Client.reconstruct`."""
        answer = await self._send(self._service.reconstruct(container, "png", region, model))
        return load_picture(self._service.shown, self._service.check(answer, container, region))

    async def reconstruct_bytes(
        self,
        container: Container | Packed,
        format: str = "png",
        *,
        region: Region | None = None,
        model: str | None = None,
    ) -> Answer:
        """See `Client.reconstruct_bytes`."""
        answer = await self._send(self._service.reconstruct(container, format, region, model))
        self._service.check(answer, container, region)
        return answer

    async def models(self) -> object:
        """See `Client.models`."""
        return parse_json(self._service.shown, await self._send(self._service.get("/models")))

    async def ready(self) -> bool:
        """See `Client.ready`."""
        try:
            await self._send(self._service.get("/readyz"))
        except ServerRefusedError:
            return False
        return True

    async def close(self) -> None:
        """Give the connections back. Leaving an `async with` block does it too."""
        await self._http.aclose()

    async def _send(self, request: Request) -> Answer:
        exchange = _Exchange(self._service, request)
        try:
            async with (
                asyncio.timeout(self._service.timeouts.total),
                self._http.stream(**exchange.arguments) as response,
            ):
                exchange.begin(response)
                async for piece in response.aiter_bytes():
                    exchange.feed(piece)
        except TimeoutError as error:
            raise exchange.too_late() from error
        except _FAILURES as error:
            raise exchange.failure(error) from error
        return exchange.finish()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Exchange:
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


def _made(kind: type[_Made], service: Service, transport: object | None) -> _Made:
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
