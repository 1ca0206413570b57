"""Makes `golden_omnisr.npz`: the output of the reference Omni-SR's body, for `test_omnisr.py`.

    python -m tests.models.make_golden_omnisr FOLDER

FOLDER has spandrel 0.4.2 unpacked (see `benchmarks/speed/reference.py`); einops must be installed. No weights are
stored: weights and input come from numpy's RandomState, whose numbers are the same everywhere, in the sorted order of
the reference's names. The file holds those names with their shapes (JSON, "weights") and the output of the body,
without its outer skip (float32, "output").
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed.reference import load_reference

FILE = Path(__file__).with_name("golden_omnisr.npz")
CHANNELS, GROUPS = 32, 2
SHAPE = (1, CHANNELS, 16, 24)


def weights(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Return a state dict for these names and shapes, equal on every machine; signals neither fade nor grow much."""
    random = np.random.RandomState(7)
    state = {}
    for name, shape in sorted(shapes.items()):
        value = random.standard_normal(shape)
        if ("norm" in name and name.endswith("weight")) or name.endswith("temperature"):
            value = 1 + 0.2 * np.abs(value)
        elif name.endswith("bias"):
            value = 0.1 * value
        elif "rel_pos" not in name:
            value = value / np.sqrt(np.prod(shape[1:]))
        state[name] = torch.from_numpy(value.astype(np.float32))
    return state


def picture() -> Tensor:
    """Return the input features, `SHAPE`."""
    return torch.from_numpy(np.random.RandomState(8).standard_normal(SHAPE).astype(np.float32))


def main(folder: str) -> None:
    network = load_reference(Path(folder), "OmniSR")(num_feat=CHANNELS, res_num=GROUPS, up_scale=4)
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    network.load_state_dict(weights(shapes))
    with torch.no_grad():
        output = network.output(network.residual_layer(picture()))
    np.savez_compressed(FILE, weights=json.dumps(shapes), output=output.numpy())


if __name__ == "__main__":
    main(sys.argv[1])
