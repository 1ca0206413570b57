"""ASGI middleware that refuses requests over the rate limit, before their body is read.

It counts by API key if a request has a valid one, otherwise by the client's address. Each client has a token bucket
(the generic cell rate algorithm: one number a client). Beyond `CLIENTS`, the client not seen for longest is forgotten.
"""

from __future__ import annotations

import ipaddress
import math

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from throttled import MemoryStore, RateLimiterType, Throttled

from bbmr_server.errors import RateLimitedError
from bbmr_server.observability.labels import PROBES
from bbmr_server.observability.metrics import Metrics
from bbmr_server.observability.request_notes import notes_of

from .problems import problem

CLIENTS = 65_536
"""Keys and addresses that are remembered, about 20 MB."""
PAGES = frozenset({"/", "/docs", "/openapi.json"})
"""What a browser loads to show the server. Neither these nor the probes are counted."""
PAGE_FILES = "/page/"
_PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


class RateLimit:
    """Lets each client send requests at the rate.

    Args:
        rate: such as `600/minute` (600 at once, and one more every 0.1 s) or `5/second burst 20`.
    """

    def __init__(self, app: ASGIApp, rate: str, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics
        self._throttled = Throttled(
            using=RateLimiterType.GCRA.value,
            quota=rate,
            store=MemoryStore(options={"MAX_SIZE": CLIENTS}),
        )
        number, period = rate.partition(" ")[0].split("/")
        self._allowed = f"{number} requests a {period}"
        self._policy = f'"default";q={number};w={_PERIODS[period]}'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_free(scope["path"], scope["method"]):
            await self.app(scope, receive, send)
            return
        key = notes_of(scope).key
        result = self._throttled.limit(f"key:{key}" if key else f"address:{_network_of(scope)}")
        state = result.state
        headers = {
            "RateLimit-Policy": self._policy,
            "RateLimit": f'"default";r={state.remaining};t={math.ceil(state.reset_after)}',
        }

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        if not result.limited:
            await self.app(scope, receive, send_with_headers)
            return
        self.metrics.count_limited(by_key=key is not None)
        wait = max(1, math.ceil(state.retry_after))
        message = f"this {'key' if key else 'address'} may send {self._allowed}; try again in {wait} s"
        refusal = RateLimitedError(message, headers={"Retry-After": str(wait)})
        answer = problem(Request(scope), refusal.slug, refusal.status, message, refusal.headers)
        await answer(scope, receive, send_with_headers)


def is_free(path: str, method: str) -> bool:
    """Returns whether a request is not counted: a probe, or a page that shows the server."""
    return path in PROBES or path in PAGES or (path.startswith(PAGE_FILES) and method in ("GET", "HEAD"))


def _network_of(scope: Scope) -> str:
    """Returns the client's address, or the /64 network of an IPv6 address, since a client can choose the rest."""
    host: str = (scope.get("client") or ("-",))[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]
    if address.version == 6:
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)
