"""The client: photo → container (Downscaling Module), container → photo (over HTTP). It never needs torch.

    import bbmr_client

    container = bbmr_client.encode("photo.jpg", rate=4)
    with bbmr_client.Client("http://127.0.0.1:8000") as client:
        picture = client.reconstruct(container)

Names are loaded when they are first used, so `import bbmr_client` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bbmr_client.encoding.encoder import encode
    from bbmr_client.http import AsyncClient, Client
    from bbmr_client.http.retries import Retries
    from bbmr_client.http.timeouts import Timeouts
    from bbmr_client.http.tls import Tls
    from bbmr_client.photo import Photo, load_photo

__all__ = ["AsyncClient", "Client", "Photo", "Retries", "Timeouts", "Tls", "encode", "load_photo"]

_HOMES = {
    "AsyncClient": "bbmr_client.http.client",
    "Client": "bbmr_client.http.client",
    "Photo": "bbmr_client.photo.photo",
    "Retries": "bbmr_client.http.retries",
    "Timeouts": "bbmr_client.http.timeouts",
    "Tls": "bbmr_client.http.tls",
    "encode": "bbmr_client.encoding.encoder",
    "load_photo": "bbmr_client.photo.photo",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'bbmr_client' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
