"""Why a connection failed: the system's own word, which libraries hide behind theirs. In: an exception. Out: words."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator

from bbmr_client.text import printable


def refused_by_tls(error: Exception) -> str | None:
    """The message, with {shown} for the server and {why}, where it was TLS that failed and not the connection below it:
    it would fail again the next time."""
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return "the certificate of {shown} is not trusted ({why}): name who signed it with --ca-file"
        if isinstance(one, ssl.SSLError) and not isinstance(one, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            if "CERTIFICATE" in (one.reason or ""):
                return "{shown} does not accept who this client is ({why}): see --client-cert"
            return "no secured connection to {shown} ({why}): does it speak https?"
    return None


def cause(error: Exception) -> str:
    """The shortest true reason: of a failed connection the system's word, which httpx hides behind its own."""
    text = printable(str(error)) or type(error).__name__
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return printable(str(one.verify_message))
        if isinstance(one, ssl.SSLError) and one.reason:
            return printable(one.reason.lower().replace("_", " "))
        if isinstance(one, socket.gaierror):
            return printable(one.strerror or text)
        # Not its strerror, into which asyncio writes words of its own.
        if isinstance(one, OSError) and one.errno is not None and one.errno in errno.errorcode:
            text = os.strerror(one.errno).lower()
    return text


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and, one after the other, what it came from."""
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        now = now.exceptions[0] if isinstance(now, BaseExceptionGroup) else now.__cause__ or now.__context__
