"""Swaps weights while the server runs: a route for operators, and SIGHUP.

The route is off (404) unless BBMR_ADMIN_KEYS is set. SIGHUP needs no key: only the owner of the process can send it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from starlette.exceptions import HTTPException

from bbmr_server.app_state import AppState, get_state
from bbmr_server.engine.interface import EngineLike
from bbmr_server.errors import InvalidRequestError
from bbmr_server.http import openapi
from bbmr_shared.errors import BbmrError

log = logging.getLogger("bbmr_server")
router = APIRouter()

MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


@router.post("/admin/models/{name}", responses=openapi.refusals(401, 403, 404, 422, 503))
async def swap_model(
    request: Request,
    state: Annotated[AppState, Depends(get_state)],
    name: Annotated[
        str,
        Path(
            description="Weights, shipped or in BBMR_MODEL_DIR.",
            json_schema_extra={"pattern": f"^{MODEL_NAME}$"},
        ),
    ],
) -> dict[str, Any]:
    """Read weights again (or for the first time), try them, and serve them from then on; answers their card.

    Requests that were accepted before are finished with the old weights. If the new ones cannot be used, the old ones
    stay.
    """
    if not len(state.admin_keys):
        raise HTTPException(404)
    state.admin_keys.check(request.headers)
    if not re.fullmatch(MODEL_NAME, name):  # only now: while the route is off, every name gets 404
        message = "is letters, digits, - and _, 64 at most"
        raise InvalidRequestError(
            f"name: {message}", fields={"errors": [{"field": "name", "message": message}]}
        )
    return {"name": name, **await state.engine.swap(name)}


async def reload_all(engine: EngineLike) -> None:
    """Read the file of every served model again. A failure is logged, and the old weights stay."""
    for name in engine.models:
        try:
            await engine.swap(name)
        except BbmrError as error:
            log.error("the weights '%s' were not swapped: %s", name, error)


def reload_on_hangup(engine: EngineLike) -> None:
    """Make SIGHUP swap all weights, if the system has that signal and this is the main thread's event loop."""
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(reload_all(engine))
        running.add(task)
        task.add_done_callback(running.discard)

    try:
        loop.add_signal_handler(signal.SIGHUP, reload)
    except (
        AttributeError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ):  # no such signal, or another thread
        log.debug("SIGHUP does not swap weights here")
