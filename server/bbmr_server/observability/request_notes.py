"""Notes: what is found out about a request on its way, for those who watch it from outside (log, metrics, traces).

Whoever handles a request adds to its notes; `middleware.Watch` and `tracing.Trace` read them when it is over. Nothing
of a body, a query or a key belongs in them.
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
class Notes:
    """What is known of one request.

    Attributes:
        fields: for its line in the access log, in this order.
        problem: the name of the problem it was answered with.
        key: the name of the API key it came with, if that is valid.
        stages: stage → seconds, where a picture was made, at `made_ns` (nanoseconds since 1970).
    """

    fields: dict[str, object] = field(default_factory=dict)
    problem: str | None = None
    key: str | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    made_ns: int = 0


def notes_of(scope: MutableMapping[str, Any]) -> Notes:
    """The notes of the request with this ASGI scope; they are begun where there are none."""
    notes: Notes = scope.setdefault("state", {}).setdefault(_KEY, Notes())
    return notes


def note(request: HTTPConnection, **fields: object) -> None:
    """Add fields to the request's line in the access log."""
    notes_of(request.scope).fields.update(fields)


def note_picture(request: HTTPConnection, answer: Answer) -> None:
    """A picture was made for this request, just now."""
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
