"""`GET /` when the page is turned off: one plain page without scripts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import HTMLResponse

from bbmr_server.app_state import AppState, get_state
from bbmr_server.routes import pages

router = APIRouter()


@router.get("/", response_class=HTMLResponse)
async def index(state: Annotated[AppState, Depends(get_state)]) -> HTMLResponse:
    """What this server is."""
    return HTMLResponse(pages.index_page(list(state.engine.models)), headers=pages.HEADERS)


router.add_api_route("/", index, methods=["HEAD"], include_in_schema=False)
