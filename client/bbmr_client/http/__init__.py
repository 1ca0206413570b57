"""The HTTP client: sends containers to servers and receives pictures.

Names are loaded when they are first used, so that importing one light submodule does not load numpy and Pillow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bbmr_shared.lazy import lazy_names

if TYPE_CHECKING:
    from .async_client import AsyncClient
    from .client import Client

__all__ = ["AsyncClient", "Client"]

_MODULE_OF = {"Client": ".client", "AsyncClient": ".async_client"}

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
