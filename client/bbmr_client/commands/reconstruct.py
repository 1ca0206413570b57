"""`bbmr-client reconstruct` (alias `decode`): a container in, the reconstructed picture out."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bbmr_client.commands.common import as_json, one_input, picture_format, read_container, report, say
from bbmr_client.commands.connection import (
    ApiKey,
    CaFile,
    ClientCert,
    ClientKey,
    ConnectTimeout,
    Insecure,
    RetryCount,
    Servers,
    Timeout,
    connect,
)
from bbmr_client.files import STDIO, check_output, write_file
from bbmr_shared.errors import UsageError
from bbmr_shared.region import Region, check_region, parse_region

if TYPE_CHECKING:
    from bbmr_shared.container import Container


class Format(StrEnum):
    """What a picture is written as."""

    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"
    JPEG = "jpeg"


def reconstruct(
    container: Annotated[list[str], typer.Argument(metavar="IN", help="The container; - is standard input.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="OUT", help="The picture to write; - is standard output.")
    ],
    server: Servers = None,
    local: Annotated[
        bool, typer.Option("--local", help="Reconstruct on this machine (needs the server extra).")
    ] = False,
    format: Annotated[Format | None, typer.Option(help="Default: what OUT's ending says, else png.")] = None,
    region: Annotated[
        str | None, typer.Option(metavar="X,Y,W,H", help="Only this rectangle, in pixels of the picture.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Weights; default: those the container names.")
    ] = None,
    api_key: ApiKey = None,
    timeout: Timeout = None,
    connect_timeout: ConnectTimeout = None,
    retries: RetryCount = None,
    ca_file: CaFile = None,
    client_cert: ClientCert = None,
    client_key: ClientKey = None,
    insecure: Insecure = None,
    json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Reconstruct the picture of a container, on a server or on this machine."""
    name = one_input(container, "container")
    connection = connect(
        server,
        local=local,
        api_key=api_key,
        timeout=timeout,
        connect_timeout=connect_timeout,
        retries=retries,
        ca_file=ca_file,
        client_cert=client_cert,
        client_key=client_key,
        insecure=insecure,
    )
    written_as = picture_format(output, format)
    wanted = None if region is None else _region(region)
    check_output(output)
    source, _ = read_container(name)
    if wanted is not None:
        _check_region(wanted, source)
    started = time.perf_counter()
    if connection is None:
        data = _on_this_machine(source, written_as, wanted, model)
    else:
        with connection.client() as client:
            data = client.reconstruct_bytes(source, written_as, region=wanted, model=model).data
    seconds = time.perf_counter() - started
    write_file(output, data)
    width, height = wanted[2:] if wanted else (source.width, source.height)
    if json:
        facts = {"width": width, "height": height, "bytes": len(data), "format": written_as}
        address = None if connection is None else connection.servers[0]
        report(as_json({**facts, "server": address, "seconds": round(seconds, 3)}), output)
    else:
        shown = "standard output" if output == STDIO else output
        say(f"{shown}: {width}×{height} {written_as}, {len(data)} bytes, {seconds:.2f} s")


def _region(text: str) -> Region:
    try:
        return parse_region(text)
    except ValueError as error:
        raise UsageError(f"--region: {error}") from None


def _check_region(region: Region, container: Container) -> None:
    try:
        check_region(region, container.width, container.height)
    except ValueError as error:
        raise UsageError(f"--region: {error}") from None


def _on_this_machine(container: Container, format: str, region: Region | None, model: str | None) -> bytes:
    from bbmr_client.local import reconstruct_local
    from bbmr_shared.output import encode_picture

    return encode_picture(reconstruct_local(container, model=model, region=region), format)
