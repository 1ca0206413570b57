"""How one container of many becomes a picture: by a server, on this machine, or without either.

In: a container's file, and what is wished for. Out: a `Product`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from bbmr_client.batch.file_task import Product, carry_out
from bbmr_client.batch.result import Job, Result
from bbmr_shared.compositing.region import Region, check_region
from bbmr_shared.container import Container
from bbmr_shared.errors import BbmrError, UsageError
from bbmr_shared.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from bbmr_client.http import Client

Ask = Callable[[Container, BinaryIO], object]
"""Writes the picture of a container to a file, in the format that is wished for."""


@dataclass(frozen=True)
class Wish:
    """What is asked for of every container."""

    format: str
    region: Region | None = None
    model: str | None = None

    def size(self, container: Container) -> tuple[int, int]:
        """(width, height) of the picture.

        Raises:
            UsageError: the region lies outside of it.
        """
        if self.region is None:
            return container.width, container.height
        try:
            check_region(self.region, container.width, container.height)
        except ValueError as error:
            raise UsageError(f"--region: {error}") from None
        return self.region[2], self.region[3]

    def verbatim(self, container: Container) -> bytes | None:
        """The source file itself, where the container holds it in the format wished for and all of it is wanted."""
        return None if self.region else container.source_file(self.format)


def make_picture(data: bytes, name: str, wish: Wish, ask: Ask, file: BinaryIO) -> Product:
    """The picture of the container `data`; `ask` is called unless the container holds the file that is wished for."""
    try:
        container = Container.from_bytes(data)
    except BbmrError as error:
        raise type(error)(f"{name}: {error}") from error
    width, height = wish.size(container)
    original = wish.verbatim(container)
    if original is None:
        ask(container, file)
    else:
        file.write(original)
    return Product(width, height)


class RequestHand:
    """One request in flight at a time. `client` serves many threads; what is in flight ends when it is closed."""

    def __init__(self, client: Client, wish: Wish, key: bytes) -> None:
        self._client, self._wish, self._key = client, wish, key

    def __call__(self, job: Job) -> Result:
        return reconstruct_job(job, self._key, self._wish, self._ask)

    def stop(self) -> None:
        """Closing the client ends what is in flight."""

    def _ask(self, container: Container, file: BinaryIO) -> None:
        wish = self._wish
        self._client.reconstruct_to(container, file, wish.format, region=wish.region, model=wish.model)


def reconstruct_job(job: Job, key: bytes, wish: Wish, ask: Ask) -> Result:
    """Do one job of a run."""

    def make(data: bytes, job: Job, file: BinaryIO) -> Product:
        return make_picture(data, job.source, wish, ask, file)

    return carry_out(job, key, DEFAULT_LIMITS.max_container_bytes, make)
