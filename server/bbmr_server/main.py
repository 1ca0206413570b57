"""The command `bbmr-server`: serves HTTP, or reconstructs many files in a cluster (`bbmr-server bulk`).

Exit status: 0 after a graceful stop; 1 if the server cannot start, also because of a bad environment variable, or if
its engine died; 2 on wrong flags. One line on standard error gives the reason. `bulk` exits with 0 when everything is
done, 1 if files failed or are left, 2 on wrong usage. This module imports only the standard library until a command
needs more, so that `--help` is fast and a missing package has a message.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bbmr_shared.release import release

if TYPE_CHECKING:
    from .app_state import AppState
    from .settings import HttpSettings

SERVER_PACKAGES = frozenset(
    {"fastapi", "prometheus_client", "pydantic_settings", "safetensors", "throttled", "torch", "uvicorn"}
)
"""Packages of the extra `server`."""
CLUSTER_PACKAGES = frozenset({"pandas", "pyarrow", "ray"})
"""Packages of the extra `cluster`."""
THREADS_EXIT_S = 1.0
"""Seconds that threads have to end after everything else has ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit status; argparse itself exits with 2 on wrong usage."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in CLUSTER_PACKAGES:
            return _fail(
                f"this needs {package}, which is not installed: pip install '.[cluster]' in a checkout"
            )
        if package not in SERVER_PACKAGES:
            raise
        return _fail(
            f"the server needs {package}, which is not installed: pip install '.[server]' in a checkout"
        )


def _run(arguments: list[str]) -> int:
    from bbmr_shared.errors import BbmrError, UsageError

    bulk = arguments[:1] == ["bulk"]
    try:
        if bulk:
            from bbmr_server.cluster.command import main as run_bulk

            return run_bulk(arguments[1:])
        parser = _parser()
        options = parser.parse_args(arguments)
        if options.command == "bulk":
            parser.error("bulk comes first, and its own flags after it: bbmr-server bulk --help")
        return _serve(host=options.host, port=options.port)
    except UsageError as error:
        _fail(str(error))
        return 2 if bulk else 1
    except BbmrError as error:
        return _fail(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bbmr-server",
        description="Serve the reconstruction of containers over HTTP.",
        epilog="Every other setting is an environment variable (BBMR_DEVICE, BBMR_API_KEYS, …): "
        "docs/configuration.md.",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=["serve", "bulk"],
        default="serve",
        help="what to do (serve); `bulk --help` has flags of its own",
    )
    parser.add_argument("--host", type=_host, help="address to listen on (BBMR_HOST, 127.0.0.1)")
    parser.add_argument("--port", type=_port, help="port to listen on, 0 for a free one (BBMR_PORT, 8000)")
    parser.add_argument("--version", action="version", version=f"bbmr-server {release()}")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"is a whole number from 0 to 65535, not {text[:32]!r}")
    return int(text)


def _host(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("is an address or a name, not nothing")
    return text


def _serve(host: str | None, port: int | None) -> int:
    from bbmr_server.http.uvicorn_server import Server
    from bbmr_server.observability import logs

    from .app import create_app
    from .settings import load_settings, unknown_variables

    # SIGHUP would end the process before there is a handler that reloads weights.
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    settings = load_settings(host=host, port=port)
    logs.configure(settings.observability.log_format)
    announce = _print_line if settings.observability.log_format == "text" else logs.events.info
    listener = _listen(settings.http)
    app = create_app(settings)
    for warning in unknown_variables():
        announce(f"warning: {warning}")
    if settings.open_to_the_network:
        announce(
            f"warning: anybody who reaches {settings.http.host} may use this server; "
            "set BBMR_API_KEYS to change that"
        )
    announce(_summary(app.state.bbmr))
    server = Server(app, settings, announce)
    app.state.on_failure = server.stop
    server.serve_on(listener)
    failure = app.state.bbmr.engine.failure
    if failure is not None:
        return _exit_status(_fail(f"the engine has failed: {failure}"))
    return _exit_status(0 if server.started else 1)


def _exit_status(status: int) -> int:
    """Returns `status`; but ends the process here if a thread still works that nothing can stop.

    The interpreter would wait for it: a codec that encodes a large picture, perhaps for minutes, for a client that has
    left.
    """
    threads = [
        one for one in threading.enumerate() if one is not threading.current_thread() and not one.daemon
    ]
    end = time.monotonic() + THREADS_EXIT_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        _print_line("bbmr-server: a picture that nobody waits for any more is not finished")
        sys.stdout.flush()
        os._exit(status)
    return status


def _summary(state: AppState) -> str:
    """Returns one line about weights and settings, for readers of an old log."""
    cards = state.engine.catalogue
    weights = ", ".join(f"{name} ({str(card.get('sha256', '?'))[:8]})" for name, card in cards.items())
    location = state.settings.store.location
    parts = [
        f"bbmr-server {release()}",
        f"weights {weights}",
        f"API keys {len(state.keys)}",
        f"containers in {location}" if location else "keeps no containers",
    ]
    return "; ".join(parts)


def _listen(settings: HttpSettings) -> socket.socket:
    """Returns a listening socket. Raises `UsageError` if nothing can listen there."""
    from bbmr_shared.errors import UsageError

    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}; "
            "choose with --host and --port"
        ) from None


def _print_line(line: str) -> None:
    print(
        f"{line}\n", end="", file=sys.stderr, flush=True
    )  # in one write: other threads log at the same time


def _fail(line: str) -> int:
    _print_line(f"bbmr-server: {line}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
