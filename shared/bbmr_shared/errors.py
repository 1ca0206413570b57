"""Every error of the project, as one tree.

    BbmrError
    ├── UsageError                    an option or a combination of options is wrong
    │   └── InvalidArgumentError          an argument of a function is wrong; it is a ValueError, too
    ├── PictureError                  the input is not a readable picture
    ├── LimitExceededError            a declared or real size is over a limit
    ├── ContainerError                the bytes are no readable container
    │   ├── NotAContainerError            the signature is missing
    │   ├── TruncatedContainerError       the end is missing
    │   ├── DigestMismatchError           the bytes were changed after writing
    │   ├── MalformedContainerError       the structure breaks the specification
    │   ├── PlaneError                    a plane is not the picture its entry declares
    │   └── UnsupportedContainerError     well-formed, but with a version, codec or field not known here
    ├── ModelError                    the network cannot do it
    │   ├── UnknownModelError             no weights of that name
    │   ├── IncompatibleModelError        these weights cannot read this container
    │   └── WeightsError                  the weights are missing or damaged
    └── ServiceError                  what went wrong between a client and a server
        ├── ServerUnreachableError        no connection
        ├── ServerTimeoutError            no answer in time
        ├── BadAnswerError                an answer that is not what the interface promises
        └── ServerRefusedError            a problem document (RFC 9457)

`str(error)` is one public line that says what is wrong and, where something can be done, what to do. `slug` never
changes once released: the `type` of a problem document is "urn:bbmr:problem:" + slug. `status` is the HTTP status that
a server answers with.

Of these only `InvalidArgumentError` and `MalformedContainerError` are also a `ValueError`: their functions raised
`ValueError` before there was this tree. `UsageError` itself is none, because code that catches the `ValueError` of a
library around it would then hide it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

PROBLEM_PREFIX = "urn:bbmr:problem:"


def one_line(error: BaseException) -> str:
    """Returns the message of a foreign exception as one line of at most 160 characters."""
    return " ".join(str(error).split())[:160] or type(error).__name__


class BbmrError(Exception):
    """Base of every error of this project."""

    slug: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    @property
    def problem_type(self) -> str:
        """The `type` of the problem document for this error."""
        return PROBLEM_PREFIX + self.slug


class UsageError(BbmrError):
    """An option or a combination of options is wrong; the command line exits with status 2."""

    slug = "usage"
    status = 422


class InvalidArgumentError(UsageError, ValueError):
    """An argument of a function is out of its range or of the wrong type (a region, the size of a grid)."""


class PictureError(BbmrError):
    """The input is no picture, is truncated, or cannot be read."""

    slug = "unreadable-picture"
    status = 400


class LimitExceededError(BbmrError):
    """A size, declared or real, is over a limit; nothing was decoded."""

    slug = "too-large"
    status = 413


class ContainerError(BbmrError):
    """The bytes are no container that can be read."""

    slug = "unreadable-container"
    status = 400


class NotAContainerError(ContainerError):
    """The signature is missing or damaged."""


class TruncatedContainerError(ContainerError):
    """The file ends before its header says it does."""


class DigestMismatchError(ContainerError):
    """The file or a plane was changed after it was written."""


class MalformedContainerError(ContainerError, ValueError):
    """The structure or a value breaks the specification."""


class PlaneError(ContainerError):
    """A plane or the alpha channel is not the picture that its entry declares, or does not decode."""


class UnsupportedContainerError(ContainerError):
    """The container has a version, a codec or a critical field that this release does not know."""

    slug = "unsupported-container"
    status = 422


class ModelError(BbmrError):
    """The network cannot do what was asked."""

    slug = "model"


class UnknownModelError(ModelError):
    """No weights have that name."""

    slug = "unknown-model"
    status = 422


class IncompatibleModelError(ModelError):
    """These weights cannot read this container."""

    slug = "incompatible-model"
    status = 422


class WeightsError(ModelError):
    """The weights are missing, damaged or of another architecture."""

    slug = "weights"
    status = 422


class ServiceError(BbmrError):
    """A client got no picture from a server; the command line exits with status 1."""

    slug = "service"
    status = 502


class ServerUnreachableError(ServiceError):
    """There is no connection to the server."""

    slug = "server-unreachable"


class ServerTimeoutError(ServiceError):
    """The server did not answer in time."""

    slug = "server-timeout"
    status = 504


class BadAnswerError(ServiceError):
    """The answer is not what the HTTP interface promises (another service, a proxy's page)."""

    slug = "bad-answer"


class ServerRefusedError(ServiceError):
    """The server answered with a problem document.

    `problem` is that document, which may be empty; `status_code` is the HTTP status of the answer.
    """

    slug = "server-refused"

    def __init__(
        self, message: str, *, problem: Mapping[str, object] | None = None, status_code: int = 0
    ) -> None:
        super().__init__(message)
        self.problem: dict[str, object] = dict(problem or {})
        self.status_code = status_code
