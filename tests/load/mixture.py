"""A mixture of small requests whose right answers are known: sizes, formats, regions, thumbnails, grey, alpha.

In: a photo. Out: `Ask`s, and a `Judge` that compares every answer with the reconstruction made in this process.
"""

from __future__ import annotations

import hashlib
import io
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_models.reconstruct import reconstruct_local
from bbmr_shared.compositing.region import parse_region
from bbmr_shared.compositing.thumbnail import thumbnail
from bbmr_shared.container import Container
from bbmr_shared.images.output import OUTPUT_FORMATS, encode_picture

from .load import Ask

SIZES = ((1, 1), (16, 16), (17, 130), (64, 64), (96, 40), (127, 129), (128, 128), (200, 75), (256, 192))
"""Width and height; the largest takes a network of `light`'s size some 50 ms on one core."""
LOSSY_MOST, LOSSY_MEAN = 32, 2.0
"""Of 255: how far a lossy answer may be from the offline picture in the same coding. A coder makes 1/255 before it
larger: 14 at most and 1.3 on average where the server computed in bfloat16. Another picture is tens away on average."""


def mixture(photo: Path, count: int = 144, seed: int = 1) -> list[Ask]:
    """`count` different requests: every size in every format, each fourth a region, a thumbnail or both."""
    chance = random.Random(seed)
    with Image.open(photo) as image:
        whole = image.convert("RGB")
    asks = []
    for index in range(count):
        width, height = SIZES[index % len(SIZES)]
        form = list(OUTPUT_FORMATS.values())[index // len(SIZES) % len(OUTPUT_FORMATS)]
        left, top = chance.randint(0, whole.width - width), chance.randint(0, whole.height - height)
        piece = whole.crop((left, top, left + width, top + height))
        kind = chance.choice(("colour", "colour", "grey", "alpha"))
        if kind == "grey":
            piece = piece.convert("L")
        elif kind == "alpha":
            piece.putalpha(Image.radial_gradient("L").resize(piece.size))
        rate = chance.choice((1.5, 2.0, 4.0))
        params = {}
        if chance.random() < 0.25:
            x, y = chance.randrange(width), chance.randrange(height)
            params["region"] = f"{x},{y},{chance.randint(1, width - x)},{chance.randint(1, height - y)}"
        if chance.random() < 0.25:
            params["max_side"] = str(chance.randint(1, 160))
        asks.append(Ask(encode(piece, rate=rate).to_bytes(), form.mime, params))
    return asks


@dataclass(frozen=True)
class _Right:
    picture: Image.Image
    coded: bytes


class Judge:
    """Says what is wrong with an answer; `verdicts` counts in which way the others were right.

    An answer is right where it is the offline picture coded by the same encoder, byte for byte; or, lossless, within
    1/255 of it; or, lossy, as close to it in the same coding as 1/255 before the coder can explain.
    """

    def __init__(self, asks: list[Ask]) -> None:
        self.verdicts: Counter[str] = Counter()
        self._right = {id(ask): _offline(ask) for ask in asks}
        self._asks = asks  # so that no id is used twice
        self._known: dict[tuple[int, bytes], str] = {}

    def __call__(self, ask: Ask, answer: httpx.Response) -> str:
        if answer.status_code != 200:
            return ""  # counted as what it is
        if answer.headers["Content-Type"] != ask.accept:
            return f"the answer is {answer.headers['Content-Type']}, not {ask.accept}"
        key = id(ask), hashlib.blake2b(answer.content, digest_size=16).digest()
        verdict = self._known.get(key) or self._judge(ask, answer.content)
        if not verdict.startswith("wrong"):
            self._known[key] = verdict
            self.verdicts[verdict] += 1
            return ""
        return verdict

    def _judge(self, ask: Ask, data: bytes) -> str:
        right = self._right[id(ask)]
        if data == right.coded:
            return "the same bytes"
        ours, theirs = _pixels(right.coded), _pixels(data)
        if ours.shape != theirs.shape:
            return f"wrong: {theirs.shape} instead of {ours.shape}"
        off = np.abs(ours.astype(int) - theirs)
        if ask.accept == "image/png":
            return "within 1/255" if off.max() <= 1 else f"wrong by {off.max()}/255"
        close = off.max() <= LOSSY_MOST and off.mean() <= LOSSY_MEAN
        return (
            "coded from pixels within 1/255"
            if close
            else f"wrong by {off.max()}/255, {off.mean():.2f} on average"
        )


def offline(container: Container, ask: Ask) -> Image.Image:
    """The picture that `ask` asks for, made in this process."""
    region = parse_region(ask.params["region"]) if "region" in ask.params else None
    if "max_side" in ask.params:
        return thumbnail(container, int(ask.params["max_side"]), region)
    # One thread: on a busy machine several wait for each other longer than so little takes.
    return reconstruct_local(container, region=region, threads=1)


def _offline(ask: Ask) -> _Right:
    picture = offline(Container.from_bytes(ask.body), ask)
    form = next(row.name for row in OUTPUT_FORMATS.values() if row.mime == ask.accept)
    return _Right(picture, encode_picture(picture, form))


def _pixels(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)
