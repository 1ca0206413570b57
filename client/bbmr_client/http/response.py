"""Judging what a server answered: status, type and size first, the body only after that.

In: a status, headers and pieces of a body. Out: a picture, or the `ServiceError` that says what was wrong with it.
Knows nothing of how the bytes travelled.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import urlsplit

from PIL import Image

from bbmr_client.http.retries import parse_retry_after
from bbmr_client.text import printable
from bbmr_shared.errors import BadAnswerError, ServerRefusedError
from bbmr_shared.images.output import OUTPUT_FORMATS
from bbmr_shared.limits import MAX_PROBLEM_BYTES, Limits

JSON = "application/json"
PROBLEM = "application/problem+json"

_PILLOW_FORMATS = {row.mime: row.name.upper() for row in OUTPUT_FORMATS.values()}


@dataclass(frozen=True)
class Answer:
    """A whole answer: its body, its media type without parameters, its headers (names in lower case), and the address
    of the server that gave it."""

    data: bytes
    mime: str
    headers: Mapping[str, str]
    server: str = ""


@dataclass(frozen=True)
class Saved:
    """A whole answer that went to a file: its length in bytes, its media type, the size of its picture, its headers,
    and the address of the server that gave it."""

    total: int
    mime: str
    width: int
    height: int
    headers: Mapping[str, str]
    server: str


class Collector:
    """Judges one answer. Refuses it from its headers where they suffice, and at the first byte too many.

    server: how messages call it. accept: the media type that was asked for. most: bytes the body may have.
    `good`: it is the answer that was asked for, and its body goes where the caller wants it; the body of any other is
    kept here. `announced`: its length in bytes by its headers; None: they do not say.

    Raises:
        BadAnswerError: in every method but the first.
    """

    def __init__(self, server: str, status: int, headers: Mapping[str, str], accept: str, most: int) -> None:
        self.server, self.status, self.good = server, status, status == 200
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.mime = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        length = self.headers.get("content-length", "")
        self.announced = int(length) if length.isascii() and length.isdigit() and len(length) < 19 else None
        self.taken = 0
        self._accept, self._most = accept, most if self.good else MAX_PROBLEM_BYTES
        self._problem: list[bytes] = []

    def check_headers(self) -> None:
        """To be called first."""
        shown = printable(self.mime) or "no content type"
        if self.good:
            if self.mime != self._accept:
                raise BadAnswerError(
                    f"{self.server} answered {shown} instead of {self._accept}: is this the address of a bbmr server?"
                )
        elif 300 <= self.status < 400 and "location" in self.headers:
            raise BadAnswerError(
                f"{self.server} answered {_status(self.status)} and points to {_place(self.headers['location'])}: "
                "where that is meant, give its address"
            )
        elif self.mime != PROBLEM:
            raise BadAnswerError(
                f"{self.server} answered {_status(self.status)} with {shown}: "
                "is this the address of a bbmr server?"
            )
        if self.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise BadAnswerError(f"{self.server} answered with a content encoding that was not asked for")
        if self.announced is not None and self.announced > self._most:
            raise BadAnswerError(
                f"{self.server} announced {self.announced} bytes; this answer can have at most {self._most}"
            )

    def take(self, piece: bytes) -> None:
        """Count a piece of the body, and keep it where it is no good answer."""
        self.taken += len(piece)
        if self.taken > self._most:
            raise BadAnswerError(
                f"{self.server} answered more than the {self._most} bytes this answer can have"
            )
        if not self.good:
            self._problem.append(piece)

    def finish(self) -> None:
        """The body has ended.

        Raises:
            ServerRefusedError: the server sent a problem document.
        """
        if not self.good:
            raise self._refusal(b"".join(self._problem))
        if not self.taken:
            raise BadAnswerError(f"{self.server} answered nothing: 0 bytes")

    def _refusal(self, body: bytes) -> ServerRefusedError | BadAnswerError:
        try:
            problem = json.loads(body)
        except (ValueError, RecursionError):
            problem = None
        if not isinstance(problem, dict):
            return BadAnswerError(
                f"{self.server} answered {_status(self.status)} with a broken problem document"
            )
        title = printable(str(problem.get("title") or "")) or _status(self.status)
        detail = printable(str(problem.get("detail") or ""))
        message = f"{self.server} refused ({self.status}): {title}" + (f": {detail}" if detail else "")
        wait = parse_retry_after(self.headers.get("retry-after", ""))
        if wait is not None:
            message += f"; try again in {math.ceil(wait)} s"
        return ServerRefusedError(message, problem=problem, status_code=self.status)


def open_picture(
    server: str, file: BinaryIO, mime: str, size: tuple[int, int] | None, limits: Limits
) -> Image.Image:
    """The picture in the body of an answer, its header read and nothing decoded.

    Raises:
        BadAnswerError: it is no picture, or not of `size` (width, height; None: any within `limits`).
    """
    try:
        file.seek(0)
        picture = Image.open(file, formats=[_PILLOW_FORMATS[mime]])
        limits.check_dimensions(*picture.size)
    except Exception as error:  # decoders raise what they like
        raise BadAnswerError(f"{server} answered {mime} that is not a readable picture") from error
    if size is not None and picture.size != size:
        raise BadAnswerError(
            f"{server} answered a picture of {picture.width}×{picture.height}, not {size[0]}×{size[1]}"
        )
    return picture


def load_picture(server: str, picture: Image.Image) -> Image.Image:
    """Decode what `open_picture` opened.

    Raises:
        BadAnswerError: it is cut short or damaged.
    """
    try:
        picture.load()
    except Exception as error:
        raise BadAnswerError(f"{server} answered a picture that is cut short or damaged") from error
    return picture


def parse_json(server: str, data: bytes) -> object:
    """The JSON value in the body of an answer.

    Raises:
        BadAnswerError: it is none.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadAnswerError(f"{server} answered JSON that cannot be read") from error


def _place(location: str) -> str:
    """What a redirect names, without user, password and query."""
    try:
        parts = urlsplit(location)
        return printable(
            f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".removeprefix("://"), 200
        )
    except ValueError:
        return "nowhere"


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
