"""`python -m bbmr_server.healthcheck`: exits with 0 if the server of this container or machine is ready, else with 1.

It asks `/readyz` at the address in the server's own variables (`BBMR_HOST`, `BBMR_PORT`), without a proxy. It imports
only the standard library because it runs every few seconds.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping

TIMEOUT_S = 4.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
"""Addresses to listen on that nobody can connect to → the one to ask instead."""


def address(environ: Mapping[str, str]) -> tuple[str, int]:
    """Returns host and port to ask. Raises `ValueError` if the port is no number."""
    host = environ.get("BBMR_HOST", "127.0.0.1")
    return EVERYWHERE.get(host, host), int(environ.get("BBMR_PORT", "8000"))


def check(host: str, port: int, timeout: float = TIMEOUT_S) -> str:
    """Returns in one line why the server is not ready; empty if it is."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"no answer from {host} port {port}: {error or type(error).__name__}"
    finally:
        connection.close()
    return "" if status == 200 else f"{host} port {port} is not ready: status {status}"


def main() -> int:
    """Print the reason, for `docker inspect` or the journal; returns the exit status."""
    try:
        reason = check(*address(os.environ))
    except ValueError as error:
        reason = f"BBMR_PORT: {error}"
    if reason:
        print(reason, file=sys.stderr)
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
