"""Routes under `/page/` that only the page uses: limits, facts about a container, figures, photos as PNG.

They are stateless. They change with the page, so they are not in the OpenAPI document.
"""

from __future__ import annotations

import io
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from PIL import Image, PngImagePlugin
from starlette.responses import JSONResponse, Response

from bbmr_client.reports.ratemap import RATE_COLOURS
from bbmr_server.app_state import AppState, get_state
from bbmr_server.encode_queue import IsCancelled, check_cancelled
from bbmr_server.engine import PictureRequest
from bbmr_server.http.body import CountedResponse
from bbmr_server.routes.encode import Upload, admit, photo_limits, read_photo, uploaded
from bbmr_server.routes.reconstruct import NO_STORE, deadline_from_now, within_deadline
from bbmr_shared.container import Container
from bbmr_shared.errors import UsageError
from bbmr_shared.images.output import encode_picture
from bbmr_shared.release import release

from .figures import comparison, facts

router = APIRouter(prefix="/page", include_in_schema=False)


@router.get("/limits")
async def limits(state: Annotated[AppState, Depends(get_state)]) -> JSONResponse:
    """The limits and rates that the page must know before it sends anything."""
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
async def compare(
    request: Request,
    state: Annotated[AppState, Depends(admit)],
    container: Annotated[int, Query(ge=1, description="Size of the container in the body.")],
    model: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
) -> JSONResponse:
    """The figures of a container and of other codecs, measured against its photo: see `figures.comparison`.

    Body: the container, directly followed by the photo's file.
    """
    state.engine.check_ready()
    if model is not None:
        state.engine.check_model(model)
    async with uploaded(request, state) as upload:
        found = await within_deadline(
            request, _compare(state, upload, container, model), deadline_from_now(state)
        )
    return JSONResponse(found, headers=NO_STORE)


async def _compare(state: AppState, upload: Upload, length: int, model: str | None) -> dict[str, Any]:
    if length >= len(upload.body):
        raise UsageError(f"there is no photo after the {length} bytes of the container")
    body = upload.take_body()
    container = await state.read_container(memoryview(body)[:length], upload.share)
    photo_file = body[length:]
    del body  # so that both are in memory only once
    photo_limits(state.settings).check_dimensions(container.width, container.height)
    answer = await state.engine.reconstruct(
        PictureRequest(container, "png", model=model), state.settings.http.deadline_s
    )
    state.metrics.count_picture(answer)
    upload.share.hold(len(answer.data))

    def work(cancelled: IsCancelled) -> dict[str, Any]:
        photo = read_photo(photo_file, state.settings)
        if (photo.width, photo.height) != (container.width, container.height):
            raise UsageError(
                f"the photo has {photo.width}×{photo.height} pixels, the container "
                f"{container.width}×{container.height}: it was made from another photo"
            )
        check_cancelled(cancelled)
        picture = _decoded(answer.data, container)
        found = comparison(photo.rgb, picture, container, length, cancelled)
        return {**found, "model": answer.model, "notes": list(photo.notes)}

    return await upload.slot.run(work)


def _decoded(data: bytes, container: Container) -> np.ndarray:
    picture = PngImagePlugin.PngImageFile(io.BytesIO(data))  # made by this server, of a size that was checked
    assert picture.size == (container.width, container.height)
    return np.asarray(picture.convert("RGB"))
