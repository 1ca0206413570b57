"""What a visitor and a photo are given: the page at `/` with its files, `POST /encode`, and what the page asks for.

In: the settings. Out: the routers of an app; `POST /encode` is always there, the page unless `BBMR_PAGE` is off.
"""

from __future__ import annotations

from fastapi import APIRouter

from bbmr_server.settings import Settings


def routers(settings: Settings) -> list[APIRouter]:
    """The routers that `settings` ask for."""
    from bbmr_server.routes import encode

    from . import files, measure, plain

    shown = [files.router, measure.router] if settings.page.enabled else [plain.router]
    return [encode.router, *shown]
