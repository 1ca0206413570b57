"""One server as the client sees it: its address, and how each request to it is written. Sends nothing itself.

In: a container and options. Out: a `Request`, and the check of the picture that answers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from PIL import Image

from bbmr_client.answer import JSON, Answer, open_picture
from bbmr_client.timeouts import Timeouts
from bbmr_shared.container import MEDIA_TYPE, Container
from bbmr_shared.errors import UsageError
from bbmr_shared.limits import Limits
from bbmr_shared.output import get_format
from bbmr_shared.region import Region

Packed = bytes | bytearray | memoryview
"""A container as the bytes of its file."""

_BYTES_PER_PIXEL = 6  # an uncompressed RGBA picture has 4
_SPARE_BYTES = 8 << 20  # metadata and file structure


@dataclass(frozen=True)
class Request:
    """One request. `accept`: the only media type that may answer it; `most`: bytes the answer may have."""

    method: str
    url: str
    accept: str
    most: int
    headers: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None


class Service:
    """What is the same for every exchange with one server. `shown` is its address as messages may show it;
    `on_this_machine`: it is a loopback address.

    Raises:
        UsageError: the address, the timeout or the key makes no sense.
    """

    def __init__(
        self, base_url: str, timeout: float | Timeouts | None, api_key: str | None, limits: Limits
    ) -> None:
        self.url, self.shown = _checked_url(base_url)
        self.on_this_machine = _is_loopback(urlsplit(self.url).hostname or "")
        self.timeouts = Timeouts.of(timeout)
        self.limits = limits
        self._headers = {"User-Agent": "bbmr-client", "Accept-Encoding": "identity"}
        if api_key:
            if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
                raise UsageError("an API key has printable ASCII characters and no spaces")
            self._headers["Authorization"] = f"Bearer {api_key}"

    def reconstruct(
        self, container: Container | Packed, format: str, region: Region | None, model: str | None
    ) -> Request:
        """Ask for the picture of a container."""
        accept = get_format(format).mime
        params = {} if region is None else {"region": ",".join(map(str, region))}
        if model is not None:
            params["model"] = model
        size = _answer_size(container, region)
        pixels = size[0] * size[1] if size else self.limits.max_pixels
        return Request(
            "POST",
            f"{self.url}/reconstruct",
            accept,
            _BYTES_PER_PIXEL * pixels + _SPARE_BYTES,
            {**self._headers, "Accept": accept, "Content-Type": MEDIA_TYPE},
            params,
            container.to_bytes() if isinstance(container, Container) else bytes(container),
        )

    def get(self, path: str) -> Request:
        """Ask for a JSON document."""
        return Request("GET", self.url + path, JSON, _SPARE_BYTES, {**self._headers, "Accept": JSON})

    def check(self, answer: Answer, container: Container | Packed, region: Region | None) -> Image.Image:
        """The picture in the answer, not decoded, once its header is what was asked for."""
        return open_picture(self.shown, answer, _answer_size(container, region), self.limits)


def _checked_url(base_url: str) -> tuple[str, str]:
    """(the address without a trailing slash, the same without user and password for messages)."""
    wrong = UsageError(f"{base_url!r} is not the address of a server: write http://host:port")
    try:
        parts = urlsplit(base_url)
        port = parts.port  # parsed only when asked for
    except (ValueError, TypeError, AttributeError):
        raise wrong from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise wrong
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path}"
    return base_url.rstrip("/"), shown.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _answer_size(container: Container | Packed, region: Region | None) -> tuple[int, int] | None:
    """(width, height) that the picture must have; None where only the server can know."""
    if region is not None:
        return region[2], region[3]
    return (container.width, container.height) if isinstance(container, Container) else None
