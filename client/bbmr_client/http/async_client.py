"""The client for asyncio, and the code of both: a container goes out, a picture comes back.

In: a container, its bytes or its file. Out: a `PIL.Image.Image`, or the answer's bytes, in memory or in a file; every
failure is a `BbmrError`. `upload` knows what is sent, `download` where the answer lands, `failover` which server is
asked, `exchange` and `answer` what one request and its answer are.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self
from warnings import warn

import anyio
from anyio import to_thread
from PIL import Image

from bbmr_client.http.download import Sink, Target, format_of, landing, memory
from bbmr_client.http.exchange import Course, Progress, Reply, exchange
from bbmr_client.http.failover import Failover
from bbmr_client.http.request import Request, Server, caution, json_request, make_servers, picture_request
from bbmr_client.http.response import Answer, Saved, load_picture, open_picture, parse_json
from bbmr_client.http.retries import Retries
from bbmr_client.http.timeouts import Timeouts
from bbmr_client.http.tls import Tls
from bbmr_client.http.transport import Connectors, Transport
from bbmr_client.http.upload import Source, Upload, open_upload
from bbmr_shared.compositing.region import Region
from bbmr_shared.errors import ServerRefusedError
from bbmr_shared.limits import DEFAULT_LIMITS, Limits


class AsyncClient:
    """Servers, asked and awaited, with asyncio.

    base_url: "http://host:port", also with a path; several: one that cannot be reached or has no time makes the next
    one be asked, and the one that worked stays the first. timeout: seconds for a whole exchange, or `Timeouts`.
    api_key: sent as a bearer token, to every one of these servers and nowhere else. retries: how many further tries,
    or `Retries`. tls: certificates. transport: a `Transport` of httpx in place of the network, for tests.

    A `Source` is a container, its bytes, the name of its file, or an open binary file, which a further try rewinds.
    progress: called with "up" or "down", the bytes so far, and those in all where they are known; it must be quick, and
    what it raises ends the exchange.

    Raises (every method):
        ServerUnreachableError, ServerTimeoutError: no connection, or no answer in time.
        ServerRefusedError: the server says why, in `.problem`.
        BadAnswerError: the answer is no picture of the right kind and size, or too large.
        FileAccessError: a file cannot be read or written.
        LimitExceededError: what is to be sent is larger than a container may be.
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
        servers = make_servers(base_url, api_key)
        self._times, self._limits = Timeouts.of(timeout), limits
        self._failover = Failover(servers, Retries.of(retries))
        self._connectors = Connectors(servers, self._times, tls, transport)
        careless = caution(servers)
        if careless:
            warn(careless, UserWarning, stacklevel=2)

    async def reconstruct(
        self,
        container: Source,
        *,
        region: Region | None = None,
        model: str | None = None,
        progress: Progress | None = None,
    ) -> Image.Image:
        """The reconstructed picture, decoded. model: weights to use; None: those that the container names."""
        sink, _ = memory()
        reply, picture = await self._picture(container, sink, "png", region, model, progress)
        return await to_thread.run_sync(load_picture, reply.server.shown, picture)

    async def reconstruct_bytes(
        self,
        container: Source,
        format: str = "png",
        *,
        region: Region | None = None,
        model: str | None = None,
        progress: Progress | None = None,
    ) -> Answer:
        """The reconstructed picture as a file in `format` (png, webp, avif, jpeg), not decoded."""
        sink, data = memory()
        reply, _ = await self._picture(container, sink, format, region, model, progress)
        return Answer(data.getvalue(), reply.mime, reply.headers, reply.server.shown)

    async def reconstruct_to(
        self,
        container: Source,
        target: Target,
        format: str | None = None,
        *,
        region: Region | None = None,
        model: str | None = None,
        progress: Progress | None = None,
    ) -> Saved:
        """Write the reconstructed picture to `target`, a name or a file opened for writing; never all of it in memory.

        format: None: what the ending of the name says. The answer goes to a temporary file beside `target`, which takes
        its place once it is whole and its header says the right format and size; until then `target` stays as it was.

        Raises:
            UsageError: the ending says no format.
        """
        form = format_of(target) if format is None else format
        async with landing(target) as sink:
            reply, picture = await self._picture(container, sink, form, region, model, progress)
            return Saved(sink.total, reply.mime, *picture.size, reply.headers, reply.server.shown)

    async def models(self) -> object:
        """What the server has loaded: the JSON of `GET /models`."""
        sink, data = memory()
        reply = await self._send(json_request("/models"), None, sink)
        return parse_json(reply.server.shown, data.getvalue())

    async def ready(self) -> bool:
        """Whether a server can work; False where they say that they cannot. Each is asked once."""
        try:
            await self._send(json_request("/readyz"), None, memory()[0], most=0)
        except ServerRefusedError:
            return False
        return True

    async def close(self) -> None:
        """Give the connections back. Leaving an `async with` block does it too."""
        await self._connectors.close()

    async def _picture(
        self,
        source: Source,
        sink: Sink,
        format: str,
        region: Region | None,
        model: str | None,
        progress: Progress | None,
    ) -> tuple[Reply, Image.Image]:
        """(the answer, its picture with only the header read)."""
        async with open_upload(source, self._limits) as upload:
            size = upload.size if region is None else region[2:]
            request = picture_request(size, format, region, model, self._limits)
            reply = await self._send(request, upload, sink, progress)
        picture = await to_thread.run_sync(
            open_picture, reply.server.shown, sink.file, reply.mime, size, self._limits
        )
        if not reply.is_framed:  # only what is in it can tell whether it is whole
            await to_thread.run_sync(load_picture, reply.server.shown, picture)
        return reply, picture

    async def _send(
        self,
        request: Request,
        upload: Upload | None,
        sink: Sink,
        progress: Progress | None = None,
        most: int | None = None,
    ) -> Reply:
        total = self._times.total
        course = Course(self._times, progress)

        async def attempt(server: Server) -> Reply:
            return await exchange(self._connectors, server, request, upload, sink, course)

        with anyio.move_on_after(total):
            return await self._failover.ask(attempt, total, most)
        raise course.too_late()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(server.shown for server in self._failover.servers)})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
