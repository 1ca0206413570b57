"""`/containers/{digest}/image`: a picture of a stored container, at an address for `<img>` and caches on the way.

The entity tag tells everything that the picture depends on, and is made from the first 64 KiB of the container, so a
client that has the picture already costs neither decoding nor the network.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from bbmr_server.app_state import Service
from bbmr_server.engine import Answer, Work
from bbmr_server.engine.request import check_region
from bbmr_server.http.body import BodyShare
from bbmr_server.http.conditional import not_modified
from bbmr_server.http.query import Format, Wanted, wanted
from bbmr_server.observability.request_notes import note
from bbmr_server.routes.reconstruct import (
    MIMES,
    accept_of,
    deadline_of,
    format_for,
    in_time,
    make_picture,
    picture_response,
    unless_gone,
)
from bbmr_shared.compositing.thumbnail import fitted
from bbmr_shared.container import Container
from bbmr_shared.container.header import Header
from bbmr_shared.release import release

from . import route_docs
from .factory import Keeping
from .routes import Digest, Reading, Shared

if TYPE_CHECKING:
    from .picture_cache import PictureCache

router = APIRouter()


@dataclass(frozen=True)
class _Facts:
    """Of a container, what its header tells and an answer depends on."""

    width: int
    height: int
    model: str | None
    uses_network: bool


@dataclass(frozen=True)
class _Picture:
    """Which picture is asked for, wholly resolved."""

    digest: str
    model: str
    model_sha256: str
    form: str
    what: Wanted

    @property
    def name(self) -> str:
        """32 hexadecimal digits, others for whatever may give other pixels or other bytes."""
        parts = (self.digest, self.model, self.model_sha256, self.form, self.what.region, self.what.max_side)
        text = "\n".join(str(part) for part in (*parts, release()))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def tag(self) -> str:
        """Weak: encoders and devices may give other bytes for what is the same picture."""
        return f'W/"{self.name}"'


@router.get("/containers/{digest}/image", response_class=Response, responses=route_docs.IMAGE)
async def image(
    request: Request,
    service: Shared,
    keeping: Reading,
    digest: Digest,
    what: Annotated[Wanted, Depends(wanted)],
    format: Format = None,
) -> Response:
    """The picture of a stored container, of the type that `format` or Accept asks for (PNG by default)."""
    end = deadline_of(service)
    longest = service.settings.limits.max_header_bytes
    header = await in_time(request, keeping.store.header(digest, longest, service.read_header), end)
    facts = _facts(header)
    stand_in = cast(Container, facts)  # what follows asks for nothing else of a container
    form = format_for(MIMES[format] if format else accept_of(request), stand_in, what)
    if what.region is not None:
        check_region(what.region, stand_in)
    picture = _resolve(service, digest, stand_in, form, what)
    caching = {
        "ETag": picture.tag,
        "Cache-Control": f"{route_docs.scope(service)}, max-age={service.settings.picture_max_age_s}",
        **({} if format else {"Vary": "Accept"}),
    }
    if not_modified(route_docs.every(request, "if-none-match"), picture.tag):
        return Response(status_code=304, headers=caching)
    if request.method == "HEAD":
        return _without_length(
            _answer(service, Answer(b"", MIMES[form], *_size(facts, what), picture.model), form, caching)
        )

    def current() -> bool:
        return _resolve(service, digest, stand_in, form, what) == picture

    if keeping.pictures is None:
        answer = await _make(request, service, keeping, picture, end)
    else:
        answer, hit = await _cached_or_made(
            request, service, keeping, keeping.pictures, picture, current, end
        )
        note(request, cache="hit" if hit else "miss")
        if hit:
            return _answer(service, answer, form, {**caching, "Server-Timing": "cache"})
    if not current():
        # The weights were swapped meanwhile, and it may be of the old ones or of the new.
        caching = {"Cache-Control": "no-store", **({} if format else {"Vary": "Accept"})}
    return _answer(service, answer, form, caching)


router.add_api_route("/containers/{digest}/image", image, methods=["HEAD"], include_in_schema=False)


async def _cached_or_made(
    request: Request,
    service: Service,
    keeping: Keeping,
    pictures: PictureCache,
    picture: _Picture,
    current: Callable[[], bool],
    end: float,
) -> tuple[Answer, bool]:
    """The picture, and whether it was in the cache; one that was made is kept there while `current` says so."""
    cached = await in_time(request, _cached(service, pictures, picture, again=True), end)
    if cached is not None:
        return cached, True
    async with pictures.making(picture.name, end - time.monotonic(), partial(unless_gone, request)):
        cached = await in_time(request, _cached(service, pictures, picture), end)
        if cached is not None:
            return cached, True  # another has made it meanwhile
        answer = await _make(request, service, keeping, picture, end)
        if current():
            # Metered as `size`; raises where the container was deleted while the picture was made.
            still = partial(keeping.store.size, picture.digest)
            pictures.keep(picture.digest, picture.name, answer, service.bodies, still)
        return answer, False


async def _make(
    request: Request, service: Service, keeping: Keeping, picture: _Picture, end: float
) -> Answer:
    service.engine.check_ready()
    with service.bodies.share() as share:
        container = await in_time(request, _container(service, keeping, picture.digest, share), end)
        return await make_picture(request, service, container, picture.form, picture.what, end)


async def _container(service: Service, keeping: Keeping, digest: str, share: BodyShare) -> Container:
    """A stored container; it stays in `share`, and its bytes are let go."""
    share.take(await keeping.store.size(digest))
    return await service.read_container(await keeping.store.get(digest), share)


async def _cached(
    service: Service, pictures: PictureCache, picture: _Picture, again: bool = False
) -> Answer | None:
    """The picture, if it is in the cache; `again` as of `PictureCache.get`.

    Raises:
        QueueFullError: there is no memory left to send it from.
    """
    size = await pictures.size(picture.digest, picture.name)
    with service.bodies.share() as share:
        share.take(min(size, service.bodies.limit))  # one that is larger is sent when nothing else is
        return await pictures.get(picture.digest, picture.name, again)


def _facts(header: Header) -> _Facts:
    corrected = bool(header.strength) or header.strength_map is not None
    return _Facts(header.width, header.height, header.model, corrected)


def _resolve(service: Service, digest: str, container: Container, form: str, what: Wanted) -> _Picture:
    """Raises `UnknownModelError` where the weights are not loaded."""
    model = service.engine.model_for(Work(container, form, what.region, what.max_side, what.model))
    if what.max_side is not None or (what.model is None and not container.uses_network):
        model = "none"
    sha256 = str(service.engine.catalogue.get(model, {}).get("sha256", ""))
    return _Picture(digest, model, sha256, form, what)


def _size(facts: _Facts, what: Wanted) -> tuple[int, int]:
    width, height = what.region[2:] if what.region else (facts.width, facts.height)
    return fitted(width, height, what.max_side) if what.max_side else (width, height)


def _answer(service: Service, answer: Answer, form: str, caching: dict[str, str]) -> Response:
    response = picture_response(service, answer, form, caching)
    if "Vary" not in caching:
        del response.headers["Vary"]
    return response


def _without_length(response: Response) -> Response:
    """For HEAD: how long the picture would be is not known before it is made."""
    del response.headers["Content-Length"]
    del response.headers["Server-Timing"]
    return response
