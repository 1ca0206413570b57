"""Judging what a server answered: status, type and size first, the body only after that.

In: a status, headers and pieces of a body. Out: an `Answer`, or the `ServiceError` that says what was wrong with it.
Knows nothing of how the bytes travelled.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from PIL import Image

from bbmr_client.text import printable
from bbmr_shared.errors import BadAnswerError, ServerRefusedError
from bbmr_shared.limits import Limits

JSON = "application/json"
PROBLEM = "application/problem+json"
MAX_PROBLEM_BYTES = 64 << 10

_PILLOW_FORMATS = {"image/png": "PNG", "image/webp": "WEBP", "image/avif": "AVIF", "image/jpeg": "JPEG"}


@dataclass(frozen=True)
class Answer:
    """A whole answer: its body, its media type without parameters, and its headers (names in lower case)."""

    data: bytes
    mime: str
    headers: Mapping[str, str]


class Collector:
    """Takes in one answer. Refuses it from its headers where they suffice, and at the first byte too many.

    server: how messages call it. accept: the media type that was asked for. most: bytes the body may have.

    Raises:
        BadAnswerError: here and in every method.
    """

    def __init__(self, server: str, status: int, headers: Mapping[str, str], accept: str, most: int) -> None:
        self.server, self.status = server, status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.mime = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._most = most if status == 200 else MAX_PROBLEM_BYTES
        self._pieces: list[bytes] = []
        self._taken = 0
        self._check_headers(accept)

    def feed(self, piece: bytes) -> None:
        self._taken += len(piece)
        if self._taken > self._most:
            raise BadAnswerError(
                f"{self.server} answered more than the {self._most} bytes this answer can have"
            )
        self._pieces.append(piece)

    def finish(self) -> Answer:
        """The answer of status 200.

        Raises:
            ServerRefusedError: the server sent a problem document instead.
        """
        answer = Answer(b"".join(self._pieces), self.mime, self.headers)
        if self.status != 200:
            raise self._refusal(answer)
        if not answer.data:
            raise BadAnswerError(f"{self.server} answered nothing: 0 bytes")
        return answer

    def _check_headers(self, accept: str) -> None:
        shown = printable(self.mime) or "no content type"
        if self.status == 200:
            if self.mime != accept:
                raise BadAnswerError(
                    f"{self.server} answered {shown} instead of {accept}: is this the address of a bbmr server?"
                )
        elif self.mime != PROBLEM:
            raise BadAnswerError(
                f"{self.server} answered {_status(self.status)} with {shown}: "
                "is this the address of a bbmr server?"
            )
        if self.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise BadAnswerError(f"{self.server} answered with a content encoding that was not asked for")
        length = self.headers.get("content-length", "")
        if length.isdigit() and int(length) > self._most:
            raise BadAnswerError(
                f"{self.server} announced {length} bytes; this answer can have at most {self._most}"
            )

    def _refusal(self, answer: Answer) -> ServerRefusedError | BadAnswerError:
        try:
            problem = json.loads(answer.data)
        except (ValueError, RecursionError):
            problem = None
        if not isinstance(problem, dict):
            return BadAnswerError(
                f"{self.server} answered {_status(self.status)} with a broken problem document"
            )
        title = printable(str(problem.get("title") or "")) or _status(self.status)
        detail = printable(str(problem.get("detail") or ""))
        message = f"{self.server} refused ({self.status}): {title}" + (f": {detail}" if detail else "")
        wait = self.headers.get("retry-after", "")
        if wait.isdigit():
            message += f"; try again in {wait} s"
        return ServerRefusedError(message, problem=problem, status_code=self.status)


def open_picture(server: str, answer: Answer, size: tuple[int, int] | None, limits: Limits) -> Image.Image:
    """The picture in an answer, its header read and nothing decoded.

    Raises:
        BadAnswerError: it is no picture, or not of `size` (width, height; None: any within `limits`).
    """
    try:
        picture = Image.open(io.BytesIO(answer.data), formats=[_PILLOW_FORMATS[answer.mime]])
        limits.check_dimensions(*picture.size)
    except Exception as error:  # decoders raise what they like
        raise BadAnswerError(f"{server} answered {answer.mime} that is not a readable picture") from error
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


def parse_json(server: str, answer: Answer) -> object:
    """The JSON value in an answer.

    Raises:
        BadAnswerError: it is none.
    """
    try:
        return json.loads(answer.data)
    except (ValueError, RecursionError) as error:
        raise BadAnswerError(f"{server} answered JSON that cannot be read") from error


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
