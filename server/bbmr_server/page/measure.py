"""Routes under `/page/` that only the page uses: limits, facts about a container, photos as PNG, comparisons.

They are stateless. They change with the page, so they are not in the OpenAPI document.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from PIL import Image
from starlette.responses import JSONResponse, Response

from bbmr_client.encoding.budget import DEFAULT_QUALITY
from bbmr_client.reports.ratemap import RATE_COLOURS
from bbmr_server.app_state import AppState, get_state
from bbmr_server.encode_queue import IsCancelled, check_cancelled
from bbmr_server.http.body import CountedResponse
from bbmr_server.http.parts import Emit, PartsResponse
from bbmr_server.routes.encode import admit, photo_limits, read_photo, uploaded
from bbmr_server.routes.reconstruct import NO_STORE, deadline_from_now, within_deadline
from bbmr_shared.images.output import encode_picture
from bbmr_shared.release import release

from .comparison import compare
from .figures import facts

router = APIRouter(prefix="/page", include_in_schema=False)


@router.get("/limits")
async def limits(state: Annotated[AppState, Depends(get_state)]) -> JSONResponse:
    """What the page must know before it sends anything: limits and rates."""
    settings = state.settings
    document = {
        "version": release(),
        "max_body_bytes": settings.http.max_body_bytes,
        "max_photo_pixels": photo_limits(settings).max_pixels,
        "max_side": settings.limits.max_side,
        "rates": [
            {"rate": rate, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
            for rate, colour in RATE_COLOURS.items()
        ],
    }
    return JSONResponse(document, headers=NO_STORE)


@router.post("/facts")
async def container_facts(request: Request, state: Annotated[AppState, Depends(admit)]) -> JSONResponse:
    """What the container in the body holds: see `figures.facts`."""
    async with uploaded(request, state) as upload:
        container = await state.read_container(upload.body, upload.share)
        return JSONResponse(facts(container, len(upload.body)), headers=NO_STORE)


@router.post("/photo")
async def photo_as_png(request: Request, state: Annotated[AppState, Depends(admit)]) -> Response:
    """The photo in the body as an upright PNG, for browsers that cannot show its format."""
    async with uploaded(request, state) as upload:

        def work(cancelled: IsCancelled) -> bytes:
            photo = read_photo(upload.body, state.settings)
            check_cancelled(cancelled)
            picture = Image.fromarray(photo.rgb)
            if photo.alpha is not None:
                picture.putalpha(Image.fromarray(photo.alpha))
            if photo.icc:
                picture.info["icc_profile"] = photo.icc
            return encode_picture(picture, "png")

        data = await within_deadline(request, upload.slot.run(work), deadline_from_now(state))
    return CountedResponse(data, state.bodies, media_type="image/png", headers=dict(NO_STORE))


@router.post("/compare")
async def compare_with_avif(
    request: Request,
    state: Annotated[AppState, Depends(admit)],
    quality: Annotated[int, Query(ge=0, le=100)] = DEFAULT_QUALITY,
    model: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
) -> Response:
    """What the page shows of the photo in the body: the parts of `comparison.compare`."""
    state.engine.check_ready()
    if model is not None:
        state.engine.check_model(model)
    name = model or state.engine.models[0]

    async def work(emit: Emit) -> None:
        async with uploaded(request, state) as upload:
            end = deadline_from_now(state)
            await within_deadline(request, compare(request, state, upload, quality, name, emit, end), end)

    return PartsResponse(request, state.bodies, work)
