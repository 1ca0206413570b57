"""One photo at one quality: its container, the reconstruction, an AVIF of at most as many bytes, figures of both.

Each is made once. The network and the search for the AVIF run side by side.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial

from fastapi import Request

from bbmr_client.encoding.encoder import encode
from bbmr_client.photo import Photo
from bbmr_server.app_state import AppState
from bbmr_server.encode_queue import IsCancelled, check_cancelled
from bbmr_server.engine import Answer, PictureRequest
from bbmr_server.errors import QueueFullError
from bbmr_server.http.parts import Emit
from bbmr_server.observability.request_notes import note_picture
from bbmr_server.routes.encode import Upload, read_photo
from bbmr_server.settings import Settings
from bbmr_shared.container import Container
from bbmr_shared.images.av1_plane import subsampling_of

from . import avif
from .figures import Figures, at_equal_bytes, facts, measured


@dataclass(frozen=True)
class _Coded:
    photo: Photo
    container: Container
    data: bytes


async def compare(
    request: Request, state: AppState, upload: Upload, quality: int, model: str, emit: Emit, end: float
) -> None:
    """Emits these parts, each as soon as it is there.

    - "step" with `step`: "waiting" (for other photos, or for the network), "encoding" (after waiting; else nothing is
      sent before the container, so that a refusal until then is an ordinary one), "restoring" or "measuring".
    - "container", with the file and its `facts`.
    - "picture", with the reconstruction as PNG, and `model`, `seconds`.
    - "avif", with the file, and `scale`, `quality`, `subsampling`, `speed`, `tune`; absent if none is so small.
    - "figures" with `bbmr` and `avif` (or null) as of `figures.measured`, and the `notes` of reading the photo. `equal`
      in `avif` is its PSNR at exactly as many bytes.

    Args:
        end: the deadline, as of `deadline_from_now`.

    Raises as `read_photo` and `Engine.reconstruct`, before or between the parts.
    """
    waits = state.photo_turn.locked()
    if waits:
        emit("step", step="waiting")
    async with state.photo_turn:
        if waits:
            emit("step", step="encoding")
        work = partial(_encode, upload.take_body(), state.settings, quality, model)
        coded = await upload.slot.run(work)
        del work
        emit("container", coded.data, facts=facts(coded.container, len(coded.data)))
        emit("step", step="restoring")
        search = asyncio.ensure_future(upload.slot.run(partial(_search, coded, quality)))
        try:
            answer = await _restore(state, coded.container, emit, end)
            state.metrics.count_picture(answer)
            note_picture(request, answer)
            emit("picture", answer.data, model=answer.model, seconds=dict(answer.seconds))
            emit("step", step="measuring")
            found = await search
        finally:
            search.cancel()
            await asyncio.gather(search, return_exceptions=True)
        ours = await upload.slot.run(partial(_measure, coded, answer))
    theirs = None
    if found is not None:
        best, theirs = found
        emit(
            "avif",
            best.data,
            scale=best.scale,
            quality=best.quality,
            subsampling=best.subsampling,
            speed=avif.SPEED,
            tune=avif.TUNE,
        )
    emit("figures", bbmr=ours, avif=theirs, notes=list(coded.photo.notes))


def _encode(body: bytes, settings: Settings, quality: int, model: str, cancelled: IsCancelled) -> _Coded:
    photo = read_photo(body, settings)
    step = partial(check_cancelled, cancelled)
    step()
    container = encode(photo, quality=quality, metadata="icc", model=model, step=step)
    step()
    return _Coded(photo, container, container.to_bytes())


async def _restore(state: AppState, container: Container, emit: Emit, end: float) -> Answer:
    """Returns the reconstruction. Waits while the engine is full: the photo is encoded already."""
    work = PictureRequest(container, "png", pixels=True)
    while True:
        try:
            return await state.engine.reconstruct(work, end - time.monotonic())
        except QueueFullError as full:
            if time.monotonic() + full.retry_after >= end:
                raise
            emit("step", step="waiting")
            await asyncio.sleep(full.retry_after)
            emit("step", step="restoring")


def _search(coded: _Coded, quality: int, cancelled: IsCancelled) -> tuple[avif.Avif, Figures] | None:
    """Returns the AVIF and its figures. Its bytes are those of the container without the alpha channel."""
    photo, alpha = coded.photo, coded.container.alpha
    size = len(coded.data) - (0 if alpha is None else len(alpha.data))
    best = avif.avif_within(
        avif.Photo(photo.rgb, photo.grey, photo.icc or b""), size, cancelled, quality, _known(coded.container)
    )
    if best is None:
        return None
    check_cancelled(cancelled)
    figures = measured(photo.rgb, best.picture, len(best.data))
    return best, figures | {"equal": at_equal_bytes(photo.rgb, best, figures, size)}


def _known(container: Container) -> avif.Known | None:
    """Returns what the plane of a container with one rate says of AVIF files."""
    plane, *others = container.planes
    if others or plane.codec != "av1" or plane.quality is None:
        return None
    return avif.Known(plane.rate, plane.quality, subsampling_of(plane.data), len(plane.data))


def _measure(coded: _Coded, answer: Answer, cancelled: IsCancelled) -> Figures:
    check_cancelled(cancelled)
    assert answer.pixels is not None
    return measured(coded.photo.rgb, answer.pixels, len(coded.data))
