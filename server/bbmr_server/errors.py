"""What a request can be refused for beside the errors of `bbmr_shared`, as one tree.

    BbmrError
    └── RequestError
        ├── MalformedRequestError       400  it is not HTTP
        ├── UnauthorizedError           401  no API key
        ├── ForbiddenError              403  an API key that is not valid
        ├── NotAcceptableError          406  none of the types in Accept can be made
        ├── UploadTimeoutError          408  the body came too slowly
        ├── UnsupportedMediaTypeError   415  the body is declared as something else
        ├── InvalidRequestError         422  a query parameter or header cannot be used
        ├── QueueFullError              429  all places are taken
        │   └── BacklogError            429  what was accepted before takes too long
        ├── RateLimitedError            429  one key or address has sent too many requests
        ├── HeadTooLargeError           431  the request line and the headers are too long
        ├── NotReadyError               503  no working engine
        └── DeadlineError               504  not finished in time

Guarantees are those of `bbmr_shared.errors`; `headers` are added to the answer, `fields` to the problem document.
"""

from __future__ import annotations

import math

from bbmr_shared.errors import BbmrError


class RequestError(BbmrError):
    """Base of the errors that only a server has."""

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
    """Nothing that Accept allows can be made."""

    slug = "not-acceptable"
    status = 406


class UploadTimeoutError(RequestError):
    """The body was not complete in time."""

    slug = "upload-timeout"
    status = 408


class UnsupportedMediaTypeError(RequestError):
    """The body is declared as something that is no container."""

    slug = "unsupported-media-type"
    status = 415


class InvalidRequestError(RequestError):
    """A query parameter or a header has a value that cannot be used."""

    slug = "invalid-request"
    status = 422


class QueueFullError(RequestError):
    """Every place of the queue, or all memory for bodies, is taken; `retry_after` is in seconds."""

    slug = "queue-full"
    status = 429

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})
        self.retry_after = retry_after


class BacklogError(QueueFullError):
    """There is a place, but what was accepted before leaves no time to be done in."""


def wait_for(seconds: float) -> int:
    """What Retry-After says where there may be room in `seconds`: whole seconds, 1 to 60."""
    return min(60, max(1, math.ceil(seconds)))


class RateLimitedError(RequestError):
    """One key, or one address, has sent more requests than it may."""

    slug = "rate-limited"
    status = 429


class HeadTooLargeError(RequestError):
    """The request line and the headers have more bytes than are read."""

    slug = "head-too-large"
    status = 431


class NotReadyError(RequestError):
    """There is no working engine: still loading, failed, or stopping."""

    slug = "not-ready"
    status = 503

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class DeadlineError(RequestError):
    """The picture was not finished before the deadline."""

    slug = "deadline"
    status = 504
