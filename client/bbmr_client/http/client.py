"""The HTTP client for synchronous code: sends a container, receives a picture.

    with Client("http://127.0.0.1:8000") as client:
        picture = client.reconstruct(container)

`AsyncClient` has the code; `Client` runs it in an event loop of its own and waits.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self

from PIL import Image

from bbmr_client.http.async_client import AsyncClient
from bbmr_client.http.download import OutputFile
from bbmr_client.http.exchange import Progress
from bbmr_client.http.loop_thread import LoopThread
from bbmr_client.http.models import ModelInfo
from bbmr_client.http.response import Response, SavedResponse
from bbmr_client.http.retries import Retries
from bbmr_client.http.timeouts import Timeouts
from bbmr_client.http.tls import Tls
from bbmr_client.http.transport import Transport
from bbmr_client.http.upload import ContainerSource
from bbmr_shared.compositing.region import Region
from bbmr_shared.limits import DEFAULT_LIMITS, Limits


class Client:
    """`AsyncClient` for synchronous code, with the same arguments, results and errors. Threads may share one.

    `progress` is called in the client's own thread.
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
        self._client = AsyncClient(
            base_url, timeout, api_key=api_key, retries=retries, tls=tls, limits=limits, transport=transport
        )
        self._loop = LoopThread(self._client.close)
        weakref.finalize(self, self._loop.abandon)  # also at the end of the process

    def reconstruct(
        self,
        container: ContainerSource,
        *,
        region: Region | None = None,
        model: str | None = None,
        progress: Progress | None = None,
    ) -> Image.Image:
        """See `AsyncClient.reconstruct`."""
        work = partial(self._client.reconstruct, region=region, model=model, progress=progress)
        return self._loop.run(partial(work, container))

    def reconstruct_bytes(
        self,
        container: ContainerSource,
        format: str = "png",
        *,
        region: Region | None = None,
        model: str | None = None,
        progress: Progress | None = None,
    ) -> Response:
        """See `AsyncClient.reconstruct_bytes`."""
        work = partial(self._client.reconstruct_bytes, region=region, model=model, progress=progress)
        return self._loop.run(partial(work, container, format))

    def reconstruct_to(
        self,
        container: ContainerSource,
        target: OutputFile,
        format: str | None = None,
        *,
        region: Region | None = None,
        model: str | None = None,
        progress: Progress | None = None,
    ) -> SavedResponse:
        """See `AsyncClient.reconstruct_to`."""
        work = partial(self._client.reconstruct_to, region=region, model=model, progress=progress)
        return self._loop.run(partial(work, container, target, format))

    def models(self) -> list[ModelInfo]:
        """See `AsyncClient.models`."""
        return self._loop.run(self._client.models)

    def ready(self) -> bool:
        """See `AsyncClient.ready`."""
        return self._loop.run(self._client.ready)

    def close(self) -> None:
        """Close the connections. Leaving a `with` block does it too."""
        self._loop.close()

    def __repr__(self) -> str:
        return repr(self._client).replace("AsyncClient", "Client", 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
