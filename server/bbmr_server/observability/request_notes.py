"""Notes on a request. Its handlers write them; the access log, metrics and traces read them when the request is over.

They never contain a part of the body, of the query or of an API key.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import HTTPConnection

from bbmr_server.engine import STAGES, Answer

_KEY = "bbmr_notes"


@dataclass
class RequestNotes:
    """What is known of one request.

    Attributes:
        fields: for its line in the access log, in this order.
        problem: the name of the problem that answered it.
        key: the name of its API key, if the key is valid.
        stages: stage → seconds, if a picture was made.
        made_ns: when the picture was finished, in nanoseconds since 1970.
    """

    fields: dict[str, object] = field(default_factory=dict)
    problem: str | None = None
    key: str | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    made_ns: int = 0


def notes_of(scope: MutableMapping[str, Any]) -> RequestNotes:
    """Returns the notes of the request with this ASGI scope; creates them if there are none."""
    notes: RequestNotes = scope.setdefault("state", {}).setdefault(_KEY, RequestNotes())
    return notes


def note(request: HTTPConnection, **fields: object) -> None:
    """Add fields to the request's line in the access log."""
    notes_of(request.scope).fields.update(fields)


def note_picture(request: HTTPConnection, answer: Answer) -> None:
    """Note that a picture was made for this request just now."""
    notes = notes_of(request.scope)
    notes.stages, notes.made_ns = answer.seconds, time.time_ns()
    notes.fields |= {
        "model": answer.model,
        "mime": answer.mime,
        "width": answer.width,
        "height": answer.height,
    }
    notes.fields |= {
        f"{stage}_ms": round(answer.seconds[stage] * 1000, 1) for stage in STAGES if stage in answer.seconds
    }
