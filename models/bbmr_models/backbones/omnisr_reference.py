"""The weights of the published Omni-SR network, renamed for the backbone of `omnisr.py`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert the state dict of the reference network (one block per group, windows of 8) to this backbone's.

    Input convolution and upsampler are left out: JointSR has its own stem and head.

    Raises:
        KeyError: if the body has a key that such a network does not have.
    """
    out = {}
    for key, value in state.items():
        if key.startswith("output."):
            out[key.replace("output.", "out.")] = value
        elif key.startswith("residual_layer."):
            _, group, inner = key.split(".", 2)
            module, _, leaf = inner.rpartition(".")
            own = _OWN_KEYS[inner] if inner in _OWN_KEYS else f"{_OWN_KEYS[module]}.{leaf}"
            linear = value.ndim == 4 and value.shape[2:] == (1, 1)
            per_head = own.endswith("temperature")
            out[f"groups.{group}.{own}"] = (
                value.flatten() if per_head else value.flatten(1) if linear else value
            )
    return out


def _own_keys() -> dict[str, str]:
    """Return the modules and single parameters of a group: the reference's name → the name here."""
    names = {
        "residual_layer.1": "project",
        **{f"esa.{conv}": f"enhance.{name}" for conv, name in
           (("conv1", "reduce"), ("conv_f", "fine"), ("conv2", "shrink"), ("conv3", "coarse"), ("conv4", "restore"))},
    }  # fmt: skip
    inside = {
        "local": {"fn.0": "expand", "fn.2": "depthwise", "fn.4.gate.1": "squeeze", "fn.4.gate.3": "excite",
                  "fn.5": "project"},
        "spatial": {"norm": "norm", "fn.to_qkv": "qkv", "fn.to_out.0": "project", "fn.rel_pos_bias.weight": "bias"},
        "forward": {"norm": "norm", "fn.project_in": "inner.project_in", "fn.dwconv": "inner.depthwise",
                    "fn.project_out": "inner.project_out"},
        "channel": {"norm": "norm", "fn.qkv": "qkv", "fn.qkv_dwconv": "depthwise", "fn.project_out": "project",
                    "fn.temperature": "temperature"},
    }  # fmt: skip
    layers = {
        0: ("local", "local"), 2: ("window", "spatial"), 4: ("window_forward", "forward"),
        5: ("window_channel", "channel"), 6: ("window_channel_forward", "forward"), 8: ("grid", "spatial"),
        10: ("grid_forward", "forward"), 11: ("grid_channel", "channel"), 12: ("grid_channel_forward", "forward"),
    }  # fmt: skip
    for number, (name, kind) in layers.items():
        for theirs, ours in inside[kind].items():
            names[f"residual_layer.0.layer.{number}.{theirs}"] = f"{name}.{ours}"
    return names


_OWN_KEYS = _own_keys()
