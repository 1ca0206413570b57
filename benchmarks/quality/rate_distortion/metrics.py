"""The quality metrics of the benchmark: PSNR of three kinds, MS-SSIM and SSIMULACRA 2.

MS-SSIM and SSIMULACRA 2 come from the packages of the dependency group `bench`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_shared.colour import weighted_squared_error
from bbmr_shared.metrics import psnr_rgb, psnr_y

Picture = NDArray[np.uint8]
Metric = Callable[[Picture, Picture], float]
_MS_SSIM_LEAST_SIDE = 161
_STRIP_ROWS = 256


def psnr_611(a: Picture, b: Picture) -> float:
    """PSNR in dB of YCbCr weighted 6:1:1, the error that the encoder minimises; inf for equal pictures."""
    strips = range(0, a.shape[0], _STRIP_ROWS)
    total = sum(
        float(weighted_squared_error(a[top : top + _STRIP_ROWS], b[top : top + _STRIP_ROWS]).sum(dtype=float))
        for top in strips
    )
    return math.inf if total == 0 else 10 * math.log10(255**2 * a.shape[0] * a.shape[1] / total)


def ms_ssim(a: Picture, b: Picture) -> float:
    """MS-SSIM over RGB (Wang et al., 2003), as CompressAI computes it; nan for a side under 161 pixels."""
    if min(a.shape[:2]) < _MS_SSIM_LEAST_SIDE:
        return math.nan
    import torch
    from pytorch_msssim import ms_ssim as of_tensors

    with torch.inference_mode():
        tensors = (torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() for picture in (a, b))
        return float(of_tensors(*tensors, data_range=255))


def ssimulacra2(original: Picture, distorted: Picture) -> float:
    """SSIMULACRA 2.1 (Sneyers, 2023), at most 100.

    The package blurs borders in another way than libjxl's tool: it gives 0.3 to 1.7 less on crops of 832² at JPEG
    qualities 75 to 20 than with zeros beyond the borders, as there.
    """
    from ssimulacra2 import compute_ssimulacra2

    return float(compute_ssimulacra2(_as_file(original), _as_file(distorted)))


METRICS: dict[str, Metric] = {
    "psnr-y": psnr_y,
    "psnr-rgb": psnr_rgb,
    "psnr-611": psnr_611,
    "ms-ssim": ms_ssim,
    "ssimulacra2": ssimulacra2,
}
"""Name → function of the photo and the decoded picture, both `uint8 [H, W, 3]`."""
PSNRS = ("psnr-y", "psnr-rgb", "psnr-611")


def measure(photo: Picture, decoded: Picture, names: Collection[str]) -> dict[str, float]:
    """Return the metrics called `names`."""
    return {name: METRICS[name](photo, decoded) for name in names}


def _as_file(picture: Picture) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PPM")
    file.seek(0)
    return file
