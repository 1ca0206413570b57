"""The HTTP service that turns containers back into photos.

`create_app(settings, engine)` makes the FastAPI application; `bbmr-server` (`main.py`) runs it under uvicorn.
Importing the package alone needs neither torch nor FastAPI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from .engine import Engine
    from .settings import Settings

__all__ = ["create_app"]


def create_app(settings: Settings | None = None, engine: Engine | None = None) -> FastAPI:
    """Returns a whole server as an ASGI application; see `bbmr_server.app.create_app`."""
    from .app import create_app as create

    return create(settings, engine)
