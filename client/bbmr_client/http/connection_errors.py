"""Finds the reason why a connection failed, of the operating system or OpenSSL, in the exceptions of libraries."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator

from bbmr_client.text import printable


def tls_message(error: Exception) -> str | None:
    """A message with the fields {server} and {why} if TLS itself failed, so that a retry would too; otherwise None."""
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return "the certificate of {server} is not trusted ({why}): name who signed it with --ca-file"
        if isinstance(one, ssl.SSLError) and not isinstance(one, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            if "CERTIFICATE" in (one.reason or ""):
                return "{server} does not accept this client's certificate ({why}): see --client-cert"
            return "no secured connection to {server} ({why}): does it speak https?"
    return None


def root_cause(error: Exception) -> str:
    """The most specific reason in the chain of `error`, in a few words."""
    text = printable(str(error)) or type(error).__name__
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return printable(str(one.verify_message))
        if isinstance(one, ssl.SSLError) and one.reason:
            return printable(one.reason.lower().replace("_", " "))
        if isinstance(one, socket.gaierror):
            return printable(one.strerror or text)
        # By the number and not by its strerror, to which asyncio adds words of its own.
        if isinstance(one, OSError) and one.errno is not None and one.errno in errno.errorcode:
            text = os.strerror(one.errno).lower()
    return text


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and, one after the other, its causes."""
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        now = now.exceptions[0] if isinstance(now, BaseExceptionGroup) else now.__cause__ or now.__context__
