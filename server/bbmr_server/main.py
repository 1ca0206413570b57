"""`bbmr-server`: flags and environment in, a running server out.

Exit status: 0 after a graceful stop, 1 where it cannot start (bad environment variables too) or its engine died,
2 on wrong flags. What is wrong is said in one line on standard error. `bbmr-server bulk` is `cluster.command`: 0 once
everything is done, 1 where files failed or are left, 2 on wrong usage. This module imports nothing but the standard
library until it must.
"""

from __future__ import annotations

import argparse
import asyncio
import math
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
    from .app_state import Service
    from .settings import Settings

NEEDS = frozenset(
    {"fastapi", "prometheus_client", "pydantic_settings", "safetensors", "throttled", "torch", "uvicorn"}
)
"""What the extra `server` brings; missing, it is named in words."""
NEEDS_OF_A_CLUSTER = frozenset({"pandas", "pyarrow", "ray"})
"""The same of the extra `cluster`."""
LAST_S = 1.0
"""Seconds that threads have to end when everything else has."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (argparse itself exits with 2 on wrong usage)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        from bbmr_shared.errors import BbmrError, UsageError

        try:
            if given[:1] == ["bulk"]:
                from bbmr_server.cluster.command import main as bulk

                return bulk(given[1:])
            parser = _parser()
            options = parser.parse_args(given)
            if options.command == "bulk":
                parser.error("bulk comes first, and its own flags after it: bbmr-server bulk --help")
            return _serve(host=options.host, port=options.port)
        except UsageError as error:
            _fail(str(error))
            return 2 if given[:1] == ["bulk"] else 1
        except BbmrError as error:
            return _fail(str(error))
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in NEEDS_OF_A_CLUSTER:
            return _fail(f"this needs {package}, which is not installed: pip install 'bbmr[cluster]'")
        if package not in NEEDS:
            raise
        return _fail(f"the server needs {package}, which is not installed: pip install 'bbmr[server]'")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bbmr-server",
        description="Serve the reconstruction of containers over HTTP.",
        epilog="Every other setting is an environment variable (BBMR_DEVICE, BBMR_API_KEYS, …): docs/configuration.md.",
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
    import uvicorn

    from bbmr_server.http.protocol import KEEP_ALIVE_S, bounded_protocol
    from bbmr_server.observability import logs

    from .app import create_app
    from .settings import load_settings, unknown_variables

    # Until there is something to reload; without a handler it would end the process.
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    settings = load_settings(host=host, port=port)
    logs.configure(settings.observability.log_format)
    tell = _say if settings.observability.log_format == "text" else logs.events.info
    listener = _listen(settings)
    app = create_app(settings)
    engine = app.state.service.engine
    for warning in unknown_variables():
        tell(f"warning: {warning}")
    if settings.open_to_the_network:
        tell(
            f"warning: anybody who reaches {settings.http.host} may use this server; "
            "set BBMR_API_KEYS to change that"
        )
    tell(_about(app.state.service))
    config = uvicorn.Config(
        app,
        loop="asyncio",  # also where uvloop is installed, as by Ray: one loop that everything was tested with
        http=bounded_protocol(settings),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=bool(settings.http.forwarded_allow_ips),
        forwarded_allow_ips=list(settings.http.forwarded_allow_ips),
        timeout_keep_alive=KEEP_ALIVE_S,
        # What is left at drain_s is refused; this is for connections that hang on after that.
        timeout_graceful_shutdown=math.ceil(settings.http.drain_s) + 2,
    )
    address = _url(listener)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                tell(f"listening on {address}")

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            tell(f"stopping; {engine.inside} pictures are finished within {settings.http.drain_s:g} s")
            app.state.stop_by = time.monotonic() + settings.http.drain_s
            asyncio.get_running_loop().call_later(settings.http.drain_s, app.state.service.refuse_all)
            await super().shutdown(sockets)

    server = Server(config)

    def stop() -> None:
        server.should_exit = True

    app.state.on_failure = stop
    # For a signal before uvicorn listens to them; after its stop it raises the signal again, which then is harmless.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
    server.run(sockets=[listener])
    if engine.failure is not None:
        return _leave(_fail(f"the engine has failed: {engine.failure}"))
    return _leave(0 if server.started else 1)


def _leave(status: int) -> int:
    """`status`, unless a thread is at work that cannot be stopped: then the process ends here, without waiting.

    The interpreter would wait for a codec that encodes a large picture for nobody, however long that takes.
    """
    threads = [
        one for one in threading.enumerate() if one is not threading.current_thread() and not one.daemon
    ]
    end = time.monotonic() + LAST_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        _say("bbmr-server: a picture that nobody waits for any more is not finished")
        sys.stdout.flush()
        os._exit(status)
    return status


def _about(service: Service) -> str:
    """One line about what runs: for who reads a log later, and wonders which weights and settings it was."""
    cards = service.engine.catalogue
    weights = ", ".join(f"{name} ({str(card.get('sha256', '?'))[:8]})" for name, card in cards.items())
    parts = [
        f"bbmr-server {release()}",
        f"weights {weights}",
        f"API keys {len(service.keys)}",
        f"containers in {service.settings.store.location}"
        if service.settings.store.location
        else "keeps no containers",
    ]
    return "; ".join(parts)


def _listen(settings: Settings) -> socket.socket:
    """A socket that listens where the settings say. Raises `UsageError` where that cannot be."""
    from bbmr_shared.errors import UsageError

    try:
        found = socket.getaddrinfo(
            settings.http.host, settings.http.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {settings.http.host} port {settings.http.port}: {error.strerror or error}; "
            "choose with --host and --port"
        ) from None


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"


def _say(line: str) -> None:
    print(f"{line}\n", end="", file=sys.stderr, flush=True)  # in one piece, beside the log of other threads


def _fail(line: str) -> int:
    _say(f"bbmr-server: {line}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
