"""Speed of the backbones: our OmniSR and CRAFT against the reference code, with equal weights and equal output.

In: a folder with spandrel 0.4.2 unpacked (see `benchmarks.speed.reference`; it needs einops). Out: `backbones.json`,
`backbones.md`. Both networks are the plain ones (stem, backbone, head to ×4) with the reference's weights. They take
the same 480×270 picture (1080p out) and run in turns, so that other load on the machine affects both. `light` is a
whole reconstruction by JointSR: decoding, composite, tiles and network. The peak of the device is that of a large
matrix product in the same run.

    python -m benchmarks.speed.backbones --reference reference --threads 2

On CUDA everything runs under bfloat16 autocast; the outputs are compared in float32 before.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from bbmr_client.encoding.encoder import encode
from bbmr_models import load
from bbmr_models.backbones import craft, omnisr
from bbmr_models.backbones.linear import linear
from bbmr_models.reconstruct import Reconstructor
from benchmarks.common import SIZES, cut, read_rgb
from benchmarks.render.pages import write

from .flops import PlainNetwork, plain_flops
from .reference import load_reference

INPUT = (270, 480)
"""Height and width of the low-resolution picture of 1080p at ×4."""
BATCH, CROP = 8, 48
"""A training step: low-resolution crops of 48×48, 192×192 out, as the trainer's."""
TOLERANCE = 1e-4
SAMPLE = Path(__file__).parents[2] / "samples" / "lake-sherburne.jpg"


class CraftPlain(PlainNetwork):
    """CRAFT subtracts a mean colour before its stem and adds it after its head."""

    MEAN = (0.4488, 0.4371, 0.4040)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.new_tensor(self.MEAN).view(1, 3, 1, 1)
        out: Tensor = super().forward(x - mean) + mean
        return out


def main(
    reference: Annotated[Path, typer.Option(help="Folder that holds the package spandrel.", exists=True)],
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("docs/benchmarks"),
    names: Annotated[str, typer.Option(help="Backbones.")] = "omnisr craft",
    runs: Annotated[int, typer.Option(help="Timed runs of every network.")] = 3,
    training_steps: Annotated[int, typer.Option(help="Timed training steps of every network.")] = 3,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda. Default: cuda if there is one.")] = None,
    photo: Annotated[Path, typer.Option(help="What `light` reconstructs, cut to 1080p.")] = SAMPLE,
) -> None:
    """Measure, print and write."""
    if threads:
        torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False  # outputs are compared in float32
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    results: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if where.type == "cuda" else "cpu",
        "precision": "bfloat16 autocast" if where.type == "cuda" else "float32",
        "threads": torch.get_num_threads(),
        "peak_gflops": round(peak(where), 1),
        "networks": [],
    }
    for name in names.split():
        compared = compare(name, reference, where, runs, training_steps)
        results["networks"].append(compared)
        print(compared, flush=True)
    results["light_ms"] = round(light(photo, where, max(runs, 5)), 1)
    print(write(output, "backbones" if where.type == "cpu" else "backbones-cuda", results))


def compare(name: str, reference: Path, device: torch.device, runs: int, steps: int) -> dict[str, Any]:
    """Compare one backbone: difference of outputs, milliseconds, and training samples per second of both sides.

    Raises:
        AssertionError: if the outputs differ by more than 1e-4.
    """
    theirs, ours = pair(name, reference)
    theirs, ours = theirs.to(device).eval(), ours.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    picture = torch.rand(1, 3, *INPUT, generator=torch.Generator().manual_seed(0)).to(device)
    padded = pad_as_reference(name, picture)
    with torch.inference_mode():
        height, width = (4 * side for side in INPUT)
        difference = float((theirs(picture) - ours(padded)[..., :height, :width]).abs().max())
    assert difference <= TOLERANCE, f"{name}: the outputs differ by {difference:.2e}"
    both = {"reference": (theirs, picture), "ours": (ours, padded)}
    warm = device.type == "cpu"  # on CPUs both have just run in the same precision
    calls = {which: _inference(*parts) for which, parts in both.items()}
    milliseconds = in_turns(calls, runs, device, warm)
    crops = torch.rand(BATCH, 3, CROP, CROP, generator=torch.Generator().manual_seed(1)).to(device)
    # The reference pads its crops, too. Our trainer does not, but here ours does the same work.
    batches = {"reference": crops, "ours": pad_as_reference(name, crops)}
    training = in_turns(
        {which: _training(net.train(), batches[which]) for which, (net, _) in both.items()}, steps, device
    )
    gflop = plain_flops(type(ours), name, ours.channels, ours.blocks, *padded.shape[-2:]) / 1e9
    result = {
        "name": name,
        "max_difference": difference,
        "gflop": round(gflop, 1),
        "ms": {which: round(value, 1) for which, value in milliseconds.items()},
        "training_samples_per_second": {
            which: round(BATCH / value * 1000, 3) for which, value in training.items()
        },
    }
    del theirs, ours, both
    gc.collect()
    return result


def pair(name: str, reference: Path) -> tuple[nn.Module, PlainNetwork]:
    """Return the reference network with random weights, and ours with the same weights."""
    torch.manual_seed(0)
    if name == "omnisr":
        theirs = load_reference(reference, "OmniSR")(num_feat=64, res_num=5, up_scale=4)
        names = {"input": "stem", "up.0": "head"}
        ours, own = PlainNetwork(name, 64, 5), omnisr.from_reference(theirs.state_dict())
    else:
        theirs = load_reference(reference, "CRAFT")(upscale=4)
        names = {"conv_first": "stem", "upsample.0": "head"}
        ours, own = CraftPlain(name, 48, 4), craft.from_reference(theirs.state_dict())
    state = {f"backbone.{key}": value for key, value in own.items()}
    for their_name, our_name in names.items():
        for key in ("weight", "bias"):
            state[f"{our_name}.{key}"] = theirs.state_dict()[f"{their_name}.{key}"]
    ours.load_state_dict(state)
    return theirs, ours


def pad_as_reference(name: str, x: Tensor) -> Tensor:
    """Pad a picture as the reference does: OmniSR adds black, CRAFT mirrors and adds one window too many."""
    height, width = x.shape[-2:]
    if name == "omnisr":
        return F.pad(x, (0, -width % 8, 0, -height % 8))
    x = torch.cat((x, x.flip(2)), 2)[:, :, : (height // 16 + 1) * 16]
    return torch.cat((x, x.flip(3)), 3)[..., : (width // 16 + 1) * 16]


def peak(device: torch.device, side: int = 3072) -> float:
    """Return GFLOP/s of a square matrix product in the run's precision: the best of five, by the faster library."""
    side = side if device.type == "cpu" else 8192
    kind = torch.float32 if device.type == "cpu" else torch.bfloat16
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    # On CPUs `linear` uses oneDNN, `@` the BLAS that torch was built with.
    with torch.inference_mode():
        products = (lambda: a @ b, lambda: linear(a, b))
        best = min(_milliseconds(product, device) for product in products for _ in range(5))
    return 2 * side**3 / best / 1e6


def in_turns(
    calls: dict[str, Callable[[], Any]], runs: int, device: torch.device, warm: bool = False
) -> dict[str, float]:
    """Return median milliseconds of calls that run in turns. Unless `warm`, each first runs once unmeasured."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(warm, runs + 1):
        for name, call in calls.items():
            spent = _milliseconds(call, device)
            if turn:
                times[name].append(spent)
    return {name: statistics.median(spent) for name, spent in times.items()}


def light(photo: Path, device: torch.device, runs: int) -> float:
    """Return the median milliseconds in which `light` reconstructs 1080p at overall rate ×4."""
    container = encode(cut(read_rgb(photo), *SIZES["1080p"]), rate=4)
    reconstructor = Reconstructor(load("light"), str(device))
    return in_turns({"light": lambda: reconstructor.reconstruct(container)}, runs, device)["light"]


def _inference(network: nn.Module, picture: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.inference_mode(), _autocast(picture):
            out: Tensor = network(picture)
            return out

    return run


def _training(network: nn.Module, crops: Tensor) -> Callable[[], None]:
    """Return a training step: forward, L1, backward, AdamW."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    target = F.interpolate(crops, scale_factor=4)

    def run() -> None:
        with _autocast(crops):
            loss = F.l1_loss(network(crops), target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return run


def _autocast(x: Tensor) -> torch.autocast:
    return torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda)


def _milliseconds(call: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    typer.run(main)
