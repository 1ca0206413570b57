"""The page at `/` with its files, and the routes that only the page uses."""

from __future__ import annotations

from fastapi import APIRouter

from bbmr_server.routes import encode
from bbmr_server.settings import Settings

from . import files, measure, plain


def routers(settings: Settings) -> list[APIRouter]:
    """Returns the routers of `POST /encode` and of the page; with BBMR_PAGE off, of a plain page instead."""
    shown = [files.router, measure.router] if settings.page.enabled else [plain.router]
    return [encode.router, *shown]
