"""Encodes one photo in a process of its own and prints the peak of its memory.

    python -m benchmarks.quality.rate_distortion.memory_worker bbmr photo.webp 50

The photo is read before; `before` is the memory of the process at that point, with all modules loaded.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def main(kind: str, path: Path, quality: int) -> None:
    """Encode with "bbmr" or Pillow's "avif" at speed 6, and print the memory in bytes as JSON."""
    if kind == "bbmr":
        from .bbmr_codecs import encode_for_network
    with Image.open(path) as image:
        photo = np.asarray(image.convert("RGB"))
    before = _memory("VmRSS")
    if kind == "bbmr":
        size = len(encode_for_network(photo, quality).to_bytes())
    else:
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "AVIF", quality=quality, speed=6)
        size = len(file.getvalue())
    pixels = photo.shape[0] * photo.shape[1]
    print(json.dumps({"peak": _memory("VmHWM"), "before": before, "pixels": pixels, "bytes": size}))


def _memory(field: str) -> int:
    """Return a field of this process's status in bytes.

    `ru_maxrss` is no substitute: it starts with the memory of the process that started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
