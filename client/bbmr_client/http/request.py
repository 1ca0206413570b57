"""The addresses of servers, and the contents of the requests to them. Sends nothing itself."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import SplitResult, unquote, urlsplit

from bbmr_client.http.response import JSON
from bbmr_shared.arguments import check_type
from bbmr_shared.compositing.region import Region
from bbmr_shared.container import MEDIA_TYPE
from bbmr_shared.errors import UsageError
from bbmr_shared.images.output import get_format
from bbmr_shared.limits import ANSWER_BYTES_PER_PIXEL, ANSWER_SPARE_BYTES, MAX_SERVERS, Limits

_HOST_AND_PORT = re.compile(r"(?!https?:)(\[[0-9a-fA-F:.]+\]|[^\s:/?#@\[\]]+):[0-9]{1,5}(/.*)?")


@dataclass(frozen=True)
class Request:
    """One request, to any server.

    accept: the only media type that the response may have. max_bytes: the most bytes that it may have.
    """

    method: str
    path: str
    accept: str
    max_bytes: int
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """One server.

    url: its address, without user and password; messages show it.
    is_loopback: the address is one of this machine.
    headers: what every request to it carries. Keys and passwords are in them, and never in `repr` or a message.
    """

    url: str
    is_loopback: bool
    headers: Mapping[str, str] = field(repr=False, compare=False, hash=False)

    @property
    def is_plaintext(self) -> bool:
        """Whether others can read what is sent to it."""
        return self.url.startswith("http:") and not self.is_loopback

    def headers_for(self, request: Request) -> dict[str, str]:
        content = {"Content-Type": MEDIA_TYPE} if request.method == "POST" else {}
        return {**self.headers, "Accept": request.accept, **content}


def parse_servers(base_url: str | Sequence[str], api_key: str | None) -> list[Server]:
    """Returns the servers at these addresses, in their order, each of them once.

    base_url: "http://host:port" or "https://…", or several; "host:port" means "http://host:port".

    Raises:
        UsageError: an address or the key cannot be used.
    """
    check_type("the address of a server", base_url, str, Sequence)
    check_type("the API key", api_key, str, type(None))
    urls = [base_url] if isinstance(base_url, str) else list(base_url)
    for url in urls:
        check_type("the address of a server", url, str)
    if not 1 <= len(urls) <= MAX_SERVERS:
        raise UsageError(
            f"a client needs at least one server and takes at most {MAX_SERVERS}, not {len(urls)}"
        )
    if api_key and (not (api_key.isascii() and api_key.isprintable()) or " " in api_key):
        raise UsageError("an API key has printable ASCII characters and no spaces")
    servers = {server.url: server for server in (_server(url, api_key) for url in reversed(urls))}
    return list(servers.values())[::-1]


def plaintext_warning(servers: Sequence[Server]) -> str | None:
    """A warning if a key or a password would be sent unencrypted over a network; otherwise None."""
    for server in servers:
        if server.is_plaintext and {"Authorization", "X-API-Key"} & set(server.headers):
            return f"the key for {server.url} travels unencrypted: use https"
    return None


def picture_request(
    size: tuple[int, int] | None, format: str, region: Region | None, model: str | None, limits: Limits
) -> Request:
    """The request for a picture. size: width and height of the response; None if only the server knows them.

    Raises:
        UsageError: the format is not known.
    """
    accept = get_format(format).mime
    params = {} if region is None else {"region": ",".join(map(str, region))}
    if model is not None:
        params["model"] = model
    pixels = size[0] * size[1] if size else limits.max_pixels
    max_bytes = ANSWER_BYTES_PER_PIXEL * pixels + ANSWER_SPARE_BYTES
    return Request("POST", "/reconstruct", accept, max_bytes, params)


def json_request(path: str) -> Request:
    """The request for a JSON document."""
    return Request("GET", path, JSON, ANSWER_SPARE_BYTES)


def _server(base_url: str, api_key: str | None) -> Server:
    parts, port = _split(base_url)
    host = parts.hostname or ""
    if not _is_valid_host(host):
        raise UsageError(
            f"{_without_password(base_url)} is not an address of a server: no host has such a name"
        )
    shown_host = f"[{host}]" if ":" in host else host
    url = f"{parts.scheme}://{shown_host}{'' if port is None else f':{port}'}{parts.path}".rstrip("/")
    return Server(url, _is_loopback(host), _headers(parts, api_key))


def _split(base_url: str) -> tuple[SplitResult, int | None]:
    """(the parts of an address, its port).

    Raises:
        UsageError: it is not the address of a server.
    """
    wrong = UsageError(
        f"{_without_password(base_url)!r} is not the address of a server: write http://host:port"
    )
    try:
        full = f"http://{base_url}" if _HOST_AND_PORT.fullmatch(base_url) else base_url
        parts = urlsplit(full)
        port = parts.port  # raises ValueError if it is not a number
    except (ValueError, TypeError, AttributeError):
        raise wrong from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise wrong
    return parts, port


def _headers(parts: SplitResult, api_key: str | None) -> dict[str, str]:
    headers = {"User-Agent": "bbmr-client", "Accept-Encoding": "identity"}
    if parts.username is not None or parts.password is not None:
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + b64encode(login.encode()).decode()
        if api_key:
            headers["X-API-Key"] = api_key
    elif api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return headers


def _without_password(url: object) -> str:
    """`url`, which may be anything, fit for a message."""
    text = str(url)
    before, at, host = text.rpartition("@")
    scheme, slashes, _ = before.partition("//")
    return text if not at else f"{scheme + slashes if slashes else ''}…@{host}"


def _is_valid_host(host: str) -> bool:
    """Whether a name server can be asked for `host`: every label has 1 to 63 characters."""
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
