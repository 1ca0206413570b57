"""bbmr as codecs of the benchmark: its composite, and the output of each network, from the same containers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bbmr_client
import bbmr_models
import bbmr_shared
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container

from .codecs import Codec, Encoder, timed
from .points import digest

Picture = NDArray[np.uint8]
Encode = Callable[[Picture, float], Container]
"""Photo and quality 0 … 100 → container."""
QUALITIES = tuple(range(0, 100, 5))
COMPOSITE, DEFAULT_MODEL = "bbmr-composite", "light"


def encode_for_network(photo: Picture, quality: float) -> Container:
    """Encode with the default options: rates and strengths are chosen for the default model."""
    return bbmr_client.encode(photo, quality=int(quality))


def encode_for_composite(photo: Picture, quality: float) -> Container:
    """Encode for decoders without a network."""
    return bbmr_client.encode(photo, quality=int(quality), network=False)


def bbmr_codecs(
    models: list[str],
    lowest: float,
    highest: float,
    for_network: Encode = encode_for_network,
    for_composite: Encode = encode_for_composite,
) -> list[Codec]:
    """Return the composite alone, and for each model the network and the composite of the container made for it."""
    version = source_digest()

    def codec(name: str, description: str, encode: Encoder, decode: Callable[[bytes], Picture]) -> Codec:
        return Codec(
            name,
            description,
            QUALITIES,
            encode,
            decode,
            version,
            lowest=lowest,
            highest=highest,
        )

    shared = _remembering(timed(lambda photo, quality: for_network(photo, quality).to_bytes()))
    alone = timed(lambda photo, quality: for_composite(photo, quality).to_bytes())
    codecs = [codec(COMPOSITE, "bbmr, rates chosen for the composite, which is shown", alone, composite)]
    for model in models:
        text = f"bbmr, network {model}, rates chosen for {DEFAULT_MODEL}"
        codecs.append(codec(f"bbmr-{model}", text, shared, _network_decoder(model)))
    if models:
        text = f"bbmr, rates chosen for {DEFAULT_MODEL}, the composite is shown"
        codecs.append(codec(f"bbmr-{DEFAULT_MODEL}-composite", text, shared, composite))
    return codecs


def composite(data: bytes) -> Picture:
    """Return the picture in a container without a network."""
    return np.asarray(preview(Container.from_bytes(data)).convert("RGB"))


@lru_cache
def source_digest() -> str:
    """Return a digest of the code and weights of bbmr: points of other versions are measured again."""
    digests = hashlib.sha256()
    for package in (bbmr_shared, bbmr_client, bbmr_models):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*")):
            wanted = path.suffix in (".py", ".json", ".safetensors") and "training" not in path.parts
            if wanted and path.is_file():
                digests.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return f"bbmr {digests.hexdigest()[:16]}"


def _network_decoder(model: str) -> Callable[[bytes], Picture]:
    def decode(data: bytes) -> Picture:
        return np.asarray(_reconstructor(model).reconstruct(Container.from_bytes(data)).convert("RGB"))

    return decode


@lru_cache(maxsize=1)
def _reconstructor(model: str) -> Any:
    from bbmr_models import load
    from bbmr_models.reconstruct import Reconstructor

    return Reconstructor(load(model))


def _remembering(encode: Encoder) -> Encoder:
    """Return an encoder that answers again, with the same seconds, what it was asked before."""
    answers: dict[tuple[str, float], tuple[bytes, float]] = {}

    def remembered(photo: Picture, quality: float) -> tuple[bytes, float]:
        key = digest(photo), quality
        if key not in answers:
            answers[key] = encode(photo, quality)
        return answers[key]

    return remembered
