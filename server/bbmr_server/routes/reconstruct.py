"""`POST /reconstruct`, and what every route that answers with a picture shares: a container in, a coded picture out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from bbmr_server.app_state import Service, service_of
from bbmr_server.engine import STAGES, Answer, Work
from bbmr_server.errors import DeadlineError, UnsupportedMediaTypeError
from bbmr_server.http import openapi
from bbmr_server.http.body import CountedResponse, read_body
from bbmr_server.http.negotiation import choose_format
from bbmr_server.http.query import Format, Wanted, wanted
from bbmr_server.observability.request_notes import note_picture
from bbmr_shared.compositing.thumbnail import fitted
from bbmr_shared.container import Container
from bbmr_shared.images.output import OUTPUT_FORMATS

router = APIRouter()
T = TypeVar("T")

MIMES = {name: form.mime for name, form in OUTPUT_FORMATS.items()}
NO_STORE = {"Cache-Control": "no-store"}


def _admit(request: Request, service: Annotated[Service, Depends(service_of)]) -> None:
    """Refuse what can be refused by the head alone."""
    service.keys.check(request.headers)
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
    service: Annotated[Service, Depends(service_of)],
    what: Annotated[Wanted, Depends(wanted)],
    format: Format = None,
) -> Response:
    """Turn a container into a picture of the type that `format` or Accept asks for (PNG by default)."""
    settings, engine = service.settings, service.engine
    engine.check_ready()
    if what.model is not None:
        engine.check_model(what.model)
    with service.bodies.share() as share:
        body = await read_body(
            request.stream(),
            request.headers.get("content-length"),
            limit=settings.http.max_body_bytes,
            timeout=settings.http.upload_timeout_s,
            share=share,
        )
        end = deadline_of(service)
        container = await in_time(request, service.read_container(body, share), end)
        del body  # the container has what is needed of it: only one of them lies in memory from here on
        form = format_for(MIMES[format] if format else accept_of(request), container, what)
        answer = await make_picture(request, service, container, form, what, end)
    return picture_response(service, answer, form, NO_STORE)


def accept_of(request: Request) -> str:
    """Every Accept header of the request as one; empty where there is none."""
    return ",".join(request.headers.getlist("accept"))


def check_body_type(request: Request) -> None:
    """Raise `UnsupportedMediaTypeError` where the body is declared as no container, or as compressed."""
    declared = request.headers.get("content-type", "")
    kind = declared.partition(";")[0].strip().lower()
    if kind not in openapi.CONTAINER_TYPES:
        raise UnsupportedMediaTypeError(
            f"the body is declared as {kind[:80] or 'nothing'}; send a container as {openapi.CONTAINER_TYPES[0]}",
            headers={"Accept-Post": ", ".join(openapi.CONTAINER_TYPES)},
        )
    check_not_compressed(request)


def check_not_compressed(request: Request) -> None:
    """Raise `UnsupportedMediaTypeError` where the body has a content coding."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaTypeError(
            "a compressed body is not read; send the file as it is, it hardly shrinks",
            headers={"Accept-Encoding": "identity"},
        )


def format_for(accept: str, container: Container, what: Wanted) -> str:
    """The format of the answer, among those that can hold a picture of its size.

    Raises:
        NotAcceptableError: Accept allows none of those.
    """
    choose_format(accept, MIMES)  # what no size allows is no matter of the size
    width, height = what.region[2:] if what.region else (container.width, container.height)
    if what.max_side:
        width, height = fitted(width, height, what.max_side)
    holding = {
        name: MIMES[name] for name, row in OUTPUT_FORMATS.items() if max(width, height) <= row.max_side
    }
    return choose_format(accept, holding, f"hold {width}×{height} pixels")


async def make_picture(
    request: Request, service: Service, container: Container, form: str, what: Wanted, end: float
) -> Answer:
    """Have the engine make the picture, and give it up as soon as the client has left. Counted in the metrics.

    `end` is the deadline, as of `deadline_of`.

    Raises:
        ClientDisconnect: nobody waits for it any more. Others as `Engine.reconstruct`.
    """
    work = Work(container, form, what.region, what.max_side, what.model)
    answer = await unless_gone(request, service.engine.reconstruct(work, end - time.monotonic()))
    service.metrics.count_picture(answer)
    note_picture(request, answer)
    return answer


def picture_response(service: Service, answer: Answer, form: str, caching: Mapping[str, str]) -> Response:
    """A picture as an answer; `caching` are the headers that say who may keep it."""
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
    return CountedResponse(answer.data, service.bodies, media_type=answer.mime, headers=headers)


def deadline_of(service: Service) -> float:
    """When the time of a request is over that has come in whole just now, in seconds of `time.monotonic`."""
    return time.monotonic() + service.settings.http.deadline_s


async def in_time(request: Request, work: Coroutine[Any, Any, T], end: float) -> T:
    """The result of `work`, which is cancelled as soon as the client has left, or `end` (as of `deadline_of`) has come.

    Raises:
        ClientDisconnect, DeadlineError. Others as `work`.
    """
    try:
        async with asyncio.timeout(end - time.monotonic()) as limit:
            return await unless_gone(request, work)
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeadlineError(
            "the request was not finished in time; send a smaller picture, or try again later"
        ) from None


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled as soon as the client has left. Raises `ClientDisconnect` then."""
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
