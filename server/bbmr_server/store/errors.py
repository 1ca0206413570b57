"""What only the store refuses, or cannot do. The tree of `bbmr_server.errors` goes on here.

RequestError
├── NotFoundError               404  the store is off, or has no such container
├── RangeError                  416  the range is outside the container
├── DamagedContainerError       500  what was kept has changed since
├── StoreUnavailableError       503  the disk or the service behind the store fails
└── InsufficientStorageError    507  the store is full
"""

from __future__ import annotations

from bbmr_server.errors import RequestError


class NotFoundError(RequestError):
    """The store is off, or there is no such container in it."""

    slug = "not-found"
    status = 404


class RangeError(RequestError):
    """No byte of the range that was asked for is in the container of `size` bytes."""

    slug = "range-not-satisfiable"
    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(
            f"the container has {size} bytes; the range begins after them",
            headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
        )


class DamagedContainerError(RequestError):
    """A stored container is not what was accepted under its digest; nothing is made of it."""

    slug = "damaged-container"
    status = 500


class StoreUnavailableError(RequestError):
    """The store's disk or service failed or did not answer in time; nothing is kept in part."""

    slug = "store-unavailable"
    status = 503

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class InsufficientStorageError(RequestError):
    """There is no room: the store has reached its bound, or its disk is full. What is kept stays."""

    slug = "insufficient-storage"
    status = 507
