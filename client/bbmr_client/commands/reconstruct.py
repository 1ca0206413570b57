"""`bbmr-client reconstruct` (alias `decode`): a container in, the reconstructed picture out."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bbmr_client.batch.inputs import CONTAINERS, expand, is_batch
from bbmr_client.commands.batch_options import Jobs, Overwrite, Quiet, ReportFile
from bbmr_client.commands.common import (
    as_json,
    check_target,
    no_report,
    picture_format,
    read_container,
    report,
    say,
    shown,
    warn_of_alpha,
)
from bbmr_client.commands.connection import (
    ApiKey,
    CaFile,
    ClientCert,
    ClientKey,
    Connection,
    ConnectTimeout,
    Insecure,
    RetryCount,
    Servers,
    Timeout,
    connect,
)
from bbmr_client.commands.transfer import transfer_shown
from bbmr_client.files import STDIO, write_file
from bbmr_shared.compositing.region import Region, parse_region
from bbmr_shared.errors import UsageError

if TYPE_CHECKING:
    from bbmr_client.batch.reconstructing import ReconstructOptions
    from bbmr_shared.container import Container


class Format(StrEnum):
    """What a picture is written as."""

    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"
    JPEG = "jpeg"


def reconstruct(
    container: Annotated[
        list[str],
        typer.Argument(
            metavar="IN", help="The container, or several, folders, patterns; - is standard input."
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="OUT", help="The picture to write, or the folder for many; - is stdout."
        ),
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
    jobs: Jobs = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    report_file: ReportFile = None,
    json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Reconstruct the picture of a container, or of a folder of them, on a server or on this machine."""
    names = expand(container)
    many = is_batch(names, output)

    def ask_for_connection() -> Connection | None:
        return connect(
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

    from bbmr_client.batch.reconstructing import ReconstructOptions

    wanted = None if region is None else _region(region)
    if many:
        wish = ReconstructOptions("png" if format is None else format.value, wanted, model)
        _many(names, output, wish, ask_for_connection(), jobs, overwrite, quiet, report_file, json)
        return
    no_report(report_file)
    wish = ReconstructOptions(picture_format(output, format), wanted, model)
    check_target(output, names[0])
    _one(names[0], output, wish, ask_for_connection, quiet, json)


def _one(
    name: str,
    output: str,
    wish: ReconstructOptions,
    ask_for_connection: Callable[[], Connection | None],
    quiet: bool,
    json: bool,
) -> None:
    source, _ = read_container(name)
    width, height = wish.size(source)
    started = time.perf_counter()
    server = None
    original = wish.source_file(source)
    connection = None if original is not None else ask_for_connection()
    if original is not None:  # then there is nothing to ask anybody for
        size = _write(output, original)
    elif connection is None:
        size = _write(output, _on_this_machine(source, wish))
    else:
        size, server = _by_server(source, output, wish, connection, quiet)
    seconds = time.perf_counter() - started
    if not quiet:
        warn_of_alpha(source, wish.format)
    if json:
        facts = {"width": width, "height": height, "bytes": size, "format": wish.format}
        facts |= {"original": original is not None, "server": server, "seconds": round(seconds, 3)}
        report(as_json(facts), output)
    elif not quiet:
        how = "" if original is None else ", the source file itself"
        say(f"{shown(output)}: {width}×{height} {wish.format}, {size} bytes, {seconds:.2f} s{how}")


def _write(output: str, data: bytes) -> int:
    write_file(output, data)
    return len(data)


def _by_server(
    source: Container, output: str, wish: ReconstructOptions, connection: Connection, quiet: bool
) -> tuple[int, str]:
    """(size of the picture in bytes, who made it). Into a file it is streamed, and never all of it in memory."""
    with connection.client() as client, transfer_shown(quiet) as progress:
        if output != STDIO:
            saved = client.reconstruct_to(
                source, output, wish.format, region=wish.region, model=wish.model, progress=progress
            )
            return saved.total, saved.server
        answer = client.reconstruct_bytes(
            source, wish.format, region=wish.region, model=wish.model, progress=progress
        )
    return _write(output, answer.data), answer.server


def _many(
    names: list[str],
    output: str,
    wish: ReconstructOptions,
    connection: Connection | None,
    jobs: int | None,
    overwrite: bool,
    quiet: bool,
    report_file: str | None,
    json: bool,
) -> None:
    from bbmr_client.batch.run import Batch, run
    from bbmr_client.commands.batch_options import local_pool, request_pool
    from bbmr_shared.images.output import get_format

    if connection is None and jobs not in (None, 1):
        raise UsageError("--local works on one container at a time, with every core: leave out --jobs")
    ending = get_format(wish.format).extension
    batch = Batch(names, output, CONTAINERS, ending, "container", overwrite, quiet, report_file, json)
    if connection is None:
        run(batch, local_pool(lambda source, file: file.write(_on_this_machine(source, wish)), wish))
    else:
        run(batch, request_pool(connection.client, wish, jobs))


def _region(text: str) -> Region:
    try:
        return parse_region(text)
    except ValueError as error:
        raise UsageError(f"--region: {error}") from None


def _on_this_machine(container: Container, wish: ReconstructOptions) -> bytes:
    from bbmr_client.local import reconstruct_local
    from bbmr_shared.images.output import encode_picture

    return encode_picture(reconstruct_local(container, model=wish.model, region=wish.region), wish.format)
