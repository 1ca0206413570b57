"""Checks the responses of a server: the status, type and size first, then the body.

`exchange` receives the bytes and passes them on to the check; nothing here uses the network.
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
class Response:
    """A complete response.

    data: its body. mime: its media type without parameters. headers: their names are in lower case. server: the address
    of the server that sent it.
    """

    data: bytes
    mime: str
    headers: Mapping[str, str]
    server: str = ""


@dataclass(frozen=True)
class SavedResponse:
    """A complete response whose body was written to a file.

    total: its length in bytes. mime, headers, server: as in `Response`. width, height: of the picture, in pixels.
    """

    total: int
    mime: str
    width: int
    height: int
    headers: Mapping[str, str]
    server: str


class ResponseChecker:
    """Checks one response while it arrives: the headers first, then the number of bytes.

    server: its address, for messages. accept: the media type that was requested. max_bytes: of the body.

    ok: the status is 200, so the body belongs to the caller; the body of any other response is collected here.
    content_length: bytes of the body by its headers; None if they do not say.
    received: bytes of the body so far.
    """

    def __init__(
        self, server: str, status: int, headers: Mapping[str, str], accept: str, max_bytes: int
    ) -> None:
        self.server, self.status, self.ok = server, status, status == 200
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.mime = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        length = self.headers.get("content-length", "")
        is_number = length.isascii() and length.isdigit() and len(length) < 19
        self.content_length = int(length) if is_number else None
        self.received = 0
        self._accept, self._max_bytes = accept, max_bytes if self.ok else MAX_PROBLEM_BYTES
        self._problem: list[bytes] = []

    def check_headers(self) -> None:
        """Check status, type and length. Must be called first.

        Raises:
            BadAnswerError: the headers announce neither what was requested nor a problem document.
        """
        self._check_type()
        if self.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise BadAnswerError(f"{self.server} answered with a content encoding that was not requested")
        if self.content_length is not None and self.content_length > self._max_bytes:
            raise BadAnswerError(
                f"{self.server} announced {self.content_length} bytes; "
                f"this answer can have at most {self._max_bytes}"
            )

    def feed(self, piece: bytes) -> None:
        """Count a piece of the body.

        Raises:
            BadAnswerError: the body has become too long.
        """
        self.received += len(piece)
        if self.received > self._max_bytes:
            raise BadAnswerError(
                f"{self.server} answered more than the {self._max_bytes} bytes this answer can have"
            )
        if not self.ok:
            self._problem.append(piece)

    def finish(self) -> None:
        """Check that the whole body is there. Must be called after its last piece.

        Raises:
            ServerRefusedError: the server sent a problem document.
            BadAnswerError: the body is empty, or is a broken problem document.
        """
        if not self.ok:
            raise self._refusal(b"".join(self._problem))
        if not self.received:
            raise BadAnswerError(f"{self.server} answered nothing: 0 bytes")

    def _check_type(self) -> None:
        shown = printable(self.mime) or "no content type"
        is_redirect = 300 <= self.status < 400 and "location" in self.headers
        if self.ok and self.mime != self._accept:
            raise BadAnswerError(
                f"{self.server} answered {shown} instead of {self._accept}: is this the address of a bbmr server?"
            )
        if is_redirect:
            raise BadAnswerError(
                f"{self.server} answered {_status(self.status)} and redirects to "
                f"{_shown_location(self.headers['location'])}: use that address if you trust it"
            )
        if not self.ok and self.mime != PROBLEM:
            raise BadAnswerError(
                f"{self.server} answered {_status(self.status)} with {shown}: "
                "is this the address of a bbmr server?"
            )

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
    """Returns the picture in `file`, the body of a response. Reads its header and decodes nothing.

    size: the width and height that it must have; None allows any within `limits`.

    Raises:
        BadAnswerError: it is not a picture, or has another size.
    """
    try:
        file.seek(0)
        picture = Image.open(file, formats=[_PILLOW_FORMATS[mime]])
        limits.check_dimensions(*picture.size)
    except Exception as error:  # decoders raise exceptions of many types
        raise BadAnswerError(f"{server} answered {mime} that is not a readable picture") from error
    if size is not None and picture.size != size:
        raise BadAnswerError(
            f"{server} answered a picture of {picture.width}×{picture.height}, not {size[0]}×{size[1]}"
        )
    return picture


def load_picture(server: str, picture: Image.Image) -> Image.Image:
    """Decodes what `open_picture` opened, and returns it.

    Raises:
        BadAnswerError: it is cut short or damaged.
    """
    try:
        picture.load()
    except Exception as error:
        raise BadAnswerError(f"{server} answered a picture that is cut short or damaged") from error
    return picture


def parse_json(server: str, data: bytes) -> object:
    """Returns the JSON value in the body of a response.

    Raises:
        BadAnswerError: the body is not JSON.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadAnswerError(f"{server} answered JSON that cannot be read") from error


def _shown_location(location: str) -> str:
    """The target of a redirect, without user, password and query."""
    try:
        parts = urlsplit(location)
        return printable(
            f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".removeprefix("://"), 200
        )
    except ValueError:
        return "an address that cannot be read"


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
