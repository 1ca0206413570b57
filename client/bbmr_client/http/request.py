"""Servers as the client sees them, and how each request to them is written. Sends nothing itself.

In: an address; a format, a region and a model. Out: a `Server`, a `Request`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from bbmr_client.http.response import JSON
from bbmr_shared.compositing.region import Region
from bbmr_shared.container import MEDIA_TYPE
from bbmr_shared.errors import UsageError
from bbmr_shared.images.output import get_format
from bbmr_shared.limits import ANSWER_BYTES_PER_PIXEL, ANSWER_SPARE_BYTES, MAX_SERVERS, Limits


@dataclass(frozen=True)
class Request:
    """One request, to whichever server. `accept`: the only media type that may answer it; `most`: bytes the answer may
    have."""

    method: str
    path: str
    accept: str
    most: int
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """One server. `url`: its address, without user and password; `on_this_machine`: it is a loopback address.
    `headers`: what every request to it carries; the key and the password are there, and in no message."""

    url: str
    on_this_machine: bool
    headers: Mapping[str, str] = field(repr=False, compare=False, hash=False)

    @property
    def shown(self) -> str:
        """How messages call it."""
        return self.url

    @property
    def is_open(self) -> bool:
        """Whether what is sent there can be read on the way."""
        return self.url.startswith("http:") and not self.on_this_machine

    def headers_for(self, request: Request) -> dict[str, str]:
        content = {"Content-Type": MEDIA_TYPE} if request.method == "POST" else {}
        return {**self.headers, "Accept": request.accept, **content}


def make_servers(base_url: str | Sequence[str], api_key: str | None) -> list[Server]:
    """The servers at these addresses, in their order, each of them once.

    Raises:
        UsageError: an address or the key makes no sense.
    """
    urls = [base_url] if isinstance(base_url, str) else list(base_url)
    if not 1 <= len(urls) <= MAX_SERVERS:
        raise UsageError(f"there is at least one server, and at most {MAX_SERVERS}, not {len(urls)}")
    if api_key and (not (api_key.isascii() and api_key.isprintable()) or " " in api_key):
        raise UsageError("an API key has printable ASCII characters and no spaces")
    return list(
        {server.url: server for server in (_server(url, api_key) for url in reversed(urls))}.values()
    )[::-1]


def caution(servers: Sequence[Server]) -> str | None:
    """One line where a key or a password would travel so that anybody on the way can read it; None: nowhere."""
    for server in servers:
        if server.is_open and {"Authorization", "X-API-Key"} & set(server.headers):
            return f"the key for {server.shown} travels unencrypted: use https"
    return None


def picture_request(
    size: tuple[int, int] | None, format: str, region: Region | None, model: str | None, limits: Limits
) -> Request:
    """Ask for a picture. size: of the answer; None where only the server can know."""
    accept = get_format(format).mime
    params = {} if region is None else {"region": ",".join(map(str, region))}
    if model is not None:
        params["model"] = model
    pixels = size[0] * size[1] if size else limits.max_pixels
    return Request(
        "POST", "/reconstruct", accept, ANSWER_BYTES_PER_PIXEL * pixels + ANSWER_SPARE_BYTES, params
    )


def json_request(path: str) -> Request:
    """Ask for a JSON document."""
    return Request("GET", path, JSON, ANSWER_SPARE_BYTES)


def _server(base_url: str, api_key: str | None) -> Server:
    wrong = UsageError(
        f"{_without_password(base_url)!r} is not the address of a server: write http://host:port"
    )
    try:
        parts = urlsplit(base_url)
        port = parts.port  # parsed only when asked for
    except (ValueError, TypeError, AttributeError):
        raise wrong from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise wrong
    if not _can_be_asked_for(parts.hostname):
        raise UsageError(
            f"{_without_password(base_url)} is not an address of a server: no host has such a name"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    url = f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path}".rstrip("/")
    headers = {"User-Agent": "bbmr-client", "Accept-Encoding": "identity"}
    if parts.username is not None or parts.password is not None:
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + b64encode(login.encode()).decode()
        if api_key:
            headers["X-API-Key"] = api_key
    elif api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return Server(url, _is_loopback(parts.hostname), headers)


def _without_password(url: object) -> str:
    """An address that may be none, fit for a message."""
    text = str(url)
    before, at, host = text.rpartition("@")
    scheme, slashes, _ = before.partition("//")
    return text if not at else f"{scheme + slashes if slashes else ''}…@{host}"


def _can_be_asked_for(host: str) -> bool:
    """Whether a name server could be asked for this host: every label has 1 to 63 characters."""
    if ":" in host:
        return True
    try:
        name = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return False
    return all(0 < len(label) < 64 for label in name.removesuffix(".").split("."))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
