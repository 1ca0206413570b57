"""One call of a method, with the sync or the async client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from bbmr_client import AsyncClient, Client

Serve = Callable[[Callable[[BaseHTTPRequestHandler, bytes], None]], str]
"""Starts a server with this handler; returns its address."""


def call(
    kind: str,
    url: Any,
    method: str,
    *arguments: Any,
    timeout: Any = 10,
    retries: Any = 0,
    **options: Any,
) -> Any:
    """Returns what `method` of a new client returns. kind: "sync" or "async"."""
    if kind == "sync":
        with Client(url, timeout, retries=retries) as client:
            return getattr(client, method)(*arguments, **options)

    async def run() -> Any:
        async with AsyncClient(url, timeout, retries=retries) as client:
            return await getattr(client, method)(*arguments, **options)

    return asyncio.run(run())
