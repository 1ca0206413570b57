"""Reconstructs one container of a run into an open file: by a server, on this machine, or by copying its source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from bbmr_client.batch.file_task import OutputInfo, carry_out
from bbmr_client.batch.result import FileTask, TaskResult
from bbmr_shared.compositing.region import Region, check_region
from bbmr_shared.container import Container
from bbmr_shared.errors import BbmrError, UsageError
from bbmr_shared.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from bbmr_client.http import Client

Reconstruct = Callable[[Container, BinaryIO], object]
"""Reconstructs a container and writes the picture, in the format of the options, to a file."""


@dataclass(frozen=True)
class ReconstructOptions:
    """The picture that every container becomes. model: None leaves the choice to the container."""

    format: str
    region: Region | None = None
    model: str | None = None

    def size(self, container: Container) -> tuple[int, int]:
        """Returns (width, height) of the picture.

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

    def source_file(self, container: Container) -> bytes | None:
        """Returns the photo's own file, if the container carries it in this format and no region is wanted."""
        return None if self.region else container.source_file(self.format)


def write_picture(
    data: bytes, name: str, options: ReconstructOptions, reconstruct: Reconstruct, file: BinaryIO
) -> OutputInfo:
    """Write the picture of the container `data`. `reconstruct` is not called if the container carries that file."""
    try:
        container = Container.from_bytes(data)
    except BbmrError as error:
        raise type(error)(f"{name}: {error}") from error
    width, height = options.size(container)
    source_file = options.source_file(container)
    if source_file is None:
        reconstruct(container, file)
    else:
        file.write(source_file)
    return OutputInfo(width, height)


def reconstruct_task(
    task: FileTask, key: bytes, options: ReconstructOptions, reconstruct: Reconstruct
) -> TaskResult:
    """Do one task of a run. key: from `recipe_key`."""

    def make(data: bytes, task: FileTask, file: BinaryIO) -> OutputInfo:
        return write_picture(data, task.source, options, reconstruct, file)

    return carry_out(task, key, DEFAULT_LIMITS.max_container_bytes, make)


class RequestWorker:
    """Keeps one request in flight. Several workers share `client`, whose closing ends their requests."""

    def __init__(self, client: Client, options: ReconstructOptions, key: bytes) -> None:
        self._client, self._options, self._key = client, options, key

    def __call__(self, task: FileTask) -> TaskResult:
        return reconstruct_task(task, self._key, self._options, self._reconstruct)

    def stop(self) -> None:
        """Does nothing: closing the client ends the request."""

    def _reconstruct(self, container: Container, file: BinaryIO) -> None:
        options = self._options
        self._client.reconstruct_to(
            container, file, options.format, region=options.region, model=options.model
        )
