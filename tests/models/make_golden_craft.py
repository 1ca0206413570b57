"""Makes `golden_craft.npz`: the output of the published CRAFT's body on random weights, for `test_craft.py`.

The file has every sixth channel of the output; weights and input come from a seed. To make it again, with spandrel
0.4.2 unpacked and einops installed (the tests need neither):

    python -m tests.models.make_golden_craft FOLDER/spandrel/architectures/CRAFT/__arch/CRAFT.py
"""

from __future__ import annotations

import importlib.util
import math
import sys
import types
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).with_name("golden_craft.npz")
CHANNELS, BLOCKS = 48, 4
CHANNEL_STEP = 6


def golden_input() -> Tensor:
    """`[1, 48, 32, 48]`, standard normal."""
    return torch.from_numpy(np.random.RandomState(1).standard_normal((1, CHANNELS, 32, 48))).float()


def published_state() -> dict[str, Tensor]:
    """Return the published network's state dict with random weights: its floating tensors, drawn in order of name.

    Weights keep the size of what passes through; biases and the norms' weights vary by a fifth.
    """
    random = np.random.RandomState(0)
    state = {}
    for key, shape in sorted(_published_shapes().items()):
        drawn = random.standard_normal(shape)
        if key.endswith("temperature") or ("norm" in key and key.endswith("weight")):
            drawn = 1 + drawn / 5
        elif len(shape) == 1:
            drawn = drawn / 5
        else:
            drawn = drawn / math.sqrt(math.prod(shape[1:]))
        state[key] = torch.from_numpy(drawn).float()
    return state


def _published_shapes() -> dict[str, tuple[int, ...]]:
    """Return name → shape of every floating tensor of the published network's state dict."""
    c, hidden = CHANNELS, int(CHANNELS * 2.66)
    shapes: dict[str, tuple[int, ...]] = {"biases_h": (217, 2), "biases_v": (217, 2)}

    def layer(name: str, *shape: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = shape[:1]

    layer("conv_first", c, 3, 3, 3)
    layer("conv_after_body", c, c, 3, 3)
    layer("norm.body", c)
    layer("upsample.0", 48, c, 3, 3)
    for group in range(BLOCKS):
        layer(f"layers.{group}.conv", c, c, 3, 3)
        inside = f"layers.{group}.residual_group"
        for number in range(4):
            name = f"{inside}.srwa_blocks.{number}"
            layer(f"{name}.norm1", c)
            layer(f"{name}.norm2", c)
            layer(f"{name}.qkv", 3 * c, c)
            layer(f"{name}.proj", c, c)
            layer(f"{name}.get_v", c, 1, 3, 3)
            layer(f"{name}.mlp.fc1", 2 * c, c)
            layer(f"{name}.mlp.fc2", c, 2 * c)
            for half in range(2):
                layer(f"{name}.attns.{half}.pos.pos_proj", 1, 2)
                for step, out in ((1, 1), (2, 1), (3, 3)):
                    layer(f"{name}.attns.{half}.pos.pos{step}.0", 1)
                    layer(f"{name}.attns.{half}.pos.pos{step}.2", out, 1)
        for number in range(2):
            name = f"{inside}.hfer_blocks.{number}"
            layer(f"{name}.conv", c // 2, c // 2, 3, 3)
            layer(f"{name}.fc", c // 2, c // 2, 1, 1)
            layer(f"{name}.last_fc", c, c, 1, 1)
            name = f"{inside}.hf_blocks.{number}"
            layer(f"{name}.norm1.body", c)
            layer(f"{name}.norm2.body", c)
            shapes[f"{name}.attn.temperature"] = (6, 1, 1)
            layer(f"{name}.attn.q", c, c, 1, 1, bias=False)
            layer(f"{name}.attn.q_dwconv", c, 1, 3, 3, bias=False)
            layer(f"{name}.attn.kv", 2 * c, c, 1, 1, bias=False)
            layer(f"{name}.attn.kv_dwconv", 2 * c, 1, 3, 3, bias=False)
            layer(f"{name}.attn.project_out", c, c, 1, 1, bias=False)
            layer(f"{name}.ffn.project_in", 2 * hidden, c, 1, 1, bias=False)
            layer(f"{name}.ffn.dwconv", 2 * hidden, 1, 3, 3, bias=False)
            layer(f"{name}.ffn.project_out", c, hidden, 1, 1, bias=False)
    return shapes


def _make(reference: Path) -> None:
    util = types.ModuleType("spandrel.util")
    util.store_hyperparameters = lambda: lambda network: network  # type: ignore[attr-defined]
    sys.modules.update({"spandrel": types.ModuleType("spandrel"), "spandrel.util": util})
    spec = importlib.util.spec_from_file_location("craft_reference", reference)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.CRAFT().eval()
    own = network.state_dict()
    state = published_state()
    assert {key: value.shape for key, value in own.items() if value.is_floating_point()} == {
        key: value.shape for key, value in state.items()
    }
    state["biases_h"], state["biases_v"] = own["biases_h"], own["biases_v"]  # fixed numbers, not learned
    network.load_state_dict(state, strict=False)
    with torch.no_grad():
        out = network.conv_after_body(network.forward_features(golden_input()))
    np.savez_compressed(GOLDEN, out=out[:, ::CHANNEL_STEP].numpy())


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
