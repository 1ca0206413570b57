"""Reads the JSON of `GET /models`, in which a server describes its models, into typed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bbmr_shared.errors import BadAnswerError


@dataclass(frozen=True)
class ModelInfo:
    """A model that a server has loaded.

    is_default: it reconstructs containers that name no model.
    architecture, parameters, bytes, sha256: of its weights; None if the server does not say.
    details: everything that the server says about it, as JSON values.
    """

    name: str
    is_default: bool = False
    architecture: str | None = None
    parameters: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    details: Mapping[str, object] = field(default_factory=dict, repr=False)


def parse_models(server: str, document: object) -> list[ModelInfo]:
    """Returns the models in the JSON document that `server` sent, in its order.

    Raises:
        BadAnswerError: the document has another structure.
    """
    rows = document.get("models") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadAnswerError(f"{server} answered JSON that is not a list of models")
    assert isinstance(document, dict)
    return [_model(server, row, document.get("default")) for row in rows]


def _model(server: str, row: dict[str, object], default: object) -> ModelInfo:
    name, architecture, sha256 = (row.get(key) for key in ("name", "architecture", "sha256"))
    parameters, size = row.get("parameters"), row.get("bytes")
    texts, numbers = (architecture, sha256), (parameters, size)
    if (
        not isinstance(name, str)
        or not all(isinstance(text, str | None) for text in texts)
        or not all(isinstance(number, int | None) for number in numbers)
    ):
        raise BadAnswerError(f"{server} answered a model that is not described as the interface says")
    return ModelInfo(name, name == default, architecture, parameters, size, sha256, row)  # type: ignore[arg-type]
