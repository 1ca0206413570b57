"""`POST /reconstruct`, and what all routes share that answer with a picture."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from bbmr_server.app_state import AppState, get_state
from bbmr_server.engine import STAGES, Answer, PictureRequest
from bbmr_server.errors import DeadlineError, UnsupportedMediaTypeError
from bbmr_server.http import openapi
from bbmr_server.http.body import CountedResponse
from bbmr_server.http.negotiation import choose_format
from bbmr_server.http.query import Format, PictureQuery, picture_query
from bbmr_server.observability.request_notes import note_picture
from bbmr_shared.compositing.thumbnail import fitted
from bbmr_shared.container import Container
from bbmr_shared.images.output import OUTPUT_FORMATS

router = APIRouter()
T = TypeVar("T")

MIMES = {name: form.mime for name, form in OUTPUT_FORMATS.items()}
NO_STORE = {"Cache-Control": "no-store"}


def _admit(request: Request, state: Annotated[AppState, Depends(get_state)]) -> None:
    """Refuse the request if its head alone is reason enough."""
    state.keys.check(request.headers)
    check_body_type(request)
    if "format" not in request.query_params:
        choose_format(accept_of(request), MIMES)


@router.post(
    "/reconstruct",
    response_class=Response,
    responses=openapi.RECONSTRUCT_ANSWER,
    openapi_extra=openapi.RECONSTRUCT_BODY,
    dependencies=[Depends(_admit)],
)
async def reconstruct(
    request: Request,
    state: Annotated[AppState, Depends(get_state)],
    query: Annotated[PictureQuery, Depends(picture_query)],
    format: Format = None,
) -> Response:
    """Turn a container into a picture of the type that `format` or Accept asks for (PNG by default)."""
    engine = state.engine
    engine.check_ready()
    if query.model is not None:
        engine.check_model(query.model)
    with state.bodies.share() as share:
        body = await state.read_body(request, share)
        end = deadline_from_now(state)
        container = await within_deadline(request, state.read_container(body, share), end)
        del body  # the container has copies of its planes: only one of the two stays in memory
        form = format_for_accept(MIMES[format] if format else accept_of(request), container, query)
        answer = await make_picture(request, state, container, form, query, end)
    return picture_response(state, answer, form, NO_STORE)


def accept_of(request: Request) -> str:
    """Returns all Accept headers of the request as one; empty if there are none."""
    return ",".join(request.headers.getlist("accept"))


def check_body_type(request: Request) -> None:
    """Raises `UnsupportedMediaTypeError` if the body is not declared as a container, or is compressed."""
    declared = request.headers.get("content-type", "")
    kind = declared.partition(";")[0].strip().lower()
    if kind not in openapi.CONTAINER_TYPES:
        raise UnsupportedMediaTypeError(
            f"the body is declared as {kind[:80] or 'nothing'}; send a container as {openapi.CONTAINER_TYPES[0]}",
            headers={"Accept-Post": ", ".join(openapi.CONTAINER_TYPES)},
        )
    check_not_compressed(request)


def check_not_compressed(request: Request) -> None:
    """Raises `UnsupportedMediaTypeError` if the body has a content coding."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaTypeError(
            "a compressed body is not read; send the file as it is, it hardly shrinks",
            headers={"Accept-Encoding": "identity"},
        )


def format_for_accept(accept: str, container: Container, query: PictureQuery) -> str:
    """Returns the format of the answer, among those that can hold a picture of its size.

    Raises:
        NotAcceptableError: Accept allows none of them.
    """
    choose_format(accept, MIMES)  # the message should name the size only if the size is the reason
    width, height = query.region[2:] if query.region else (container.width, container.height)
    if query.max_side:
        width, height = fitted(width, height, query.max_side)
    large_enough = {
        name: MIMES[name] for name, row in OUTPUT_FORMATS.items() if max(width, height) <= row.max_side
    }
    return choose_format(accept, large_enough, f"hold {width}×{height} pixels")


async def make_picture(
    request: Request, state: AppState, container: Container, form: str, query: PictureQuery, end: float
) -> Answer:
    """Have the engine make the picture, and count it in the metrics. Cancels the work if the client leaves.

    `end` is the deadline, as of `deadline_from_now`.

    Raises:
        ClientDisconnect: the client has left. Others as `Engine.reconstruct`.
    """
    work = PictureRequest(container, form, query.region, query.max_side, query.model)
    answer = await cancel_on_disconnect(request, state.engine.reconstruct(work, end - time.monotonic()))
    state.metrics.count_picture(answer)
    note_picture(request, answer)
    return answer


def picture_response(state: AppState, answer: Answer, form: str, caching: Mapping[str, str]) -> Response:
    """Returns the response with a picture; `caching` are the headers that say who may cache it."""
    timing = ", ".join(
        f"{stage};dur={answer.seconds[stage] * 1000:.1f}" for stage in STAGES if stage in answer.seconds
    )
    headers = {
        "BBMR-Model": answer.model,
        "BBMR-Width": str(answer.width),
        "BBMR-Height": str(answer.height),
        "Server-Timing": timing,
        "Content-Disposition": f'inline; filename="reconstruction{OUTPUT_FORMATS[form].extension}"',
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept",
        **caching,
    }
    return CountedResponse(answer.data, state.bodies, media_type=answer.mime, headers=headers)


def deadline_from_now(state: AppState) -> float:
    """Returns the deadline of a request whose body is complete now, in seconds of `time.monotonic`."""
    return time.monotonic() + state.settings.http.deadline_s


async def within_deadline(request: Request, work: Coroutine[Any, Any, T], end: float) -> T:
    """Returns the result of `work`; cancels it when the client leaves, or at `end` (as of `deadline_from_now`).

    Raises:
        ClientDisconnect, DeadlineError. Others as `work`.
    """
    try:
        async with asyncio.timeout(end - time.monotonic()) as limit:
            return await cancel_on_disconnect(request, work)
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeadlineError(
            "the request was not finished in time; send a smaller picture, or try again later"
        ) from None


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Returns the result of `work`. If the client leaves, cancels it and raises `ClientDisconnect`."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for future in (task, gone):
            future.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
