"""Commands that look into a container or at pictures, without a network: preview, info, verify, ratemap, compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bbmr_client.commands.common import as_json, one_input, picture_format, read_container, report, say
from bbmr_client.commands.reconstruct import Format
from bbmr_client.files import STDIO, check_output, write_file
from bbmr_client.text import printable
from bbmr_shared.errors import BbmrError, PictureError

if TYPE_CHECKING:
    from bbmr_client.report import InfoReport

Input = Annotated[list[str], typer.Argument(metavar="IN", help="The container; - is standard input.")]
Output = Annotated[
    str, typer.Option("--output", "-o", metavar="OUT", help="The picture to write; - is stdout.")
]
PictureFormat = Annotated[Format | None, typer.Option(help="Default: what OUT's ending says, else png.")]
Json = Annotated[bool, typer.Option("--json", help="Report as JSON.")]

_UNITS = {
    "psnr_rgb": "PSNR-RGB dB",
    "psnr_y": "PSNR-Y dB",
    "ssim": "SSIM",
    "max_difference": "largest difference",
}


def preview(container: Input, output: Output, format: PictureFormat = None, json: Json = False) -> None:
    """Write the composite: the picture as it is without the network."""
    written_as = picture_format(output, format)
    check_output(output)
    source, _ = read_container(one_input(container, "container"))

    from bbmr_shared.composite import preview as composite
    from bbmr_shared.output import encode_picture

    data = encode_picture(composite(source), written_as)
    write_file(output, data)
    facts = {"width": source.width, "height": source.height, "bytes": len(data), "format": written_as}
    if json:
        report(as_json(facts), output)
    else:
        say(f"{_shown(output)}: {source.width}×{source.height} {written_as}")


def info(container: Input, json: Json = False) -> None:
    """Say what is inside a container."""
    source, size = read_container(one_input(container, "container"))

    from bbmr_client.report import info_report

    facts = info_report(source, size)
    report(facts.model_dump_json(indent=2) if json else "\n".join(_lines(facts)))


def verify(container: Input, json: Json = False) -> None:
    """Check digests and structure, and that every plane decodes."""
    name = one_input(container, "container")
    try:
        source, size = read_container(name)
        source.decode_planes()
        source.decode_alpha()
    except BbmrError as error:
        if json:
            report(as_json({"ok": False, "error": str(error), "type": error.problem_type}))
        raise
    if json:
        report(as_json({"ok": True, "bytes": size, "planes": len(source.planes)}))
    else:
        shown = "standard input" if name == STDIO else printable(name, 4000)
        report(f"{shown}: ok, {len(source.planes)} planes, {size} bytes")


def ratemap(container: Input, output: Output, format: PictureFormat = None, json: Json = False) -> None:
    """Draw the rate map over the preview, with a legend."""
    written_as = picture_format(output, format)
    check_output(output)
    source, _ = read_container(one_input(container, "container"))

    from bbmr_client.report import rate_counts
    from bbmr_client.view import rate_map_picture
    from bbmr_shared.composite import preview as composite
    from bbmr_shared.output import encode_picture

    drawn = rate_map_picture(composite(source), source)
    data = encode_picture(drawn, written_as)
    write_file(output, data)
    facts = {"width": drawn.width, "height": drawn.height, "bytes": len(data), "format": written_as}
    if json:
        report(as_json({**facts, "rates": rate_counts(source)}), output)
    else:
        say(f"{_shown(output)}: rate map of {source.width}×{source.height}")


def compare(
    reference: Annotated[str, typer.Argument(metavar="REF", help="The picture to measure against.")],
    test: Annotated[str, typer.Argument(metavar="TEST", help="The picture to measure.")],
    json: Json = False,
) -> None:
    """Measure a picture against another of the same size: PSNR-RGB, PSNR-Y, SSIM. Alpha is left out."""
    from bbmr_client.photo import load_photo
    from bbmr_shared.metrics import compare as measure

    first, second = load_photo(reference), load_photo(test)
    if first.rgb.shape != second.rgb.shape:
        raise PictureError(
            f"the sizes differ: {reference} is {first.width}×{first.height}, "
            f"{test} is {second.width}×{second.height}"
        )
    figures = measure(first.rgb, second.rgb)
    lines = [f"{_UNITS.get(key, key):<20}{_figure(value)}" for key, value in figures.items()]
    report(as_json(figures) if json else "\n".join(lines))


def _shown(output: str) -> str:
    return "standard output" if output == STDIO else output


def _figure(value: float | None) -> str:
    return "equal" if value is None else f"{value:.6g}"


def _strengths(facts: InfoReport) -> str:
    used = {strength: blocks for strength, blocks in facts.strengths.items() if blocks}
    if len(used) == 1:
        return next(iter(used))
    return ", ".join(f"{strength} in {blocks} blocks" for strength, blocks in used.items())


def _lines(facts: InfoReport) -> list[str]:
    rows, cols = facts.grid
    lines = [
        f"picture       {facts.width}×{facts.height}{', with alpha' if facts.alpha else ''}",
        f"file          {facts.bytes} bytes, {facts.bpp:.3f} bpp",
        f"samples       {facts.pixels}, overall rate {facts.overall_rate:.3f}",
        f"blocks        {cols}×{rows} of {facts.block} pixels",
    ]
    for plane in facts.planes:
        error = facts.coding_errors[str(plane.rate)]
        exact = "lossless" if error == 0 else f"coding error {error}"
        blocks = facts.rates[str(plane.rate)]
        lines.append(
            f"plane 1/{plane.rate:<5} {blocks} blocks, {printable(plane.codec)}, {plane.bytes} bytes, {exact}"
        )
    lines += [
        f"downscaler    {printable(facts.downscaler)} {facts.downscaler_version}",
        f"weights       {printable(facts.model or 'none')}, strength {_strengths(facts)}",
    ]
    metadata = {"ICC": facts.icc_bytes, "EXIF": facts.exif_bytes, "XMP": facts.xmp_bytes}
    kept = [f"{name} {size} bytes" for name, size in metadata.items() if size]
    lines.append(f"metadata      {', '.join(kept) or 'none'}")
    if facts.unknown_fields:
        lines.append(f"unknown       {', '.join(printable(name) for name in facts.unknown_fields)}")
    return lines
