"""`bbmr-client reconstruct` (alias `decode`): a container in, the reconstructed picture out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from bbmr_client.batch.inputs import CONTAINERS, expand, is_batch
from bbmr_client.commands.batch_options import Jobs, Json, Overwrite, Quiet, ReportFile, RunOptions, Verbose
from bbmr_client.commands.common import (
    as_json,
    check_target,
    picture_format,
    read_container,
    report,
    say,
    shown,
    warn_of_lost_alpha,
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
from bbmr_client.text import printable
from bbmr_shared.compositing.region import Region, parse_region
from bbmr_shared.errors import UsageError
from bbmr_shared.images.names import FormatName

if TYPE_CHECKING:
    from bbmr_client.batch.reconstructing import ReconstructOptions
    from bbmr_shared.container import Container

MAX_THREADS = 1024


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
        bool, typer.Option("--local", help="Reconstruct on this machine (needs the extra local or server).")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_THREADS,
            metavar="N",
            help="CPU threads of the network, with --local.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[
        FormatName | None, typer.Option(help="Default: what OUT's ending says, else png.")
    ] = None,
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
    verbose: Verbose = False,
    report_file: ReportFile = None,
    json: Json = False,
) -> None:
    """Reconstruct the picture of a container, or of a folder of them, on a server or on this machine."""
    run = RunOptions(jobs, overwrite, quiet, verbose, report_file, json)
    names = expand(container)
    many = is_batch(names, output)
    if threads is not None and not local:
        raise UsageError("--threads is for --local: a server has its own setting")

    def make_connection() -> Connection | None:
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
        options = ReconstructOptions("png" if format is None else format.value, wanted, model)
        _many(names, output, options, make_connection(), threads, run)
        return
    run.check_single()
    options = ReconstructOptions(picture_format(output, format), wanted, model)
    check_target(output, names[0])
    _one(names[0], output, options, make_connection, threads, run)


def _one(
    name: str,
    output: str,
    options: ReconstructOptions,
    make_connection: Callable[[], Connection | None],
    threads: int | None,
    run: RunOptions,
) -> None:
    source, _ = read_container(name)
    width, height = options.size(source)
    started = time.perf_counter()
    server: str | None = None
    headers: Mapping[str, str] = {}
    source_file = options.source_file(source)
    connection = None if source_file is not None else make_connection()
    if source_file is not None:  # no server is needed
        size = _write(output, source_file)
    elif connection is None:
        size = _write(output, _on_this_machine(source, options, threads))
    else:
        size, server, headers = _by_server(source, output, options, connection, run.quiet)
    seconds = time.perf_counter() - started
    if not run.quiet:
        warn_of_lost_alpha(source, options.format)
    if run.json:
        facts = {"width": width, "height": height, "bytes": size, "format": options.format}
        facts |= {"original": source_file is not None, "server": server, "seconds": round(seconds, 3)}
        report(as_json(facts), output)
    elif not run.quiet:
        how = "" if source_file is None else ", the source file itself"
        say(f"{shown(output)}: {width}×{height} {options.format}, {size} bytes, {seconds:.2f} s{how}")
        for line in _verbose_lines(server, headers) if run.verbose else ():
            say(line)


def _verbose_lines(server: str | None, headers: Mapping[str, str]) -> list[str]:
    if server is None:
        return ["no server was asked"]
    timing = headers.get("server-timing")
    return [f"server {server}", *([f"server-timing {printable(timing)}"] if timing else [])]


def _write(output: str, data: bytes) -> int:
    write_file(output, data)
    return len(data)


def _by_server(
    source: Container, output: str, options: ReconstructOptions, connection: Connection, quiet: bool
) -> tuple[int, str, Mapping[str, str]]:
    """Returns (size of the picture in bytes, the server, its headers). A file is streamed, not held in memory."""
    with connection.client() as client, transfer_shown(quiet) as progress:
        if output != STDIO:
            saved = client.reconstruct_to(
                source, output, options.format, region=options.region, model=options.model, progress=progress
            )
            return saved.total, saved.server, saved.headers
        answer = client.reconstruct_bytes(
            source, options.format, region=options.region, model=options.model, progress=progress
        )
    return _write(output, answer.data), answer.server, answer.headers


def _many(
    names: list[str],
    output: str,
    options: ReconstructOptions,
    connection: Connection | None,
    threads: int | None,
    run: RunOptions,
) -> None:
    from bbmr_client.batch.run import run as run_batch
    from bbmr_client.commands.batch_options import local_pool, request_pool
    from bbmr_shared.images.output import get_format

    if connection is None and run.jobs not in (None, 1):
        raise UsageError("--local works on one container at a time, with every core: leave out --jobs")
    ending = get_format(options.format).extension
    if connection is None:
        pool = local_pool(
            lambda source, file: file.write(_on_this_machine(source, options, threads)), options
        )
    else:
        pool = request_pool(connection.client, options, run.jobs)
    run_batch(run.batch(names, output, CONTAINERS, ending, "container"), pool)


def _region(text: str) -> Region:
    try:
        return parse_region(text)
    except ValueError as error:
        raise UsageError(f"--region: {error}") from None


def _on_this_machine(container: Container, options: ReconstructOptions, threads: int | None) -> bytes:
    from bbmr_client.local import reconstruct_local
    from bbmr_shared.images.output import encode_picture

    picture = reconstruct_local(container, model=options.model, region=options.region, threads=threads)
    return encode_picture(picture, options.format)
