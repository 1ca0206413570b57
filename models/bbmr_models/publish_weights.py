"""Add trained weights to the package: `python -m bbmr_models.publish_weights FILE NAME`.

In: weights that training exported. Out: `weights/NAME.safetensors`, and its digest in `weights/digests.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .cards import DIGESTS, digests, read

WEIGHTS = Path(str(DIGESTS)).parent
MAX_BYTES = 4 * 2**20


def publish(
    source: Annotated[Path, typer.Argument(help="Exported weights, a .safetensors file.")],
    name: Annotated[str, typer.Argument(help="Name of the published weights.")],
) -> None:
    """Check `source`, copy it as `name` and record its digest. Raises WeightsError, or ValueError if too large."""
    data, card = read(str(source))
    if len(data) > MAX_BYTES:
        raise ValueError(f"{source} has {len(data)} bytes; published weights have at most {MAX_BYTES}")
    WEIGHTS.mkdir(exist_ok=True)
    (WEIGHTS / f"{name}.safetensors").write_bytes(data)
    recorded = digests() | {name: card.sha256}
    Path(str(DIGESTS)).write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")
    typer.echo(f"{name}: {card.parameters} parameters, {card.notes}")


if __name__ == "__main__":
    typer.run(publish)
