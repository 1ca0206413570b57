"""`bbmr-client demo`: the main task from end to end on one photo."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    photo: Annotated[str, typer.Option(metavar="PHOTO", help="The photo.")] = "samples/lake-sherburne.jpg",
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help="The folder to write into.")
    ] = "demo-output",
    json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Encode a photo, reconstruct it over HTTP with a server of its own, and measure it against uniform rescaling."""
    from bbmr_client.commands.common import report, say
    from bbmr_client.commands.demo_job import run_demo, table

    result = run_demo(photo, output, say)
    report(result.model_dump_json(indent=2) if json else table(result))
