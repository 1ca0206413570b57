"""Commands that look into a container, without a network: preview, info, verify, ratemap."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from bbmr_client.commands.batch_options import Json
from bbmr_client.commands.common import (
    as_json,
    check_target,
    naming,
    picture_format,
    plane_lines,
    read_container,
    report,
    say,
    shown,
    warn_of_lost_alpha,
)
from bbmr_client.files import FileAccessError, write_file
from bbmr_client.text import counted, printable
from bbmr_shared.errors import BbmrError, UsageError
from bbmr_shared.images.names import FormatName
from bbmr_shared.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from bbmr_client.reports.encode_report import InfoReport

Input = Annotated[str, typer.Argument(metavar="IN", help="The container; - is standard input.")]
Output = Annotated[
    str, typer.Option("--output", "-o", metavar="OUT", help="The picture to write; - is stdout.")
]
PictureFormat = Annotated[FormatName | None, typer.Option(help="Default: what OUT's ending says, else png.")]


MAX_SIDE = DEFAULT_LIMITS.max_side


def preview(
    container: Input,
    output: Output,
    max_side: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_SIDE,
            metavar="N",
            help="Scale down to at most N pixels a side.",
            show_default=False,
        ),
    ] = None,
    format: PictureFormat = None,
    json: Json = False,
) -> None:
    """Write the composite: the picture without the network."""
    written_as = picture_format(output, format)
    check_target(output, container)
    source, _ = read_container(container)

    from bbmr_shared.compositing.thumbnail import thumbnail
    from bbmr_shared.images.output import encode_picture

    with naming(container):
        picture = thumbnail(source, MAX_SIDE if max_side is None else max_side)
    warn_of_lost_alpha(source, written_as)
    data = encode_picture(picture, written_as)
    write_file(output, data)
    facts = {"width": picture.width, "height": picture.height, "bytes": len(data), "format": written_as}
    if json:
        report(as_json(facts), output)
    else:
        say(f"{shown(output)}: {picture.width}×{picture.height} {written_as}")


def info(container: Input, json: Json = False) -> None:
    """Show what is inside a container."""
    source, size = read_container(container)

    from bbmr_client.reports.encode_report import info_report

    facts = info_report(source, size)
    report(facts.model_dump_json(indent=2) if json else "\n".join(_info_lines(facts)))


def verify(
    container: Annotated[
        list[str],
        typer.Argument(metavar="IN", help="Containers, folders of them, patterns; - is standard input."),
    ],
    json: Json = False,
) -> None:
    """Check digests and structure, and that every plane decodes. Several files are all checked."""
    from bbmr_client.batch.inputs import expand

    names = expand(container)
    if len(names) == 1 and not os.path.isdir(names[0]):
        _verify_one(names[0], json)
        return
    results = []
    for name, unreadable in _files(names):
        try:
            if unreadable:
                raise FileAccessError(f"{name} {unreadable}")
            planes, size = _verify(name)
        except BbmrError as error:
            results.append({"file": name, "ok": False, "error": str(error), "type": error.problem_type})
            if not json:
                say(str(error))
        else:
            results.append({"file": name, "ok": True, "bytes": size, "planes": planes})
            if not json:
                report(_ok_line(name, planes, size))
    failed = sum(not result["ok"] for result in results)
    if json:
        report(as_json({"ok": not failed, "files": len(results), "failed": failed, "results": results}))
    else:
        say(
            f"{counted(len(results), 'file')}, {failed} damaged"
            if failed
            else f"{counted(len(results), 'file')}, none damaged"
        )
    if failed:
        raise typer.Exit(1)


def ratemap(container: Input, output: Output, format: PictureFormat = None, json: Json = False) -> None:
    """Draw the rate map over the preview, with a legend."""
    written_as = picture_format(output, format)
    check_target(output, container)
    source, _ = read_container(container)

    from bbmr_client.reports.encode_report import rate_counts
    from bbmr_client.reports.ratemap import rate_map_picture
    from bbmr_shared.compositing.composite import preview as composite
    from bbmr_shared.images.output import encode_picture

    with naming(container):
        drawn = rate_map_picture(composite(source), source)
    data = encode_picture(drawn, written_as)
    write_file(output, data)
    facts = {"width": drawn.width, "height": drawn.height, "bytes": len(data), "format": written_as}
    if json:
        report(as_json({**facts, "rates": rate_counts(source)}), output)
    else:
        say(f"{shown(output)}: rate map of {source.width}×{source.height}")


def _files(names: list[str]) -> Iterator[tuple[str, str]]:
    """Yields (file, ""), and (folder, reason) for a folder that cannot be listed. Files of a folder are sorted.

    Raises:
        UsageError: there is no file.
    """
    from bbmr_client.batch.inputs import CONTAINERS, Skipped, UnreadableFolder, find

    count = 0
    for name in names:
        found = [
            (one.source, one.reason if isinstance(one, UnreadableFolder) else "")
            for one in find([name], CONTAINERS, "", Skipped())
        ]
        count += len(found)
        yield from sorted(found)
    if not count:
        raise UsageError(f"there is no .bbmr file in {', '.join(names)}")


def _verify_one(name: str, json: bool) -> None:
    try:
        planes, size = _verify(name)
    except BbmrError as error:
        if json:
            report(as_json({"ok": False, "error": str(error), "type": error.problem_type}))
        raise
    report(as_json({"ok": True, "bytes": size, "planes": planes}) if json else _ok_line(name, planes, size))


def _verify(name: str) -> tuple[int, int]:
    """Returns (planes, bytes) of an undamaged container. Raises `BbmrError` if it is damaged."""
    source, size = read_container(name)
    with naming(name):
        source.decode_planes()
        source.decode_alpha()
    return len(source.planes), size


def _ok_line(name: str, planes: int, size: int) -> str:
    return f"{printable(shown(name, 'input'), 4000)}: ok, {counted(planes, 'plane')}, {size} bytes"


def _strengths(facts: InfoReport) -> str:
    used = {strength: blocks for strength, blocks in facts.strengths.items() if blocks}
    if len(used) == 1:
        return next(iter(used))
    return ", ".join(f"{strength} in {blocks} blocks" for strength, blocks in used.items())


def _info_lines(facts: InfoReport) -> list[str]:
    rows, cols = facts.grid
    picture = f"{facts.width}×{facts.height}, {'grey' if facts.channels == 1 else 'colour'}"
    lines = [
        f"picture       {picture}{', with alpha' if facts.alpha else ''}",
        f"file          {facts.bytes} bytes, {facts.bpp:.3f} bpp",
        f"samples       {facts.pixels}, overall rate {facts.overall_rate:.3f}",
        f"blocks        {cols}×{rows} of {facts.block} pixels",
    ]
    lines += plane_lines(facts)
    if not facts.original:
        lines += [
            f"downscaler    {printable(facts.downscaler)} {facts.downscaler_version}",
            f"weights       {printable(facts.model or 'none')}, strength {_strengths(facts)}",
        ]
    metadata = {"ICC": facts.icc_bytes, "EXIF": facts.exif_bytes, "XMP": facts.xmp_bytes}
    kept = [f"{name} {size} bytes" for name, size in metadata.items() if size]
    lines.append(f"metadata      {', '.join(kept) or 'none'}")
    if facts.dpi is not None:
        lines.append(f"resolution    {facts.dpi[0]:g}×{facts.dpi[1]:g} pixels per inch")
    if facts.unknown_fields:
        lines.append(f"unknown       {', '.join(printable(name) for name in facts.unknown_fields)}")
    return lines
