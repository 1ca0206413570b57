"""`bbmr-client demo`: encode, reconstruct over HTTP and measure one photo."""

from __future__ import annotations

from typing import Annotated

import typer

from bbmr_client.commands.batch_options import Json


def demo(
    photo: Annotated[str, typer.Option(metavar="PHOTO", help="The photo.")] = "samples/lake-sherburne.jpg",
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help="The folder to write into.")
    ] = "demo-output",
    json: Json = False,
) -> None:
    """Encode a photo, reconstruct it over HTTP by a server started for it, and compare it with uniform rescaling."""
    from bbmr_client.commands.common import report, say
    from bbmr_client.commands.demo_job import run_demo, table

    result = run_demo(photo, output, say)
    report(result.model_dump_json(indent=2) if json else table(result))
