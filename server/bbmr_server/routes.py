"""The routes: HTTP in, calls of the engine, HTTP out. docs/http-api.md describes them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AfterValidator
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, Response

from bbmr_shared.container import Container
from bbmr_shared.output import OUTPUT_FORMATS
from bbmr_shared.region import Region, parse_region
from bbmr_shared.release import release

from . import metrics, openapi, pages
from .body import CountedResponse, read_body
from .errors import UnsupportedMediaTypeError
from .negotiate import choose_format
from .service import Service
from .work import STAGES, Answer, Work

router = APIRouter()
T = TypeVar("T")

_MIMES = {name: form.mime for name, form in OUTPUT_FORMATS.items()}
_NO_STORE = {"Cache-Control": "no-store"}


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _admit(request: Request, service: Annotated[Service, Depends(_service)]) -> str:
    """Refuse what can be refused by the headers alone; gives back the whole Accept."""
    service.keys.check(request.headers)
    _check_body_type(request)
    accept = ",".join(request.headers.getlist("accept"))
    choose_format(accept, _MIMES)
    return accept


def _region_text(text: str | None) -> str | None:
    if text is not None:
        parse_region(text)
    return text


@router.post(
    "/reconstruct",
    response_class=Response,
    responses=openapi.RECONSTRUCT_ANSWER,
    openapi_extra=openapi.RECONSTRUCT_BODY,
)
async def reconstruct(
    request: Request,
    service: Annotated[Service, Depends(_service)],
    accept: Annotated[str, Depends(_admit)],
    region: Annotated[
        str | None,
        AfterValidator(_region_text),
        Query(description="x,y,w,h in pixels: only this part.", pattern=r"^[0-9]{1,9}(,[0-9]{1,9}){3}$"),
    ] = None,
    max_side: Annotated[
        int | None,
        Query(ge=1, le=65_535, description="A thumbnail of the composite, at most so many pixels a side."),
    ] = None,
    model: Annotated[
        str | None,
        Query(min_length=1, max_length=64, description="Weights; without it those the container names."),
    ] = None,
) -> Response:
    """Turn a container into a picture of the type that Accept asks for (PNG by default)."""
    settings, engine = service.settings, service.engine
    engine.check_ready()
    if model is not None:
        engine.check_model(model)
    with service.bodies.share() as share:
        body = await read_body(
            request.stream(),
            request.headers.get("content-length"),
            limit=settings.max_body_bytes,
            timeout=settings.upload_timeout_s,
            share=share,
        )
        container = await service.read_container(body)
        del body
        area = parse_region(region) if region else None
        form = _format_for(accept, container, area, max_side)
        work = Work(container, form, area, max_side, model)
        answer = await _unless_gone(request, engine.reconstruct(work, settings.deadline_s))
    service.metrics.count_picture(answer)
    return CountedResponse(
        answer.data, service.bodies, media_type=answer.mime, headers=_describe(answer, form)
    )


@router.get("/models", responses=openapi.refusals(401, 403))
async def models(request: Request, service: Annotated[Service, Depends(_service)]) -> dict[str, Any]:
    """The weights that are loaded, with their cards."""
    service.keys.check(request.headers)
    engine = service.engine
    return {
        "default": engine.models[0],
        "devices": list(engine.devices),
        "models": [{"name": name, **engine.catalogue.get(name, {})} for name in engine.models],
    }


@router.get("/healthz")
async def healthz() -> JSONResponse:
    """Whether the process answers. Says nothing of the engine."""
    return JSONResponse({"status": "ok", "version": release()}, headers=_NO_STORE)


@router.get("/readyz", responses=openapi.refusals(503))
async def readyz(service: Annotated[Service, Depends(_service)]) -> JSONResponse:
    """Whether a working engine takes requests."""
    engine = service.engine
    engine.check_ready(room=False)
    report = {"status": "ready", "models": list(engine.models), "queue": len(engine.places)}
    return JSONResponse(report, headers=_NO_STORE)


@router.get("/metrics", response_class=Response)
async def prometheus(service: Annotated[Service, Depends(_service)]) -> Response:
    """Metrics in Prometheus' text format."""
    return Response(service.metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE, **_NO_STORE})


@router.get("/docs", response_class=HTMLResponse)
async def docs(request: Request) -> HTMLResponse:
    """The routes, readable in a browser, without a script."""
    return HTMLResponse(pages.docs_page(request.app.openapi()), headers=pages.HEADERS)


@router.get("/", response_class=HTMLResponse)
async def index(service: Annotated[Service, Depends(_service)]) -> HTMLResponse:
    """What this server is."""
    return HTMLResponse(pages.index_page(list(service.engine.models)), headers=pages.HEADERS)


for _path, _page in (("/healthz", healthz), ("/readyz", readyz), ("/", index), ("/docs", docs)):
    router.add_api_route(_path, _page, methods=["HEAD"], include_in_schema=False)


def _check_body_type(request: Request) -> None:
    """Raise `UnsupportedMediaTypeError` where the body is declared as no container, or as compressed."""
    declared = request.headers.get("content-type", "")
    kind = declared.partition(";")[0].strip().lower()
    if kind not in openapi.CONTAINER_TYPES:
        raise UnsupportedMediaTypeError(
            f"the body is declared as {kind[:80] or 'nothing'}; send a container as {openapi.CONTAINER_TYPES[0]}",
            headers={"Accept-Post": ", ".join(openapi.CONTAINER_TYPES)},
        )
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaTypeError(
            "a compressed body is not read; send the container as it is, it hardly shrinks",
            headers={"Accept-Encoding": "identity"},
        )


def _format_for(accept: str, container: Container, region: Region | None, max_side: int | None) -> str:
    """The format of the answer, among those that can hold a picture of its size."""
    width, height = region[2:] if region else (container.width, container.height)
    longest = min(max(width, height), max_side or max(width, height))
    holding = {name: _MIMES[name] for name, row in OUTPUT_FORMATS.items() if longest <= row.max_side}
    return choose_format(accept, holding, f"hold {width}×{height} pixels")


def _describe(answer: Answer, form: str) -> dict[str, str]:
    timing = ", ".join(
        f"{stage};dur={answer.seconds[stage] * 1000:.1f}" for stage in STAGES if stage in answer.seconds
    )
    return {
        "BBMR-Model": answer.model,
        "BBMR-Width": str(answer.width),
        "BBMR-Height": str(answer.height),
        "Server-Timing": timing,
        "Content-Disposition": f'inline; filename="reconstruction{OUTPUT_FORMATS[form].extension}"',
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept",
        **_NO_STORE,
    }


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
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
