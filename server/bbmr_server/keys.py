"""API keys: reads them from the settings, and checks the key of a request."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from pydantic import SecretStr

from bbmr_shared.errors import UsageError

from .errors import ForbiddenError, UnauthorizedError
from .settings import KEY, KEY_RULE, Settings

MAX_FILE_BYTES = 1 << 20
_PLACEHOLDER = re.compile(
    r"change.?me|change.?it|change.?this|default|example|placeholder|password|passw0rd|secret|replace|qwerty"
    r"|your.{0,6}key|letmein",
    re.IGNORECASE,
)
_PURPOSE_WORDS = re.compile(
    r"bbmr|server|service|client|admin|operator|user|api|key|token|auth|access|prod(uction)?|stag(e|ing)|test(ing)?"
    r"|dev(elopment)?|demo|local|my|the|our|for|20\d\d|[^a-z0-9]",
    re.IGNORECASE,
)
"""Words that say what a key is for. They may be part of a key, but a key must not consist of them."""
MIN_REMAINDER = 8
"""Characters that must be left of a key without those words."""


class KeyRing:
    """The keys that a server accepts; an empty ring lets everybody in.

    Args:
        keys: each is a secret of 16 or more printable ASCII characters, or a name, a space and a secret.
        what: what error messages call a key.

    Raises:
        UsageError: a key is malformed, or a name or a secret comes twice. The message repeats no secret.
    """

    def __init__(self, keys: Sequence[SecretStr] = (), what: str = "API key") -> None:
        self._names: dict[bytes, str] = {}
        for number, key in enumerate(keys, 1):
            match = KEY.fullmatch(key.get_secret_value())
            if match is None:
                raise UsageError(f"{what} {number}: {KEY_RULE}")
            digest = _digest(match["secret"])
            name = match["name"] or f"key-{digest.hex()[:8]}"
            if digest in self._names or name in self._names.values():
                raise UsageError(f"{what} {number}: the key or its name {name} is there twice")
            self._names[digest] = name

    def __len__(self) -> int:
        return len(self._names)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the keys in the log; `key-` and 8 digits of its digest for a key without a name."""
        return tuple(self._names.values())

    def digest_of(self, name: str) -> bytes:
        """Returns SHA-256 of the key with this name."""
        return next(digest for digest, known in self._names.items() if known == name)

    def name_of(self, headers: Mapping[str, str]) -> str | None:
        """Returns the name of the request's key if it is valid, else None.

        Every key is compared, in constant time, so that the duration reveals nothing.
        """
        if not self._names:
            return None
        digest = _digest(_key_of(headers))
        names = [name for known, name in self._names.items() if hmac.compare_digest(digest, known)]
        return names[0] if names else None

    def check(self, headers: Mapping[str, str]) -> None:
        """Check that the request has a valid key (`Authorization: Bearer KEY` or `X-API-Key: KEY`).

        Raises:
            UnauthorizedError: it has no key. ForbiddenError: its key is not valid.
        """
        if not self._names:
            return
        if not _key_of(headers):
            raise UnauthorizedError(
                "this server wants an API key: send Authorization: Bearer KEY",
                headers={"WWW-Authenticate": 'Bearer realm="bbmr"'},
            )
        if self.name_of(headers) is None:
            raise ForbiddenError("the API key is not valid here")


def load_keys(settings: Settings) -> KeyRing:
    """Returns the keys of BBMR_API_KEYS and of the file BBMR_API_KEYS_FILE.

    Raises:
        UsageError: the file cannot be read or has no key; a key is malformed; or a key is easy to guess and other
            machines can reach the server.
    """
    return _strong_ring([*settings.access.api_keys, *_from_file(settings)], settings, "API key")


def load_admin_keys(settings: Settings) -> KeyRing:
    """Returns the keys of BBMR_ADMIN_KEYS. Raises `UsageError` as `load_keys`."""
    return _strong_ring(settings.access.admin_keys, settings, "BBMR_ADMIN_KEYS: key")


def check_apart(keys: KeyRing, admin_keys: KeyRing) -> None:
    """Raises `UsageError` if two different keys have the same name: log and rate limit know keys by name."""
    for name in set(keys.names) & set(admin_keys.names):
        if keys.digest_of(name) != admin_keys.digest_of(name):
            raise UsageError(
                f"BBMR_ADMIN_KEYS: a key is named {name} as another one among the API keys is; the log and the rate "
                "limit go by names, so rename one"
            )


def _strong_ring(keys: Sequence[SecretStr], settings: Settings, what: str) -> KeyRing:
    ring = KeyRing(keys, what)
    if settings.http.public:
        for number, key in enumerate(keys, 1):
            if why := weakness(key.get_secret_value().split()[-1]):
                raise UsageError(
                    f"{what} {number} ({ring.names[number - 1]}) {why}, and others could reach the server on "
                    f"{settings.http.host}: make one with `openssl rand -hex 24`"
                )
    return ring


def weakness(secret: str) -> str | None:
    """Returns why this secret is easy to guess (a placeholder, a sequence, a repetition, …), or None."""
    if _PLACEHOLDER.search(secret):
        return "is a placeholder or an example"
    if len(_PURPOSE_WORDS.sub("", secret)) < MIN_REMAINDER:
        return "only says what it is for"
    if len(set(secret)) < 5:
        return "has fewer than 5 different characters"
    if any(secret == (secret[:size] * len(secret))[: len(secret)] for size in range(1, len(secret) // 2 + 1)):
        return "repeats itself"
    steps = [ord(b) - ord(a) for a, b in pairwise(secret)]
    if max(steps.count(1), steps.count(-1)) >= 0.7 * len(steps):
        return "is a sequence"
    return None


def _from_file(settings: Settings) -> list[SecretStr]:
    path = settings.access.api_keys_file
    if path is None:
        return []
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise UsageError(f"BBMR_API_KEYS_FILE: {path} is not plain ASCII text") from None
    except OSError as error:
        raise UsageError(f"BBMR_API_KEYS_FILE: cannot read {path}: {error.strerror or error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"BBMR_API_KEYS_FILE: {path} is longer than {MAX_FILE_BYTES} bytes")
    keys = []
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line and not line.startswith("#"):
            if not KEY.fullmatch(line):
                raise UsageError(f"BBMR_API_KEYS_FILE: line {number} of {path}: {KEY_RULE}")
            keys.append(SecretStr(line))
    if not keys:
        raise UsageError(f"BBMR_API_KEYS_FILE: there is no key in {path}")
    return keys


def _key_of(headers: Mapping[str, str]) -> str:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
