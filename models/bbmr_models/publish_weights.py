"""Add trained weights to the package: `python -m bbmr_models.publish_weights FILE NAME --log RUN/log.jsonl`.

In: weights that training exported. Out: `weights/NAME.safetensors`, its digest in `weights/digests.json`, and the part
of the card `weights/NAME.md` that describes the run, with the curve of the logs.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .cards import DIGESTS, FORMAT, Card, card_of, digests
from .config import RESTORATION, JointSRConfig

WEIGHTS = Path(str(DIGESTS)).parent
MAX_BYTES = 4 * 2**20
BEGIN, END = "<!-- run: written by publish_weights -->", "<!-- end of run -->"
CURVE_ROWS = 12


def publish(
    source: Annotated[Path, typer.Argument(help="Exported weights, a .safetensors file.")],
    name: Annotated[str, typer.Argument(help="Name of the published weights.")],
    restoration: Annotated[
        Path | None, typer.Option(help="Weights of the same shape for blocks at rate 1 with coding errors.")
    ] = None,
    log: Annotated[
        list[Path] | None, typer.Option(help="Logs of the run, the earliest first, for the card's curve.")
    ] = None,
    restoration_log: Annotated[list[Path] | None, typer.Option(help="The same for restoration.")] = None,
) -> None:
    """Check `source`, copy it as `name`, record its digest and rewrite the run in its card.

    Raises WeightsError, or ValueError if the file is too large.
    """
    data = completed(source.read_bytes())
    if restoration is not None:
        data = joined(data, completed(restoration.read_bytes()))
    card = card_of(name, data)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{source} has {len(data)} bytes; published weights have at most {MAX_BYTES}")
    WEIGHTS.mkdir(exist_ok=True)
    (WEIGHTS / f"{name}.safetensors").write_bytes(data)
    recorded = digests() | {name: card.sha256}
    Path(str(DIGESTS)).write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")
    page = WEIGHTS / f"{name}.md"
    if page.is_file():
        section = run_section(card, read_logs(log or []), read_logs(restoration_log or []))
        page.write_text(with_run(page.read_text("utf-8"), section), "utf-8")
    typer.echo(f"{name}: {card.parameters} parameters, {card.notes}")


def completed(data: bytes) -> bytes:
    """Return a weights file whose metadata is whole: an early trainer of `light` wrote only widths and blocks."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    metadata = header["__metadata__"]
    if "format" in metadata:
        return data
    shape = json.loads(metadata["config"])
    config = JointSRConfig(channels=tuple(shape["widths"]), blocks=shape["blocks"], lossy=True)
    metadata |= {"format": FORMAT, "config": json.dumps(config.to_dict())}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def joined(data: bytes, restoration: bytes) -> bytes:
    """Return the file of one network of `light` that has both sets of weights. Raises `ValueError` for two shapes."""
    from safetensors.numpy import load, save

    first, second = metadata_of(data), metadata_of(restoration)
    config = json.loads(first["config"])
    if config != json.loads(second["config"]):
        raise ValueError("the two networks have different configurations")
    tensors = load(data) | {RESTORATION + name: value for name, value in load(restoration).items()}
    notes = json.loads(first["notes"]) | {"restoration": json.loads(second["notes"])}
    metadata = {
        "format": FORMAT,
        "config": json.dumps(config | {"restoration": True}),
        "notes": json.dumps(notes),
    }
    return bytes(save(tensors, metadata))


def metadata_of(data: bytes) -> dict[str, str]:
    """Return the metadata of a weights file."""
    (length,) = struct.unpack_from("<Q", data)
    found: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return found


def read_logs(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the validations of `log.jsonl` files in the order of their steps, without repetitions."""
    lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return [row for _, row in sorted({line["step"]: line for line in lines if line["step"]}.items())]


def run_section(
    card: Card, rows: Sequence[Mapping[str, Any]], restoration: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Return the facts of the file and its training, and tables of at most 12 validations of its runs."""
    notes = card.notes
    text = f"{card.parameters:,} parameters, {card.bytes / 1e6:.1f} MB. {_length(notes)}."
    if "restoration" in notes:
        text += f" Restoration: {_length(notes['restoration'])}."
    parts = [text, *_curve(rows, notes["steps"])]
    if "restoration" in notes:
        parts += _curve(restoration, notes["restoration"]["steps"])
    if len(parts) > 1:
        parts.insert(
            1, "Gain over the composite on held-out pictures in dB, PSNR-Y / 6:1:1 / RGB, by condition:"
        )
    return "\n\n".join(parts)


def _curve(rows: Sequence[Mapping[str, Any]], steps: int) -> list[str]:
    """The table of a run's validations, or nothing."""
    rows = [row for row in rows if row["step"] <= steps]
    if not rows:
        return []
    step = max(1, -(-len(rows) // CURVE_ROWS))
    shown = rows[::-1][::step][::-1]
    names = list(shown[-1]["gain_db"])
    table = [f"| steps | hours | {' | '.join(names)} |", "|---:|---:|" + "---|" * len(names)]
    for row in shown:
        gains = (" / ".join(f"{gain:.2f}" for gain in row["gain_db"][name]) for name in names)
        table.append(f"| {row['step']:,} | {row['minutes'] / 60:.1f} | {' | '.join(gains)} |")
    return ["\n".join(table)]


def _length(notes: Mapping[str, Any]) -> str:
    steps, crops = notes["steps"], notes["crops"]
    batch = crops // max(1, steps)
    return f"{steps:,} steps of {batch} crops ({crops:,} crops), {notes['minutes'] / 60:.1f} hours"


def with_run(page: str, section: str) -> str:
    """Return the page with `section` between its two markers; as it is if it has none."""
    before, marker, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{marker}\n{section}\n{end}{after}" if end else page


if __name__ == "__main__":
    typer.run(publish)
