"""The client for asyncio, and the code behind both clients: sends a container, receives a picture.

`upload` prepares the request's body, `failover` chooses the server, `exchange` carries out one request with
`transport`, `response` checks what comes back, and `download` puts it in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self
from warnings import warn

import anyio
from anyio import to_thread
from PIL import Image

from bbmr_client.http.download import OutputFile, Sink, format_for_file, memory_sink, open_sink
from bbmr_client.http.exchange import ExchangeState, Progress, ResponseHead, exchange
from bbmr_client.http.failover import Failover
from bbmr_client.http.models import ModelInfo, parse_models
from bbmr_client.http.request import (
    Request,
    Server,
    json_request,
    parse_servers,
    picture_request,
    plaintext_warning,
)
from bbmr_client.http.response import Response, SavedResponse, load_picture, open_picture, parse_json
from bbmr_client.http.retries import Retries
from bbmr_client.http.timeouts import Timeouts
from bbmr_client.http.tls import Tls
from bbmr_client.http.transport import ConnectionPool, Transport
from bbmr_client.http.upload import ContainerSource, RequestBody, open_body
from bbmr_client.region import checked_region
from bbmr_shared.arguments import check_type
from bbmr_shared.compositing.region import Region
from bbmr_shared.errors import InvalidArgumentError, ServerRefusedError
from bbmr_shared.limits import DEFAULT_LIMITS, Limits


class AsyncClient:
    """A client of one or several servers, for asyncio.

    base_url: "http://host:port", also with a path; "host:port" means http. Several: if one cannot be reached or is
        busy, the next is tried, and the one that succeeded stays the first.
    timeout: seconds for a whole exchange, or `Timeouts`.
    api_key: sent as a bearer token, only to these servers.
    retries: the number of retries, or `Retries`.
    tls: certificates.
    limits: what is too large to be sent or received.
    transport: an httpx transport in place of the network, for tests.

    In every method, `container` is a container, its bytes, the name of its file, or an open binary file, and `progress`
    is called with "up" or "down", the bytes so far, and all bytes if they are known. It must be quick, and an exception
    that it raises ends the exchange.

    Raises (every method):
        UsageError: an argument has a wrong value or type.
        ServerUnreachableError, ServerTimeoutError: no connection, or no response in time.
        ServerRefusedError: the server refused; its problem document is in `.problem`.
        BadAnswerError: the response is too large, or not a picture of the right type and size.
        FileAccessError: a file cannot be read or written.
        LimitExceededError: the input is larger than a container may be.
    """

    def __init__(
        self,
        base_url: str | Sequence[str],
        timeout: float | Timeouts | None = None,
        *,
        api_key: str | None = None,
        retries: int | Retries | None = None,
        tls: Tls | None = None,
        limits: Limits = DEFAULT_LIMITS,
        transport: Transport | None = None,
    ) -> None:
        check_type("limits", limits, Limits)
        check_type("tls", tls, Tls, type(None))
        servers = parse_servers(base_url, api_key)
        self._timeouts, self._limits = Timeouts.of(timeout), limits
        self._failover = Failover(servers, Retries.of(retries))
        self._pool = ConnectionPool(servers, self._timeouts, tls, transport)
        warning = plaintext_warning(servers)
        if warning:
            warn(warning, UserWarning, stacklevel=2)

    async def reconstruct(
        self,
        container: ContainerSource,
        *,
        region: Region | None = None,
        model: str | None = None,
        progress: Progress | None = None,
    ) -> Image.Image:
        """Returns the reconstructed picture, decoded.

        region: x, y, width, height in pixels; None: the whole picture.
        model: the weights to use; None: those that the container names.
        """
        sink, _ = memory_sink()
        head, picture = await self._receive_picture(container, sink, "png", region, model, progress)
        return await to_thread.run_sync(load_picture, head.server.url, picture)

    async def reconstruct_bytes(
        self,
        container: ContainerSource,
        format: str = "png",
        *,
        region: Region | None = None,
        model: str | None = None,
        progress: Progress | None = None,
    ) -> Response:
        """Returns the reconstructed picture as a file in `format` (png, webp, avif, jpeg), not decoded."""
        sink, data = memory_sink()
        head, _ = await self._receive_picture(container, sink, format, region, model, progress)
        return Response(data.getvalue(), head.mime, head.headers, head.server.url)

    async def reconstruct_to(
        self,
        container: ContainerSource,
        target: OutputFile,
        format: str | None = None,
        *,
        region: Region | None = None,
        model: str | None = None,
        progress: Progress | None = None,
    ) -> SavedResponse:
        """Write the reconstructed picture to `target`, a file name or an open file; it is never in memory as a whole.

        The response is written to a temporary file beside `target`, which replaces `target` when it is complete and its
        header has the right format and size. Until then `target` stays as it was.

        format: None: the one that the ending of the name means.

        Raises:
            UsageError: the ending means no format.
        """
        chosen = format_for_file(target) if format is None else format
        async with open_sink(target) as sink:
            head, picture = await self._receive_picture(container, sink, chosen, region, model, progress)
            return SavedResponse(sink.total, head.mime, *picture.size, head.headers, head.server.url)

    async def models(self) -> list[ModelInfo]:
        """Returns the models that the server has loaded."""
        sink, data = memory_sink()
        head = await self._send(json_request("/models"), None, sink)
        return parse_models(head.server.url, parse_json(head.server.url, data.getvalue()))

    async def ready(self) -> bool:
        """Returns whether a server can work; False if all say that they cannot. Each is asked once."""
        try:
            await self._send(json_request("/readyz"), None, memory_sink()[0], retries=0)
        except ServerRefusedError:
            return False
        return True

    async def close(self) -> None:
        """Close the connections. Leaving an `async with` block does it too."""
        await self._pool.close()

    async def _receive_picture(
        self,
        source: ContainerSource,
        sink: Sink,
        format: str,
        region: Region | None,
        model: str | None,
        progress: Progress | None,
    ) -> tuple[ResponseHead, Image.Image]:
        """Fills `sink`. Returns the head of the response and its picture, of which only the header has been read."""
        check_type("model", model, str, type(None))
        if progress is not None and not callable(progress):
            raise InvalidArgumentError(f"progress must be callable, not {type(progress).__name__}")
        part = None if region is None else checked_region(region)
        async with open_body(source, self._limits) as body:
            size = body.size if part is None else part[2:]
            request = picture_request(size, format, part, model, self._limits)
            head = await self._send(request, body, sink, progress)
        picture = await to_thread.run_sync(
            open_picture, head.server.url, sink.file, head.mime, size, self._limits
        )
        if not head.is_framed:  # only decoding can tell whether it is complete
            await to_thread.run_sync(load_picture, head.server.url, picture)
        return head, picture

    async def _send(
        self,
        request: Request,
        body: RequestBody | None,
        sink: Sink,
        progress: Progress | None = None,
        retries: int | None = None,
    ) -> ResponseHead:
        total = self._timeouts.total
        state = ExchangeState(self._timeouts, progress)

        async def attempt(server: Server) -> ResponseHead:
            return await exchange(self._pool, server, request, body, sink, state)

        with anyio.move_on_after(total):
            return await self._failover.run(attempt, total, retries)
        raise state.total_timeout()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(server.url for server in self._failover.servers)})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
