"""`POST /encode`: makes a container of a photo with the client's code. Also what all routes share that take photos."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from bbmr_client.encoding.budget import (
    GREATEST_PSNR,
    LEAST_PSNR,
    MOST_BPP,
    MOST_BYTES,
    check_one_budget,
)
from bbmr_client.encoding.encoder import encode
from bbmr_client.photo import Photo, load_photo
from bbmr_server.app_state import AppState, get_state
from bbmr_server.encode_queue import IsCancelled, Slot, check_cancelled
from bbmr_server.errors import UnsupportedMediaTypeError
from bbmr_server.http import openapi
from bbmr_server.http.body import BodyShare, CountedResponse
from bbmr_server.settings import Settings
from bbmr_shared.container import MEDIA_TYPE
from bbmr_shared.errors import PictureError
from bbmr_shared.limits import Limits

from .reconstruct import NO_STORE, check_not_compressed, deadline_from_now, within_deadline

router = APIRouter()

_DECODER_DETAIL = re.compile(r"(the photo is (?:damaged or cut short|a damaged [^:]+ file)): .*")
"""A decoder's own words about damage ("11 bytes not processed") do not help a client."""


@dataclass
class Upload:
    """A body that has come in, its slot in the encode queue, and where its bytes are counted."""

    body: bytes
    slot: Slot
    share: BodyShare

    def take_body(self) -> bytes:
        """Returns the body and drops the reference to it, so that the caller can free it."""
        body, self.body = self.body, b""
        return body


def photo_limits(settings: Settings) -> Limits:
    """Returns the limits of a photo: encoding takes memory for each pixel."""
    return replace(
        settings.limits,
        max_photo_bytes=settings.http.max_body_bytes,
        max_pixels=min(settings.http.max_pixels, settings.page.encode_pixels),
    )


def read_photo(data: bytes, settings: Settings) -> Photo:
    """Returns the photo in `data`. Raises `PictureError`, `LimitExceededError`."""
    try:
        return load_photo(data, photo_limits(settings), "the photo")
    except PictureError as error:
        raise PictureError(_DECODER_DETAIL.sub(r"\1", str(error))) from error


def admit(request: Request, state: Annotated[AppState, Depends(get_state)]) -> AppState:
    """Refuse the request if its headers alone are reason enough."""
    state.keys.check(request.headers)
    declared = request.headers.get("content-type", "")
    kind = declared.partition(";")[0].strip().lower()
    if not kind.startswith("image/") and kind != "application/octet-stream":
        raise UnsupportedMediaTypeError(
            f"the body is declared as {kind[:80] or 'nothing'}; send a photo as image/jpeg, image/png, … "
            "or application/octet-stream",
            headers={"Accept-Post": "image/*, application/octet-stream"},
        )
    check_not_compressed(request)
    return state


@asynccontextmanager
async def uploaded(request: Request, state: AppState) -> AsyncIterator[Upload]:
    """Returns the body and a slot in the encode queue. If no slot is free, the body is not read.

    Raises:
        QueueFullError, LimitExceededError, UploadTimeoutError
    """
    state.encode_queue.check_room()
    with state.bodies.share() as share:
        body = await state.read_body(request, share)
        with state.encode_queue.slot() as slot:
            upload = Upload(body, slot, share)
            del body
            yield upload


@router.post(
    "/encode", response_class=Response, responses=openapi.ENCODE_ANSWER, openapi_extra=openapi.ENCODE_BODY
)
async def encode_photo(
    request: Request,
    state: Annotated[AppState, Depends(admit)],
    quality: Annotated[int | None, Query(ge=0, le=100, description="The quality, on AVIF's scale.")] = None,
    bpp: Annotated[
        float | None,
        Query(gt=0, le=MOST_BPP, allow_inf_nan=False, description="At most so many bits per pixel."),
    ] = None,
    max_bytes: Annotated[int | None, Query(ge=1, le=MOST_BYTES, description="At most so many bytes.")] = None,
    target_psnr: Annotated[
        float | None,
        Query(
            ge=LEAST_PSNR,
            le=GREATEST_PSNR,
            allow_inf_nan=False,
            description="dB over RGB that the preview reaches.",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        Query(ge=1, le=16, allow_inf_nan=False, description="Lossless planes with 1/rate² of the pixels."),
    ] = None,
    metadata: Annotated[
        Literal["all", "icc", "none"],
        Query(description="What is kept beside the pixels: everything, the colour profile, nothing."),
    ] = "all",
    model: Annotated[
        str | None,
        Query(min_length=1, max_length=64, description="Weights to encode for; without it the default."),
    ] = None,
) -> Response:
    """Turn a photo into a container, as `bbmr-client encode` does: with at most one of the first five parameters."""
    budget: dict[str, Any] = {
        "quality": quality,
        "bpp": bpp,
        "max_bytes": max_bytes,
        "target_psnr": target_psnr,
        "rate": rate,
    }
    check_one_budget(budget)
    if model is not None:
        state.engine.check_model(model)
    name = model or state.engine.models[0]
    settings = state.settings

    async with uploaded(request, state) as upload:

        def work(cancelled: IsCancelled) -> tuple[bytes, tuple[int, int]]:
            photo = read_photo(upload.body, settings)
            check_cancelled(cancelled)
            container = encode(
                photo, **budget, metadata=metadata, model=name, step=partial(check_cancelled, cancelled)
            )
            check_cancelled(cancelled)
            return container.to_bytes(), (container.width, container.height)

        began = time.perf_counter()
        data, (width, height) = await within_deadline(
            request, upload.slot.run(work), deadline_from_now(state)
        )
    headers = {
        "BBMR-Model": name,
        "BBMR-Width": str(width),
        "BBMR-Height": str(height),
        "Server-Timing": f"photo;dur={(time.perf_counter() - began) * 1000:.1f}",
        "Content-Disposition": 'attachment; filename="photo.bbmr"',
        "X-Content-Type-Options": "nosniff",
        **NO_STORE,
    }
    return CountedResponse(data, state.bodies, media_type=MEDIA_TYPE, headers=headers)
