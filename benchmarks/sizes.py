"""How large should the light model be? dB against milliseconds, every size trained for the same number of steps.

In: a folder of training photos and one photo to time. Out: `sizes.json`, `sizes.md`. dB are over the composite on
photos held out from training; a short training favours the small sizes.

    python -m benchmarks.sizes train eval2k/05_city-night.webp --steps 1000
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from bbmr_client.encoder import encode
from bbmr_models import load
from bbmr_models.jointsr import JointSR, JointSRConfig
from bbmr_models.reconstruct import Reconstructor
from bbmr_models.training.loop import Plan, train
from bbmr_models.training.pool import load_pool
from bbmr_models.weights import read

from .common import read_rgb, table, write
from .speed import SIZES, cut

CONFIGURATIONS = ((32, 4), (32, 6), (48, 8), (64, 8))


def main(
    data: Annotated[Path, typer.Argument(help="Folder of training photos.")],
    photo: Annotated[Path, typer.Argument(help="The photo to time, at 1080p.")],
    steps: Annotated[int, typer.Option(help="Training steps of every size.")] = 1000,
    output: Annotated[Path, typer.Option(help="Where the results go.")] = Path("docs/benchmarks"),
) -> None:
    """Train every size, time it, print and write the table."""
    pool = load_pool(data, 192, 1, 0)
    picture = cut(read_rgb(photo), *SIZES["1080p"])
    rows = []
    for channels, blocks in CONFIGURATIONS:
        config = JointSRConfig(channels=channels, blocks=blocks)
        with tempfile.TemporaryDirectory() as run:
            began = time.monotonic()
            weights = train(pool, config, Plan(minutes=1, steps=steps), Path(run))
            minutes = (time.monotonic() - began) / 60
            _, card = read(str(weights))
            model = load(str(weights))
        rows.append(
            {
                "channels": channels,
                "blocks": blocks,
                "parameters": card.parameters,
                "macs_per_pixel": _macs(model),
                "training_minutes": round(minutes, 1),
                "ms_1080p": round(_milliseconds(model, picture), 0),
                "gain_db": card.notes["held_out_gain_db"],
            }
        )
        print(rows[-1], flush=True)
    write(output, "sizes", {"steps": steps, "sizes": rows}, _markdown(rows, steps))


def _macs(model: JointSR) -> int:
    """Multiplications of the convolutions per pixel of the picture; they all run on the HR/4 grid."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.dim() == 4) // 16


def _milliseconds(model: JointSR, picture: NDArray[np.uint8], runs: int = 5) -> float:
    container = encode(picture, rate=4)
    reconstructor = Reconstructor(model)
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        reconstructor.reconstruct(container)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1000


def _markdown(rows: list[dict[str, Any]], steps: int) -> str:
    names = ["x4_uniform", "x4_blocks", "x2_uniform", "x2_blocks"]
    head = ["channels × blocks", "parameters", "MAC / pixel", "ms at 1080p", *names, "mean dB per 100 ms"]
    lines = [head]
    for row in rows:
        gains = [row["gain_db"][name] for name in names]
        numbers = [f"{row['parameters']:,}", f"{row['macs_per_pixel']:,}", f"{row['ms_1080p']:.0f}"]
        worth = statistics.fmean(gains) / row["ms_1080p"] * 100
        lines.append(
            [f"{row['channels']} × {row['blocks']}", *numbers, *(f"{g:+.2f}" for g in gains), f"{worth:.2f}"]
        )
    threads = torch.get_num_threads()
    note = f"dB (RGB) over the composite on held-out training photos after {steps} steps; {threads} threads."
    return f"{note}\n\n{table(lines)}"


if __name__ == "__main__":
    typer.run(main)
