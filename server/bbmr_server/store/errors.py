"""The store's own errors. They continue the tree of `bbmr_server.errors`.

RequestError
├── NotFoundError               404  the store is off, or has no such container
├── DamagedContainerError       500  the stored bytes have changed
├── StoreUnavailableError       503  the disk or the service behind the store fails
└── InsufficientStorageError    507  the store is full
"""

from __future__ import annotations

from bbmr_server.errors import RequestError


class NotFoundError(RequestError):
    """The store is off, or does not have this container."""

    slug = "not-found"
    status = 404


class DamagedContainerError(RequestError):
    """The stored bytes are not those that were accepted under this digest. No picture is made of them."""

    slug = "damaged-container"
    status = 500


class StoreUnavailableError(RequestError):
    """The store's disk or service failed or did not answer in time. Nothing is stored in part."""

    slug = "store-unavailable"
    status = 503

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class InsufficientStorageError(RequestError):
    """The store has reached its limit, or its disk is full. What is stored stays."""

    slug = "insufficient-storage"
    status = 507
