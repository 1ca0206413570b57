"""A container that holds its source file: asked for in its own format, the file is the answer and is not decoded."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_server.engine.estimate import Estimate
from bbmr_server.engine.request import PictureRequest
from bbmr_server.engine.throughput import Throughput
from bbmr_shared.container import Container, Plane
from bbmr_shared.errors import BbmrError, UnknownModelError
from bbmr_shared.grid import BlockGrid
from bbmr_shared.images import codecs
from tests.server.fakes import fake_model

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def original(photo: Image.Image) -> Container:
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=80)
    rates = np.ones(BlockGrid(*photo.size).shape, np.uint8)
    plane = Plane(1, "jpeg", file.getvalue())
    return Container(*photo.size, rates, (plane,), original=True, strength=0, downscaler="none")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The codec of every picture that is decoded."""
    codec_names: list[str] = []
    decode = codecs.decode

    def counted(data: bytes, codec: str, size: tuple[int, int]) -> Any:
        codec_names.append(codec)
        return decode(data, codec, size)

    monkeypatch.setattr(codecs, "decode", counted)
    return codec_names


@pytest.mark.parametrize(("model", "named"), [(None, "none"), ("light", "light")])
async def test_the_file_is_the_answer_and_is_not_decoded(
    make_bench: Callable[..., Any],
    original: Container,
    decoded: list[str],
    monkeypatch: pytest.MonkeyPatch,
    model: str | None,
    named: str,
) -> None:
    monkeypatch.setattr(
        "bbmr_server.engine.stages.encode_picture", lambda *_: pytest.fail("the picture was encoded")
    )
    engine = make_bench().engine
    answer = await engine.reconstruct(PictureRequest(original, "jpeg", model=model))
    assert answer.data == original.planes[0].data
    assert (answer.mime, answer.width, answer.height, answer.model) == ("image/jpeg", 200, 150, named)
    assert set(answer.seconds) == {"queue"}
    assert decoded == []
    assert engine.inside == 0
    assert not engine.model_store._holders


@pytest.mark.parametrize(
    "wanted",
    [{"format": "png"}, {"region": (0, 0, 200, 149)}, {"max_side": 100}],
    ids=lambda it: next(iter(it)),
)
async def test_anything_else_is_decoded_once(
    make_bench: Callable[..., Any], original: Container, decoded: list[str], wanted: dict[str, Any]
) -> None:
    answer = await make_bench().engine.reconstruct(replace(PictureRequest(original, "jpeg"), **wanted))
    assert answer.data != original.planes[0].data
    assert decoded == ["jpeg"]


async def test_weights_that_are_asked_for_must_be_loaded_all_the_same(
    make_bench: Callable[..., Any], original: Container
) -> None:
    with pytest.raises(UnknownModelError):
        await make_bench().engine.reconstruct(PictureRequest(original, "jpeg", model="nosuch"))


async def test_a_damaged_original_is_found_only_where_it_is_decoded(
    make_bench: Callable[..., Any], original: Container
) -> None:
    damaged = replace(original, planes=(replace(original.planes[0], data=original.planes[0].data[:300]),))
    engine = make_bench().engine
    assert (await engine.reconstruct(PictureRequest(damaged, "jpeg"))).data == damaged.planes[0].data
    with pytest.raises(BbmrError):
        await engine.reconstruct(PictureRequest(damaged, "png"))


@pytest.mark.parametrize("model", [None, fake_model("light")])
def test_it_holds_no_pixels_and_takes_no_time(original: Container, model: Any) -> None:
    estimate = Estimate(PictureRequest(original, "jpeg"), model, Throughput(), 1, 1)
    assert (estimate.pixels, estimate.seconds()) == (0, 0.0)
    decoding = Estimate(PictureRequest(original, "png"), model, Throughput(), 1, 1)
    assert decoding.pixels == original.grid.padded_width * original.grid.padded_height
    assert decoding.seconds() > 0
