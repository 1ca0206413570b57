"""The weights of the published CRAFT network, renamed for the backbone of `craft.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_RENAMED = (
    (r"layers\.(\d+)\.residual_group\.srwa_blocks\.(\d+)\.", "groups.{0}.blocks.{1}.low.{2}."),
    (r"layers\.(\d+)\.residual_group\.hfer_blocks\.(\d+)\.", "groups.{0}.blocks.{1}.high."),
    (r"layers\.(\d+)\.residual_group\.hf_blocks\.(\d+)\.", "groups.{0}.blocks.{1}.fusion."),
    (r"layers\.(\d+)\.conv\.", "groups.{0}.conv."),
    (r"norm\.body\.", "norm."),
    (r"conv_after_body\.", "conv."),
)
_RENAMED_INSIDE = {
    "get_v": "local",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2",
    "fc": "point",
    "last_fc": "last",
    "norm1.body": "norm1",
    "norm2.body": "norm2",
    "attn.temperature": "temperature",
    "attn.q": "q",
    "attn.q_dwconv": "q_local",
    "attn.kv": "kv",
    "attn.kv_dwconv": "kv_local",
    "attn.project_out": "proj",
    "ffn.dwconv": "ffn.depthwise",
}


def from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert the published network's state dict to this backbone's, without stem, upsampler and position biases."""
    out = {}
    for key, tensor in state.items():
        name = _own_name(key)
        if name is not None:
            point = tensor.ndim == 4 and tensor.shape[-1] == 1  # 1×1 convolutions are linear layers here
            out[name] = tensor.flatten(1) if point else tensor
    return out


def _own_name(key: str) -> str | None:
    if ".attns." in key:
        return None
    for pattern, prefix in _RENAMED:
        match = re.match(pattern, key)
        if match is None:
            continue
        numbers = [int(number) for number in match.groups()]
        if "{2}" in prefix:
            numbers[1:] = divmod(numbers[1], 2)
        stem, _, leaf = key[match.end() :].rpartition(".")
        inside = f"{stem}.{leaf}" if stem else leaf
        for name in (inside, stem):
            if name in _RENAMED_INSIDE:
                inside = _RENAMED_INSIDE[name] + inside[len(name) :]
                break
        return prefix.format(*numbers) + inside
    return None
