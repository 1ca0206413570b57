"""Attention among the samples of rectangles. In: features and the weights of the projection. Out: attended features.

The plain way is `F.scaled_dot_product_attention` over the gathered rectangles. On CPUs it spends its time in products
of width 8, and its backward pass takes four times as long as its forward pass. So on CPUs in float32 the samples of a
rectangle lie side by side, `[heads, rectangles, d, samples]`, which oneDNN writes without a copy. Every product has
64 columns or more. The backward pass computes the attention weights again instead of storing them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .linear import linear, product, through_onednn

CHUNK = 64
"""Rectangles at a time. Their weights, 1 MB per head, stay in the processor's cache."""


def rectangle_attention(
    x: Tensor, weight: Tensor, bias: Tensor, heads: int, rectangle: tuple[int, int], shift: tuple[int, int]
) -> Tensor:
    """Self-attention within each rectangle of samples, moved by `shift` and wrapping around the edges.

    Args:
        x: `[N, h, w, C]`, h and w multiples of the rectangle's.
        weight, bias: `[3D, C]`, `[3D]`, the projection to queries, keys and values, with scaled queries.
        heads: number of heads; D is a multiple of it.
        rectangle: height and width, in samples.
        shift: how far down and to the right the first rectangle starts.

    Returns:
        `[N, h, w, D]`.
    """
    n, h, w, c = x.shape
    order, inverse = _order((n, h, w), rectangle, shift, x.device)
    samples = rectangle[0] * rectangle[1]
    rows = x.reshape(-1, c)
    if not through_onednn(x, weight):
        out = _plain(rows.index_select(0, order), weight, bias, heads, samples).index_select(0, inverse)
    elif torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        out = _Attention.apply(rows, weight, bias, order, inverse, heads, samples)
    else:
        out = _attend(rows, weight, bias, order, heads, samples).index_select(0, inverse)
    return out.view(n, h, w, -1)


@lru_cache(maxsize=32)
def _order(
    shape: tuple[int, int, int], rectangle: tuple[int, int], shift: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the index in the picture of every sample, rectangle by rectangle; and the inverse of that order."""
    n, h, w = shape
    high, wide = rectangle
    with torch.inference_mode(False):  # the cached tensors serve training, too
        numbers = torch.arange(n * h * w, device=device).view(n, h, w).roll((-shift[0], -shift[1]), (1, 2))
        order = numbers.view(n, h // high, high, w // wide, wide).transpose(2, 3).reshape(-1)
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(len(order), device=device)
    return order, inverse


def _plain(rows: Tensor, weight: Tensor, bias: Tensor, heads: int, samples: int) -> Tensor:
    """`[L, C]`, rectangle by rectangle → `[L, D]`."""
    qkv = linear(rows, weight, bias).view(-1, samples, 3, heads, weight.shape[0] // (3 * heads))
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(1, 2).reshape(len(rows), -1)


def _attend(rows: Tensor, weight: Tensor, bias: Tensor, order: Tensor, heads: int, samples: int) -> Tensor:
    """`[L, C]` in the picture's order → `[L, D]`, rectangle by rectangle."""
    d = weight.shape[0] // (3 * heads)
    out = rows.new_empty(len(rows) // samples, samples, heads, d)
    chunks = zip(order.split(CHUNK * samples), out.split(CHUNK), strict=True)
    for chunk, part in chunks:
        q, k, v = _queries(rows.index_select(0, chunk), weight, bias, heads, samples)
        for head in range(heads):
            weights = _weights(q[head], k[head])
            part[:, :, head] = torch.bmm(v[head], weights.transpose(1, 2)).transpose(1, 2)
    return out.view(len(rows), -1)


def _queries(rows: Tensor, weight: Tensor, bias: Tensor, heads: int, samples: int) -> Tensor:
    """`[L, C]`, rectangle by rectangle → queries, keys and values, `[3, heads, rectangles, d, samples]`."""
    qkv = product(weight, rows).add_(bias[:, None])
    return qkv.view(3, heads, -1, len(rows) // samples, samples).transpose(2, 3)


def _weights(q: Tensor, k: Tensor) -> Tensor:
    """`[rectangles, d, samples]` twice → `[rectangles, samples, samples]`, rows summing to 1."""
    logits = torch.bmm(q.transpose(1, 2), k)
    return torch.softmax(logits, -1, out=logits)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        weight: Tensor,
        bias: Tensor,
        order: Tensor,
        inverse: Tensor,
        heads: int,
        samples: int,
    ) -> Tensor:
        ctx.save_for_backward(rows, weight, bias, order, inverse)
        ctx.heads, ctx.samples = heads, samples
        return _attend(rows, weight, bias, order, heads, samples).index_select(0, inverse)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, bias, order, inverse = ctx.saved_tensors
        heads, samples = ctx.heads, ctx.samples
        of_rows = torch.empty_like(rows)
        of_weight, of_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        parts = zip(order.split(CHUNK * samples), of_rows.split(CHUNK * samples), strict=True)
        for chunk, part in parts:
            x = rows.index_select(0, chunk)
            qkv = _queries(x, weight, bias, heads, samples)
            of_qkv = torch.empty_like(qkv.transpose(2, 3), memory_format=torch.contiguous_format)
            of_out = grad.index_select(0, chunk).view(-1, samples, heads, weight.shape[0] // (3 * heads))
            for head in range(heads):
                _backward(qkv[:, head], of_out[:, :, head], of_qkv[:, head].transpose(1, 2))
            of_qkv = of_qkv.view(weight.shape[0], -1)
            of_weight.addmm_(of_qkv, x)
            of_bias += of_qkv.sum(1)
            part.copy_(product(of_qkv.t(), weight.t()))
        return of_rows.index_select(0, inverse), of_weight, of_bias, None, None, None, None


def _backward(qkv: Tensor, of_out: Tensor, of_qkv: Tensor) -> None:
    """Write one head's gradients into `of_qkv`, from `[3, rectangles, d, samples]` and `[rectangles, samples, d]`."""
    q, k, v = qkv.unbind(0)
    weights = _weights(q, k)
    g = of_out.transpose(1, 2).contiguous()
    of_qkv[2] = torch.bmm(g, weights)
    of_weights = torch.bmm(g.transpose(1, 2), v)
    of_logits = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
    of_qkv[0] = torch.bmm(k, of_logits.transpose(1, 2))
    of_qkv[1] = torch.bmm(q, of_logits)
