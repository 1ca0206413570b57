"""Reads the query of routes that answer with a picture, and refuses unknown parameters.

If `?maxside=64` were ignored, the answer would be the whole picture, and the user would not know why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Query, Request
from pydantic import AfterValidator

from bbmr_server.errors import InvalidRequestError
from bbmr_shared.compositing.region import Region, parse_region
from bbmr_shared.images.output import OUTPUT_FORMATS


@dataclass(frozen=True)
class PictureQuery:
    """Which picture of a container the query asks for."""

    region: Region | None = None
    max_side: int | None = None
    model: str | None = None


def _region_text(text: str | None) -> str | None:
    if text is not None:
        parse_region(text)
    return text


def _known_format(name: str | None) -> str | None:
    if name is not None and name not in OUTPUT_FORMATS:
        raise ValueError(f"is one of {', '.join(OUTPUT_FORMATS)}")
    return name


Format = Annotated[
    str | None,
    AfterValidator(_known_format),
    Query(
        json_schema_extra={"enum": list(OUTPUT_FORMATS)},
        description="Format of the answer; it wins over Accept.",
    ),
]


def picture_query(
    request: Request,
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
) -> PictureQuery:
    """The dependency that reads the query of every route that answers with a picture."""
    check_query(request)
    return PictureQuery(parse_region(region) if region else None, max_side, model)


def check_query(request: Request) -> None:
    """Check that the route has all parameters of the query, and that each comes at most once.

    Raises:
        InvalidRequestError: names every parameter that is unknown or repeated.
    """
    operations = request.app.openapi()["paths"][request.scope["route"].path]
    operation = operations.get(request.method.lower()) or operations["get"]  # HEAD is not in the document
    known = sorted(entry["name"] for entry in operation.get("parameters", ()) if entry["in"] == "query")
    names = [name for name, _ in request.query_params.multi_items()]
    errors = [
        {"field": name[:64], "message": message}
        for name in dict.fromkeys(names)
        if (message := _message(name, names.count(name), known))
    ]
    if errors:
        detail = "; ".join(f"{error['field']!r}: {error['message']}" for error in errors[:8])
        raise InvalidRequestError(detail, fields={"errors": errors[:8]})


def _message(name: str, count: int, known: list[str]) -> str | None:
    if name not in known:
        return f"there is no such parameter here, but {', '.join(known)}"
    return f"is there {count} times; send it once" if count > 1 else None
