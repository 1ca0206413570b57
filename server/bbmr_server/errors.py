"""The errors of requests, beside those of `bbmr_shared.errors`.

    BbmrError
    └── RequestError
        ├── MalformedRequestError       400  the request is not HTTP
        ├── UnauthorizedError           401  no API key
        ├── ForbiddenError              403  an API key that is not valid
        ├── NotAcceptableError          406  none of the types in Accept can be made
        ├── UploadTimeoutError          408  the body came too slowly
        ├── UnsupportedMediaTypeError   415  the body has another media type
        ├── RangeError                  416  the range is outside the container
        ├── InvalidRequestError         422  a query parameter or header is bad
        ├── QueueFullError              429  the queue is full
        │   └── BacklogError            429  the accepted requests take too long
        ├── RateLimitedError            429  a key or address sends too many requests
        ├── HeadTooLargeError           431  the request line and the headers are too long
        ├── NotReadyError               503  no working engine
        └── DeadlineError               504  the picture took too long

`store.errors` has those of the store. The guarantees are those of `bbmr_shared.errors`; `headers` are added to the
answer and `fields` to the problem document.
"""

from __future__ import annotations

import math

from bbmr_shared.errors import BbmrError


class RequestError(BbmrError):
    """Base of the errors that only a server raises."""

    def __init__(
        self, message: str, *, headers: dict[str, str] | None = None, fields: dict[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.headers = headers or {}
        self.fields = fields or {}


class MalformedRequestError(RequestError):
    """The request, or the framing of its body, breaks RFC 9112."""

    slug = "malformed-request"
    status = 400


class UnauthorizedError(RequestError):
    """The route needs an API key and the request has none."""

    slug = "unauthorized"
    status = 401


class ForbiddenError(RequestError):
    """The API key of the request is not one of the server's."""

    slug = "forbidden"
    status = 403


class NotAcceptableError(RequestError):
    """The server can make no media type that Accept allows."""

    slug = "not-acceptable"
    status = 406


class UploadTimeoutError(RequestError):
    """The body did not arrive in time."""

    slug = "upload-timeout"
    status = 408


class UnsupportedMediaTypeError(RequestError):
    """The Content-Type, or the Content-Encoding, of the body is not accepted."""

    slug = "unsupported-media-type"
    status = 415


class RangeError(RequestError):
    """The requested range begins after the end of the container of `size` bytes."""

    slug = "range-not-satisfiable"
    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(
            f"the container has {size} bytes; the range begins after them",
            headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
        )


class InvalidRequestError(RequestError):
    """A query parameter or a header has a bad value."""

    slug = "invalid-request"
    status = 422


class QueueFullError(RequestError):
    """The queue, or the memory for bodies, is full; `retry_after` is in seconds.

    Raised by the engine (`Engine`, `RemoteEngine`), by `EncodeQueue` for photos, and by `BodyShare` for bodies.
    """

    slug = "queue-full"
    status = 429

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})
        self.retry_after = retry_after


class BacklogError(QueueFullError):
    """The queue has room, but the requests before this one would take too long. Raised by the engine."""


def wait_for(seconds: float) -> int:
    """Returns the value of Retry-After if there may be room in `seconds`: whole seconds, 1 to 60."""
    return min(60, max(1, math.ceil(seconds)))


class RateLimitedError(RequestError):
    """A key or an address has sent more requests than the rate limit allows."""

    slug = "rate-limited"
    status = 429


class HeadTooLargeError(RequestError):
    """The request line and the headers are longer than the server reads."""

    slug = "head-too-large"
    status = 431


class NotReadyError(RequestError):
    """The engine does not work: it is loading, has failed, or stops."""

    slug = "not-ready"
    status = 503

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class DeadlineError(RequestError):
    """The picture was not finished before the deadline."""

    slug = "deadline"
    status = 504
