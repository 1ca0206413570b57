"""API keys: a request's headers in, nothing or a refusal out."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from pydantic import SecretStr

from .errors import ForbiddenError, UnauthorizedError


class KeyRing:
    """The keys a server accepts; with none, everybody may come in."""

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        self._digests = [_digest(key.get_secret_value()) for key in keys]

    def check(self, headers: Mapping[str, str]) -> None:
        """Let the request pass if it carries a valid key (`Authorization: Bearer KEY` or `X-API-Key: KEY`).

        Every key is compared, in constant time, so the duration tells nothing.

        Raises:
            UnauthorizedError: there is no key; ForbiddenError: it is not valid.
        """
        if not self._digests:
            return
        scheme, _, value = headers.get("authorization", "").partition(" ")
        given = value.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()
        if not given:
            raise UnauthorizedError(
                "this server wants an API key: send Authorization: Bearer KEY",
                headers={"WWW-Authenticate": 'Bearer realm="bbmr"'},
            )
        digest = _digest(given)
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if not any(matches):
            raise ForbiddenError("the API key is not valid here")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
