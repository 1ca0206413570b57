"""The HTTP client: a container goes out, a picture comes back.

    with Client("http://127.0.0.1:8000") as client:
        picture = client.reconstruct(container)

In: a container (or its bytes). Out: a `PIL.Image.Image`, or the answer's bytes; every failure is a `ServiceError`.
`Client` and `AsyncClient` differ only in how bytes are moved: requests are written in `service`, answers judged in
`answer`, each once; `exchange` and this module are the only ones that know httpx.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import httpx
from PIL import Image

from bbmr_client.answer import Answer, load_picture, parse_json
from bbmr_client.deadline import Deadline
from bbmr_client.exchange import FAILURES, Exchange, connector
from bbmr_client.service import Packed, Request, Service
from bbmr_client.timeouts import Timeouts
from bbmr_shared.container import Container
from bbmr_shared.errors import ServerRefusedError
from bbmr_shared.limits import DEFAULT_LIMITS, Limits
from bbmr_shared.region import Region

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
        self._http = connector(httpx.Client, self._service, transport)

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
        exchange = Exchange(self._service, request)
        with Deadline(self._service.timeouts.total) as deadline:
            try:
                with self._http.stream(
                    **exchange.arguments, extensions={"trace": deadline.watch}
                ) as response:
                    exchange.begin(response)
                    for piece in response.iter_bytes():
                        exchange.feed(piece)
            except FAILURES as error:
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
        self._http = connector(httpx.AsyncClient, self._service, transport)

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
        exchange = Exchange(self._service, request)
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
        except FAILURES as error:
            raise exchange.failure(error) from error
        return exchange.finish()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
