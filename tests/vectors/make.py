"""Makes the golden containers: `python -m tests.vectors.make`. A file that exists is never written again.

It writes `v1/*.bbmr` and `invalid/*.bbmr` by the recipes of `valid.py` and `invalid.py`. `v1.json` says what each file
decodes to, or the error with which it is refused, and why. `digests.txt` has the digests; `b2sum -l 128 -c digests.txt`
checks them. Later releases add recipes and must still read all files. To repair a recipe that was not yet released,
delete its file and entries by hand.
"""

from __future__ import annotations

import json
import sys
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.compositing.composite import composite
from bbmr_shared.container import Container
from bbmr_shared.container.frame import digest
from bbmr_shared.images.names import LOSSY_CODECS
from tests.vectors.invalid import invalid
from tests.vectors.valid import valid

FOLDER = Path(__file__).parent
INDEX = FOLDER / "v1.json"
DIGESTS = FOLDER / "digests.txt"


def describe(container: Container) -> dict[str, Any]:
    """What a valid vector must decode to; fields that came later are left out where they have their default."""
    base = composite(container.decode_planes(), container.rate_map, container.grid)
    alpha = container.decode_alpha()
    lossy_alpha = container.alpha is not None and container.alpha.codec in LOSSY_CODECS
    facts = {
        "width": container.width,
        "height": container.height,
        "block": container.block,
        "samples": container.samples,
        "rates": [plane.rate for plane in container.planes],
        "codecs": [plane.codec for plane in container.planes],
        "errors": [plane.error for plane in container.planes],
        "strengths": container.strengths.tolist(),
        "model": container.model,
        "downscaler": [container.downscaler, container.downscaler_version],
        "metadata": {
            name: value.hex() if (value := getattr(container, name)) else None
            for name in ("icc", "exif", "xmp")
        },
        "extra": _plain(dict(container.extra)),
        "rate_map": digest(container.rate_map.tobytes()).hex(),
        # Lossy planes may decode 1/255 apart in another build of the decoder, so only their means are promised.
        "base": _digest(base) if _is_lossless(container) else None,
        "base_means": [round(float(mean), 2) for mean in base.mean(axis=(0, 1))],
        "alpha": None if alpha is None or lossy_alpha else _digest(alpha),
    }
    if alpha is not None and lossy_alpha:
        facts["alpha_mean"] = round(float(alpha.mean()), 2)
    if container.channels != 3:
        facts["channels"] = container.channels
    if container.dpi is not None:
        facts["dpi"] = list(container.dpi)
    if container.original:
        facts["original"] = digest(container.planes[0].data).hex()
    return facts


def main() -> int:
    """Write the vectors that do not exist yet; returns the number of files written."""
    index: dict[str, Any] = {"valid": {}, "invalid": {}, "why": {}}
    if INDEX.exists():
        index |= json.loads(INDEX.read_text())
    written = 0
    for name, recipe in valid().items():
        path = FOLDER / "v1" / f"{name}.bbmr"
        if name not in index["valid"] and not path.exists():
            made = recipe()
            _write(path, made if isinstance(made, bytes) else made.to_bytes())
            read = Container.from_bytes(path.read_bytes())
            again = {} if read.to_bytes() == path.read_bytes() else {"canonical": False}
            index["valid"][name] = describe(read) | again
            written += 1
    for name, broken in invalid().items():
        path = FOLDER / "invalid" / f"{name}.bbmr"
        if name not in index["invalid"] and not path.exists():
            _write(path, broken.make())
            index["invalid"][name] = broken.error
            written += 1
        index["why"].setdefault(name, broken.why)
    if written:
        INDEX.write_text(json.dumps(index, indent=1) + "\n")
    _pin()
    print(f"{written} vectors written, the others left as they were", file=sys.stderr)
    return written


def _pin() -> None:
    """Add the digests of files that have none yet; what is there stays."""
    text = DIGESTS.read_text() if DIGESTS.exists() else ""
    pinned = {line.split()[1] for line in text.splitlines()}
    for folder in ("v1", "invalid"):
        for path in sorted((FOLDER / folder).glob("*.bbmr")):
            name = f"{folder}/{path.name}"
            if name not in pinned:
                text += f"{digest(path.read_bytes()).hex()}  {name}\n"
    DIGESTS.write_text(text)


def _is_lossless(container: Container) -> bool:
    if container.original:
        only = container.planes[0]
        return only.codec == "png" or (only.codec == "webp" and b"VP8L" in only.data[:64])
    return all(plane.error == 0 for plane in container.planes)


def _plain(value: Any) -> Any:
    """A value as JSON can say it: bytes become hexadecimal, infinity a string."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def _digest(samples: NDArray[np.uint8]) -> str:
    return blake2b(np.ascontiguousarray(samples).tobytes(), digest_size=16).hexdigest()


if __name__ == "__main__":
    main()
