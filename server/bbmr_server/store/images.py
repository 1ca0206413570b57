"""`/containers/{digest}/image`: a picture of a stored container, at an address for `<img>` and for HTTP caches.

The entity tag covers everything that the picture depends on. It needs only the first 64 KiB of the container, so a
client that has the picture already costs neither decoding nor a run of the network.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from bbmr_server.app_state import AppState
from bbmr_server.engine import Answer, PictureRequest
from bbmr_server.engine.request import check_region
from bbmr_server.http.body import BodyShare
from bbmr_server.http.conditional import not_modified
from bbmr_server.http.query import Format, PictureQuery, picture_query
from bbmr_server.observability.request_notes import note
from bbmr_server.routes.reconstruct import (
    MIMES,
    accept_of,
    cancel_on_disconnect,
    deadline_from_now,
    format_for_accept,
    make_picture,
    picture_response,
    within_deadline,
)
from bbmr_shared.compositing.thumbnail import fitted
from bbmr_shared.container import Container
from bbmr_shared.container.header import Header
from bbmr_shared.release import release

from . import route_docs
from .factory import StoreServices
from .routes import Digest, Reading, Shared

if TYPE_CHECKING:
    from .picture_cache import PictureCache

router = APIRouter()
T = TypeVar("T")


@dataclass(frozen=True)
class _HeaderInfo:
    """The part of a container's header that a response depends on."""

    width: int
    height: int
    model: str | None
    uses_network: bool


@dataclass(frozen=True)
class _Picture:
    """Which picture of which container, made with which weights, in which format."""

    digest: str
    model: str
    model_sha256: str
    form: str
    query: PictureQuery

    @property
    def name(self) -> str:
        """32 hexadecimal digits that differ for whatever may give other pixels or other bytes."""
        parts = (
            self.digest,
            self.model,
            self.model_sha256,
            self.form,
            self.query.region,
            self.query.max_side,
        )
        text = "\n".join(str(part) for part in (*parts, release()))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def tag(self) -> str:
        """The entity tag. It is weak: encoders and devices may give other bytes for the same picture."""
        return f'W/"{self.name}"'


@router.get("/containers/{digest}/image", response_class=Response, responses=route_docs.IMAGE)
async def image(
    request: Request,
    state: Shared,
    store: Reading,
    digest: Digest,
    query: Annotated[PictureQuery, Depends(picture_query)],
    format: Format = None,
) -> Response:
    """The picture of a stored container, of the type that `format` or Accept asks for (PNG by default)."""
    end = deadline_from_now(state)
    longest = state.settings.limits.max_header_bytes
    header = await within_deadline(request, store.containers.header(digest, longest, state.read_header), end)
    info = _stand_in(header)
    form = format_for_accept(MIMES[format] if format else accept_of(request), info, query)
    if query.region is not None:
        check_region(query.region, info)
    wanted = _ImageRequest(request, state, store, info, _resolve(state, digest, info, form, query), end)
    vary = {} if format else {"Vary": "Accept"}
    caching = {
        "ETag": wanted.picture.tag,
        "Cache-Control": f"{route_docs.scope(state)}, max-age={state.settings.store.picture_max_age_s}",
        **vary,
    }
    if not_modified(route_docs.every(request, "if-none-match"), wanted.picture.tag):
        return Response(status_code=304, headers=caching)
    if request.method == "HEAD":
        return _head_response(wanted, caching)
    answer, hit = await wanted.cached_or_made()
    if hit:
        caching = {**caching, "Server-Timing": "cache"}
    elif not wanted.is_current():
        # The weights were swapped meanwhile: it is unknown which ones made the picture.
        caching = {"Cache-Control": "no-store", **vary}
    return _response(state, answer, form, caching)


router.add_api_route("/containers/{digest}/image", image, methods=["HEAD"], include_in_schema=False)


@dataclass(frozen=True)
class _ImageRequest:
    """One request for a picture. `end` is its deadline, as of `deadline_from_now`."""

    request: Request
    state: AppState
    store: StoreServices
    info: Container
    picture: _Picture
    end: float

    def is_current(self) -> bool:
        """Whether the same request would still give the same picture; not so after a swap of the weights."""
        picture = self.picture
        return _resolve(self.state, picture.digest, self.info, picture.form, picture.query) == picture

    async def cached_or_made(self) -> tuple[Answer, bool]:
        """Returns the picture, and whether it was in the cache."""
        if self.store.pictures is None:
            return await self._make(), False
        answer, hit = await self._look_up_or_make(self.store.pictures)
        note(self.request, cache="hit" if hit else "miss")
        return answer, hit

    async def _look_up_or_make(self, pictures: PictureCache) -> tuple[Answer, bool]:
        picture, gone = self.picture, partial(cancel_on_disconnect, self.request)
        cached = await self._within_deadline(self._cached(pictures, count_miss=False))
        if cached is not None:
            return cached, True
        async with pictures.making(picture.name, self.end - time.monotonic(), gone):
            cached = await self._within_deadline(self._cached(pictures))
            if cached is not None:
                return cached, True  # another request has made it meanwhile
            answer = await self._make()
            if self.is_current():
                # `size` raises if the container was deleted while the picture was made.
                exists = partial(self.store.containers.size, picture.digest)
                pictures.keep(picture.digest, picture.name, answer, self.state.bodies, exists)
            return answer, False

    async def _make(self) -> Answer:
        self.state.engine.check_ready()
        with self.state.bodies.share() as share:
            container = await self._within_deadline(self._container(share))
            form, query = self.picture.form, self.picture.query
            return await make_picture(self.request, self.state, container, form, query, self.end)

    async def _container(self, share: BodyShare) -> Container:
        """Returns the whole container. It counts in `share`; the bytes of its file are released."""
        containers, digest = self.store.containers, self.picture.digest
        share.take(await containers.size(digest))
        return await self.state.read_container(await containers.get(digest), share)

    async def _cached(self, pictures: PictureCache, count_miss: bool = True) -> Answer | None:
        """Returns the picture if it is in the cache; `count_miss` as in `PictureCache.get`.

        Raises:
            QueueFullError if there is no memory left to send it from.
        """
        picture, bodies = self.picture, self.state.bodies
        size = await pictures.size(picture.digest, picture.name)
        with bodies.share() as share:
            share.take(min(size, bodies.limit))  # a larger picture is sent when nothing else is in memory
            return await pictures.get(picture.digest, picture.name, count_miss)

    async def _within_deadline(self, work: Coroutine[Any, Any, T]) -> T:
        return await within_deadline(self.request, work, self.end)


def _stand_in(header: Header) -> Container:
    """Returns what stands for the container before its planes are read: nothing else of it is used until then."""
    corrected = bool(header.strength) or header.strength_map is not None
    return cast(Container, _HeaderInfo(header.width, header.height, header.model, corrected))


def _resolve(state: AppState, digest: str, container: Container, form: str, query: PictureQuery) -> _Picture:
    """Raises UnknownModelError if the weights are not loaded."""
    model = state.engine.model_for(PictureRequest(container, form, query.region, query.max_side, query.model))
    if query.max_side is not None or (query.model is None and not container.uses_network):
        model = "none"
    sha256 = str(state.engine.catalogue.get(model, {}).get("sha256", ""))
    return _Picture(digest, model, sha256, form, query)


def _head_response(wanted: _ImageRequest, caching: dict[str, str]) -> Response:
    """Returns the response to HEAD. The length of the picture is not known before it is made."""
    picture, query = wanted.picture, wanted.picture.query
    width, height = query.region[2:] if query.region else (wanted.info.width, wanted.info.height)
    if query.max_side:
        width, height = fitted(width, height, query.max_side)
    answer = Answer(b"", MIMES[picture.form], width, height, picture.model)
    response = _response(wanted.state, answer, picture.form, caching)
    del response.headers["Content-Length"]
    del response.headers["Server-Timing"]
    return response


def _response(state: AppState, answer: Answer, form: str, caching: dict[str, str]) -> Response:
    response = picture_response(state, answer, form, caching)
    if "Vary" not in caching:
        del response.headers["Vary"]
    return response
