"""The weighted squared error of `bbmr_shared.colour` in torch."""

from __future__ import annotations

import torch
from torch import Tensor

from bbmr_shared.colour import CHROMA_WEIGHT, LUMA_WEIGHT

_SUM = LUMA_WEIGHT + 2 * CHROMA_WEIGHT
LUMA_SHARE = LUMA_WEIGHT / _SUM
_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def weighted_ycbcr(difference: Tensor) -> Tensor:
    """Differences in RGB, `[…, 3, H, W]` → Y, Cb and Cr whose squares add up to the error weighted 6:1:1."""
    weights = torch.tensor((LUMA_WEIGHT, CHROMA_WEIGHT, CHROMA_WEIGHT)).div(_SUM).sqrt()
    matrix = (torch.tensor(_YCBCR) * weights[:, None]).to(difference.device)
    return torch.einsum("oc,...chw->...ohw", matrix, difference)
