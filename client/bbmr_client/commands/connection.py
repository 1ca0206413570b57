"""The options of every command that asks a server, and the `Connection` that they make.

An option wins over its environment variable, and that over the settings file (`bbmr_client.config`). Nothing is sent
here; httpx is loaded with the first client.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bbmr_client.commands.common import say
from bbmr_client.config import Config, load_config
from bbmr_client.http.retries import Retries
from bbmr_client.http.timeouts import Timeouts
from bbmr_client.http.tls import Tls
from bbmr_shared.errors import UsageError

if TYPE_CHECKING:
    from bbmr_client.http import Client

T = TypeVar("T")

SERVER_VARIABLE, KEY_VARIABLE = "BBMR_SERVER", "BBMR_API_KEY"

Servers = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        metavar="URL",
        help="A server; repeat it for further ones. Default: BBMR_SERVER, then the settings file.",
        show_default=False,
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key", metavar="KEY", help="Key for the server. Default: BBMR_API_KEY, then the settings file."
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help="Limit of a whole exchange with a server, retries included.",
        show_default="900",
    ),
]
ConnectTimeout = Annotated[
    float | None,
    typer.Option("--connect-timeout", metavar="SECONDS", help="Limit of connecting.", show_default="10"),
]
RetryCount = Annotated[
    int | None,
    typer.Option(
        "--retries",
        metavar="N",
        help="Further tries if no server can be reached or is free.",
        show_default="3",
    ),
]
CaFile = Annotated[
    str | None,
    typer.Option("--ca-file", metavar="PEM", help="Authorities for the server's certificate."),
]
ClientCert = Annotated[
    str | None, typer.Option("--client-cert", metavar="PEM", help="Certificate of this client.")
]
ClientKey = Annotated[
    str | None, typer.Option("--client-key", metavar="PEM", help="Its key, if not in the same file.")
]
Insecure = Annotated[
    bool | None,
    typer.Option("--insecure", help="Accept any certificate: others may listen in.", show_default=False),
]


@dataclass(frozen=True)
class Connection:
    """Which servers are asked, and how."""

    servers: tuple[str, ...]
    api_key: str | None = field(repr=False)
    timeouts: Timeouts
    retries: Retries
    tls: Tls

    def client(self) -> Client:
        """Returns a client of these servers; the caller closes it. Loads httpx."""
        from bbmr_client.http import Client

        # The client's Python warnings become messages of the command.
        with warnings.catch_warnings(record=True) as careless:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            made = Client(
                self.servers, self.timeouts, api_key=self.api_key, retries=self.retries, tls=self.tls
            )
        for one in careless:
            say(f"warning: {one.message}")
        return made


def connect(
    server: Sequence[str] | None = None,
    *,
    local: bool = False,
    api_key: str | None = None,
    timeout: float | None = None,
    connect_timeout: float | None = None,
    retries: int | None = None,
    ca_file: str | None = None,
    client_cert: str | None = None,
    client_key: str | None = None,
    insecure: bool | None = None,
) -> Connection | None:
    """Returns the connection that options, environment and settings file describe; None: this machine (`local`).

    Raises:
        UsageError: no server is named, or a value is wrong.
    """
    if local:
        if server:
            raise UsageError("--server and --local exclude each other")
        return None
    config = load_config()
    servers = tuple(server or os.environ.get(SERVER_VARIABLE, "").split() or config.server)
    if not servers:
        raise UsageError(
            "no server: name one with --server URL or BBMR_SERVER, or reconstruct here with --local"
        )
    timeouts = Timeouts.of(_first(timeout, config.timeout))
    patience = _first(connect_timeout, config.connect_timeout)
    own = client_cert is not None
    tls = Tls(
        ca_file or config.ca_file if not insecure else ca_file,
        client_cert or config.client_cert,
        client_key if own else client_key or config.client_key,
        bool(_first(insecure, config.insecure if not ca_file else None)),
    )
    if tls.insecure:
        say("warning: --insecure: the servers' certificates are not checked, so others can listen in")
    return Connection(
        servers,
        api_key or os.environ.get(KEY_VARIABLE) or _key_of(config, servers),
        timeouts if patience is None else replace(timeouts, connect=patience),
        Retries.of(_first(retries, config.retries)),
        tls,
    )


def _key_of(config: Config, servers: Sequence[str]) -> str | None:
    """Returns the key in the settings file. If the file names servers, the key is sent to those only."""
    if config.api_key is None:
        return None
    named = {_address(one) for one in config.server}
    if named and not named.issuperset(map(_address, servers)):
        say(f"the API key in {config.path} is for the servers named there: it is not sent")
        return None
    if config.caution:
        say(f"warning: {config.caution}")
    return config.api_key


def _address(server: str) -> str:
    """Returns the same text for addresses that mean the same: `host:port` is `http://host:port`."""
    return (server if "://" in server else f"http://{server}").rstrip("/")


def _first(*values: T | None) -> T | None:
    return next((value for value in values if value is not None), None)
