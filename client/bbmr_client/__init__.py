"""The client: encodes photos into containers, and has servers reconstruct pictures from them. Does not need torch.

    import bbmr_client

    container = bbmr_client.encode("photo.jpg", rate=4)
    with bbmr_client.Client("http://127.0.0.1:8000") as client:
        picture = client.reconstruct(container)

Names are loaded when they are first used, so `import bbmr_client` loads nothing else. docs/python.md describes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bbmr_shared.lazy import lazy_names

if TYPE_CHECKING:
    from bbmr_client.encoding.encoder import encode
    from bbmr_client.files import FileAccessError
    from bbmr_client.http.async_client import AsyncClient
    from bbmr_client.http.client import Client
    from bbmr_client.http.models import ModelInfo
    from bbmr_client.http.response import Response, SavedResponse
    from bbmr_client.http.retries import Retries
    from bbmr_client.http.timeouts import Timeouts
    from bbmr_client.http.tls import Tls
    from bbmr_client.photo.photo import Photo, load_photo
    from bbmr_shared.container import Container
    from bbmr_shared.errors import (
        BadAnswerError,
        BbmrError,
        ContainerError,
        DigestMismatchError,
        IncompatibleModelError,
        InvalidArgumentError,
        LimitExceededError,
        MalformedContainerError,
        ModelError,
        NotAContainerError,
        PictureError,
        PlaneError,
        ServerRefusedError,
        ServerTimeoutError,
        ServerUnreachableError,
        ServiceError,
        TruncatedContainerError,
        UnknownModelError,
        UnsupportedContainerError,
        UsageError,
        WeightsError,
    )
    from bbmr_shared.limits import DEFAULT_LIMITS, Limits

    __version__: str

__all__ = [
    "DEFAULT_LIMITS",
    "AsyncClient",
    "BadAnswerError",
    "BbmrError",
    "Client",
    "Container",
    "ContainerError",
    "DigestMismatchError",
    "FileAccessError",
    "IncompatibleModelError",
    "InvalidArgumentError",
    "LimitExceededError",
    "Limits",
    "MalformedContainerError",
    "ModelError",
    "ModelInfo",
    "NotAContainerError",
    "Photo",
    "PictureError",
    "PlaneError",
    "Response",
    "Retries",
    "SavedResponse",
    "ServerRefusedError",
    "ServerTimeoutError",
    "ServerUnreachableError",
    "ServiceError",
    "Timeouts",
    "Tls",
    "TruncatedContainerError",
    "UnknownModelError",
    "UnsupportedContainerError",
    "UsageError",
    "WeightsError",
    "__version__",
    "encode",
    "load_photo",
]

_MODULE_OF = {
    **dict.fromkeys(__all__, "bbmr_shared.errors"),
    "AsyncClient": "bbmr_client.http.async_client",
    "Client": "bbmr_client.http.client",
    "Container": "bbmr_shared.container",
    "DEFAULT_LIMITS": "bbmr_shared.limits",
    "FileAccessError": "bbmr_client.files",
    "Limits": "bbmr_shared.limits",
    "ModelInfo": "bbmr_client.http.models",
    "Photo": "bbmr_client.photo.photo",
    "Response": "bbmr_client.http.response",
    "Retries": "bbmr_client.http.retries",
    "SavedResponse": "bbmr_client.http.response",
    "Timeouts": "bbmr_client.http.timeouts",
    "Tls": "bbmr_client.http.tls",
    "__version__": "bbmr_shared.release",
    "encode": "bbmr_client.encoding.encoder",
    "load_photo": "bbmr_client.photo.photo",
}
"""The names that are not listed are errors."""

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
