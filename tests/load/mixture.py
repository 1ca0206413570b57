"""A mixture of small requests with known answers: sizes, formats, regions, thumbnails, grey and alpha.

`AnswerCheck` compares every answer with the reconstruction made in this process.
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

from .generator import LoadRequest

SIZES = ((1, 1), (16, 16), (17, 130), (64, 64), (96, 40), (127, 129), (128, 128), (200, 75), (256, 192))
"""Width and height. The largest takes `light` about 50 ms on one core."""
LOSSY_MOST, LOSSY_MEAN = 32, 2.0
"""Largest distances of a lossy answer, in 1/255, from the offline picture in the same coding. An encoder enlarges a
difference of 1/255: to 14 at most and 1.3 on average with a server in bfloat16. Other pictures differ by tens."""


def mixture(photo: Path, count: int = 144, seed: int = 1) -> list[LoadRequest]:
    """Return `count` requests: every size in every format; a quarter asks for a region, a quarter for a thumbnail."""
    chance = random.Random(seed)
    with Image.open(photo) as image:
        whole = image.convert("RGB")
    requests = []
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
        requests.append(LoadRequest(encode(piece, rate=rate).to_bytes(), form.mime, params))
    return requests


@dataclass(frozen=True)
class _Right:
    picture: Image.Image
    coded: bytes


class AnswerCheck:
    """Returns what is wrong with an answer; `verdicts` counts how the others were right.

    An answer is right if it has the bytes of the offline picture; if it is lossless and within 1/255 of it; or if it is
    lossy and as close in the same coding as a difference of 1/255 before the encoder explains.
    """

    def __init__(self, requests: list[LoadRequest]) -> None:
        self.verdicts: Counter[str] = Counter()
        self._right = {id(request): _offline(request) for request in requests}
        self._requests = requests  # keeps the objects alive, so that no id is used twice
        self._known: dict[tuple[int, bytes], str] = {}

    def __call__(self, request: LoadRequest, answer: httpx.Response) -> str:
        if answer.status_code != 200:
            return ""  # the status is counted elsewhere
        if answer.headers["Content-Type"] != request.accept:
            return f"the answer is {answer.headers['Content-Type']}, not {request.accept}"
        key = id(request), hashlib.blake2b(answer.content, digest_size=16).digest()
        verdict = self._known.get(key) or self._judge(request, answer.content)
        if not verdict.startswith("wrong"):
            self._known[key] = verdict
            self.verdicts[verdict] += 1
            return ""
        return verdict

    def _judge(self, request: LoadRequest, data: bytes) -> str:
        right = self._right[id(request)]
        if data == right.coded:
            return "the same bytes"
        ours, theirs = _pixels(right.coded), _pixels(data)
        if ours.shape != theirs.shape:
            return f"wrong: {theirs.shape} instead of {ours.shape}"
        off = np.abs(ours.astype(int) - theirs)
        if request.accept == "image/png":
            return "within 1/255" if off.max() <= 1 else f"wrong by {off.max()}/255"
        close = off.max() <= LOSSY_MOST and off.mean() <= LOSSY_MEAN
        return (
            "coded from pixels within 1/255"
            if close
            else f"wrong by {off.max()}/255, {off.mean():.2f} on average"
        )


def offline(container: Container, request: LoadRequest) -> Image.Image:
    """Return the picture that `request` asks for, made in this process."""
    region = parse_region(request.params["region"]) if "region" in request.params else None
    if "max_side" in request.params:
        return thumbnail(container, int(request.params["max_side"]), region)
    # One thread: on a busy machine several threads wait for each other longer than the work takes.
    return reconstruct_local(container, region=region, threads=1)


def _offline(request: LoadRequest) -> _Right:
    picture = offline(Container.from_bytes(request.body), request)
    form = next(row.name for row in OUTPUT_FORMATS.values() if row.mime == request.accept)
    return _Right(picture, encode_picture(picture, form))


def _pixels(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)
