"""Names for requests in logs, metrics and traces. They come from fixed sets, whatever a client sends."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import compile_path
from starlette.types import Scope

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Machines ask for these every few seconds: they are not traced or rate-limited, and only their failures are logged."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def method_of(scope: Scope) -> str:
    """Returns the method of a request, or `other`: clients can make up methods."""
    return scope["method"] if scope["method"] in _METHODS else "other"


class RouteNames:
    """Finds the template of the route of a request, such as `/containers/{digest}`."""

    def __init__(self, templates: Iterable[str]) -> None:
        self._patterns = [(template, compile_path(template)[0]) for template in templates]

    def __call__(self, scope: Scope) -> str:
        """Returns the template, or `other` if no route has this path. Most exact after the request was routed."""
        template = getattr(scope.get("route"), "path", None)
        if isinstance(template, str):
            return template
        path: str = scope["path"]
        return next((template for template, pattern in self._patterns if pattern.match(path)), "other")
