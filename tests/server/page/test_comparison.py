"""`POST /page/compare`: a photo's container, reconstruction, AVIF and figures in one answer, each made once."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from bbmr_client.encoding.encoder import encode
from bbmr_client.photo import load_photo
from bbmr_server.page import comparison
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container
from bbmr_shared.metrics import psnr_rgb, psnr_y, ssim
from tests.server.parts import read_parts

pytestmark = pytest.mark.anyio
JPEG = {"Content-Type": "image/jpeg"}
Parts = dict[str, tuple[dict[str, Any], bytes | None]]


async def ask(client: Any, photo: bytes, query: str = "?quality=40") -> Parts:
    """Returns the parts by their names; the steps are not among them."""
    answer = await client.post(f"/page/compare{query}", content=photo, headers=JPEG)
    assert answer.status_code == 200, answer.text
    return {head["part"]: (head, data) for head, data in read_parts(answer.content) if head["part"] != "step"}


def pixels(file: bytes | None) -> np.ndarray:
    with Image.open(io.BytesIO(file or b"")) as picture:
        return np.asarray(picture.convert("RGB"))


async def test_everything_is_made_once(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench()
    calls = []
    for name in ("encode", "read_photo"):
        whole = getattr(comparison, name)
        monkeypatch.setattr(
            comparison, name, lambda *a, _whole=whole, _name=name, **b: calls.append(_name) or _whole(*a, **b)
        )
    async with connect(bench) as client:
        parts = await ask(client, jpeg)
    assert list(parts) == ["container", "picture", "avif", "figures"]
    assert calls == ["read_photo", "encode"]
    assert bench.network.calls <= 1
    photo = load_photo(jpeg)
    container = parts["container"][1]
    assert container == encode(photo, quality=40, metadata="icc", model="light").to_bytes()
    made = preview(Container.from_bytes(container))
    assert np.array_equal(pixels(parts["picture"][1]), np.asarray(made))
    assert len(bench.app.state.bbmr.encode_queue) == 0
    assert bench.app.state.bbmr.bodies.used == 0


async def test_figures_are_those_of_the_pictures(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes
) -> None:
    async with connect(make_bench()) as client:
        parts = await ask(client, jpeg)
    photo = load_photo(jpeg).rgb
    figures, facts = parts["figures"][0], parts["container"][0]["facts"]
    for name, file, picture in (
        ("bbmr", parts["container"][1], pixels(parts["picture"][1])),
        ("avif", parts["avif"][1], pixels(parts["avif"][1])),
    ):
        size = len(file or b"")
        own = {key: figures[name][key] for key in ("bytes", "bpp", "psnr_rgb", "psnr_y", "ssim")}
        assert own == {
            "bytes": size,
            "bpp": size * 8 / (200 * 150),
            "psnr_rgb": pytest.approx(psnr_rgb(photo, picture)),
            "psnr_y": pytest.approx(psnr_y(photo, picture)),
            "ssim": pytest.approx(ssim(photo, picture)),
        }
    assert figures["avif"]["bytes"] <= figures["bbmr"]["bytes"] == facts["bytes"]
    assert figures["avif"]["equal"]["psnr_rgb"] >= figures["avif"]["psnr_rgb"]
    about = parts["avif"][0]
    assert (about["scale"], about["speed"], about["tune"]) == (1, 6, "psnr")


async def test_steps_say_what_is_under_way(make_bench: Callable[..., Any], connect: Any, jpeg: bytes) -> None:
    async with connect(make_bench()) as client:
        answer = await client.post("/page/compare", content=jpeg, headers=JPEG)
    assert [head.get("step", head["part"]) for head, _ in read_parts(answer.content)] == [
        "container",
        "restoring",
        "picture",
        "measuring",
        "avif",
        "figures",
    ]


async def test_without_an_avif_that_is_so_small_there_is_none(
    make_bench: Callable[..., Any], connect: Any
) -> None:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (90, 120, 40)).save(out, "PNG")
    async with connect(make_bench()) as client:
        parts = await ask(client, out.getvalue(), "?quality=20")
    assert "avif" not in parts
    assert parts["figures"][0]["avif"] is None
    assert parts["figures"][0]["bbmr"]["bytes"] < 320


async def test_alpha_is_not_counted_and_the_profile_is(make_bench: Callable[..., Any], connect: Any) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rng = np.random.default_rng(3)
    rgba = np.dstack([np.full((96, 96, 3), 100, np.uint8), rng.integers(0, 255, (96, 96), np.uint8)])
    rgba[..., 0] = np.arange(96)
    out = io.BytesIO()
    Image.fromarray(rgba).save(out, "PNG", icc_profile=icc)
    async with connect(make_bench()) as client:
        parts = await ask(client, out.getvalue(), "?quality=95")
    facts = parts["container"][0]["facts"]
    assert facts["alpha_bytes"] > 8000
    file = parts["avif"][1] or b""
    assert len(file) <= facts["bytes"] - facts["alpha_bytes"]
    with Image.open(io.BytesIO(file)) as picture:
        assert picture.info["icc_profile"] == icc


async def test_a_full_engine_is_waited_for(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes, container: Container
) -> None:
    bench = make_bench(queue_length=1)
    full = asyncio.Event()
    engine, reconstruct = bench.engine, bench.engine.reconstruct
    seen = []

    async def refuse_once(*arguments: Any) -> Any:
        seen.append(arguments)
        if len(seen) == 1:
            raise comparison.QueueFullError("full", retry_after=1)
        full.set()
        return await reconstruct(*arguments)

    engine.reconstruct = refuse_once
    async with connect(bench) as client:
        answer = await client.post("/page/compare?quality=40", content=jpeg, headers=JPEG)
    names = [head.get("step", head["part"]) for head, _ in read_parts(answer.content)]
    assert names[:5] == ["container", "restoring", "waiting", "restoring", "picture"]
    assert names.count("container") == 1  # the photo is not encoded again


async def test_an_engine_that_stays_full_is_a_problem_with_a_wait(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes
) -> None:
    bench = make_bench(deadline_s=20)

    async def refuse(*_: Any) -> None:
        raise comparison.QueueFullError("full", retry_after=60)

    bench.engine.reconstruct = refuse
    async with connect(bench) as client:
        answer = await client.post("/page/compare?quality=40", content=jpeg, headers=JPEG)
    last = read_parts(answer.content)[-1][0]
    assert (last["part"], last["status"], last["retry_after"]) == ("problem", 429, 60)


async def test_one_photo_at_a_time_is_in_memory(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes, wait_for: Callable[..., None]
) -> None:
    bench = make_bench()
    bench.network.hold()
    smooth = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).save(smooth, "PNG")
    async with connect(bench) as client:
        bodies = (jpeg, smooth.getvalue())
        first, second = (
            asyncio.ensure_future(client.post("/page/compare?quality=20", content=body, headers=JPEG))
            for body in bodies
        )
        await asyncio.to_thread(wait_for, lambda: len(bench.app.state.bbmr.encode_queue) == 2)
        await asyncio.to_thread(bench.network.entered.wait, 5)
        assert bench.engine.inside <= 1
        bench.network.gate.set()
        steps = [
            [head.get("step", head["part"]) for head, _ in read_parts((await answer).content)]
            for answer in (first, second)
        ]
    assert sorted(names[:2] for names in steps) == [["container", "restoring"], ["waiting", "encoding"]]
    assert all(names[-1] == "figures" for names in steps)


@pytest.mark.parametrize(
    ("query", "status", "slug"),
    [
        ("?quality=101", 422, "invalid-request"),
        ("?quality=6.5", 422, "invalid-request"),
        ("?model=none", 422, "unknown-model"),
    ],
)
async def test_bad_queries_are_refused(
    make_bench: Callable[..., Any], connect: Any, jpeg: bytes, query: str, status: int, slug: str
) -> None:
    async with connect(make_bench()) as client:
        answer = await client.post(f"/page/compare{query}", content=jpeg, headers=JPEG)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:bbmr:problem:{slug}")


async def test_a_photo_that_cannot_be_read_is_refused(make_bench: Callable[..., Any], connect: Any) -> None:
    bench = make_bench()
    async with connect(bench) as client:
        answer = await client.post("/page/compare", content=b"junk" * 9, headers=JPEG)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:bbmr:problem:unreadable-picture")
    assert len(bench.app.state.bbmr.encode_queue) == 0
    assert bench.app.state.bbmr.bodies.used == 0


async def test_a_late_search_is_a_problem_after_the_picture(
    make_bench: Callable[..., Any],
    connect: Any,
    jpeg: bytes,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[..., None],
) -> None:
    bench = make_bench(deadline_s=3)
    gate = threading.Event()

    def slow(*_: Any, **__: Any) -> None:
        gate.wait(20)

    monkeypatch.setattr(comparison.avif, "avif_within", slow)
    try:
        async with connect(bench) as client:
            answer = await client.post("/page/compare?quality=40", content=jpeg, headers=JPEG)
        names = [head.get("type", head["part"]) for head, _ in read_parts(answer.content)]
        assert "picture" in names
        assert names[-1] == "urn:bbmr:problem:deadline"
        assert len(bench.app.state.bbmr.encode_queue) == 1  # its thread is still at work
    finally:
        gate.set()
    await asyncio.to_thread(wait_for, lambda: len(bench.app.state.bbmr.encode_queue) == 0)
