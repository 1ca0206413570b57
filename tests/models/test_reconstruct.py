"""Reconstruction: promises about tiles, regions, threads, strength and exactness."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import bbmr_models
from bbmr_client.encoding.encoder import encode
from bbmr_models import load, reconstruct
from bbmr_models.inference.tile_input import TileSource
from bbmr_models.reconstruct import CancelledError, Reconstructor, reconstruct_local
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import AlphaPlane, Container, Plane
from bbmr_shared.errors import IncompatibleModelError, UnknownModelError
from bbmr_shared.grid import BlockGrid
from bbmr_shared.images.codecs import encode_plane
from bbmr_shared.metrics import psnr_y
from tests.reader import minimal
from tests.vectors import make

from .conftest import small_network

Picture = NDArray[np.uint8]
VECTORS: dict[str, Any] = json.loads(make.INDEX.read_text())["valid"]


def pixels(image: object) -> NDArray[np.int16]:
    return np.asarray(image).astype(np.int16)


EXAMPLE = """
import sys
import bbmr_models
assert "torch" not in sys.modules
from bbmr_shared.container import Container
container = Container.from_bytes(sys.stdin.buffer.read())
{example}
assert picture.size == (40, 30)
assert bbmr_models.reconstruct.Reconstructor is bbmr_models.Reconstructor
assert set(dir(bbmr_models)) >= set(bbmr_models.__all__)
"""


def test_the_example_of_the_package_runs(photo: Picture) -> None:
    lines = (bbmr_models.__doc__ or "").splitlines()
    example = "\n".join(line for line in lines if line.startswith(("model = ", "picture = ")))
    assert example.count("\n") == 1
    program = EXAMPLE.format(example=example)
    data = encode(photo[:30, :40], rate=4).to_bytes()
    subprocess.run([sys.executable, "-c", program], input=data, check=True, timeout=120)


@pytest.mark.parametrize("rate", [4, 2])
def test_the_shipped_network_beats_the_composite(photo: Picture, rate: int) -> None:
    for uniform in (True, False):
        container = encode(photo, rate=rate, uniform=uniform)
        restored = np.asarray(reconstruct_local(container))
        gain = psnr_y(photo, restored) - psnr_y(photo, np.asarray(preview(container)))
        assert gain > 0.4, f"×{rate} uniform={uniform}: {gain:+.2f} dB"


def test_tiled_is_untiled(photo: Picture) -> None:
    container = encode(photo, rate=3)
    model = load("light")
    assert model.config.local
    model.config = replace(model.config, tile=1024)  # one tile holds the whole picture
    whole = pixels(Reconstructor(model).reconstruct(container))
    model.config = replace(model.config, tile=128)
    tiled = pixels(Reconstructor(model).reconstruct(container))
    assert np.abs(whole - tiled).max() <= 1


def test_a_region_goes_through_the_network_with_no_more_than_its_halo(photo: Picture) -> None:
    container = encode(photo, rate=4)
    area = (250, 130, 200, 100)
    config = load("light").config
    assert config.local
    (tile,) = TileSource(container, area, None, config).tiles
    assert tile.core == (240, 128, 224, 112)
    assert tile.seen == (160, 48, 384, 272)
    fixed = TileSource(
        container, area, None, replace(config, backbone="omnisr", channels=64, restoration=False)
    ).tiles
    assert fixed[0].core == (0, 0, 704, 512)  # its pixels depend on the whole tile


def test_one_thread_two_threads_and_batches_agree(photo: Picture) -> None:
    container = encode(photo, rate=4)
    model = small_network()
    threads = torch.get_num_threads()
    try:
        results = []
        for count, batch in ((1, 1), (2, 1), (2, 2), (2, 8)):
            torch.set_num_threads(count)
            results.append(pixels(Reconstructor(model, batch=batch).reconstruct(container)))
    finally:
        torch.set_num_threads(threads)
    assert all(np.abs(result - results[0]).max() <= 1 for result in results)


@pytest.mark.parametrize("region", [(0, 0, 700, 500), (250, 130, 33, 77), (699, 499, 1, 1), (0, 255, 700, 2)])
def test_a_region_is_that_part_of_the_picture(photo: Picture, region: tuple[int, int, int, int]) -> None:
    container = encode(photo, rate=4)
    reconstructor = Reconstructor(small_network())
    x, y, width, height = region
    whole = pixels(reconstructor.reconstruct(container))[y : y + height, x : x + width]
    part = pixels(reconstructor.reconstruct(container, region))
    assert part.shape == whole.shape
    assert np.abs(part - whole).max() <= 1


@pytest.mark.parametrize("region", [(-1, 0, 5, 5), (0, 0, 701, 5), (0, 0, 0, 5), (10, 499, 5, 2)])
def test_a_region_outside_is_refused(photo: Picture, region: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="region"):
        Reconstructor(small_network()).reconstruct(encode(photo, rate=4), region)


@pytest.mark.parametrize("size", [(1, 1), (127, 129), (16, 128), (129, 16)])
def test_any_size_works(photo: Picture, size: tuple[int, int]) -> None:
    width, height = size
    container = encode(photo[:height, :width], rate=4)
    assert reconstruct_local(container).size == size


def test_strength_scales_the_correction_and_none_is_the_composite(photo: Picture) -> None:
    container = encode(photo, rate=4)
    reconstructor = Reconstructor(small_network())
    none, half, full = (
        pixels(reconstructor.reconstruct(replace(container, strength=strength, strength_map=None)))
        for strength in (0, 1, 2)
    )
    np.testing.assert_array_equal(none, pixels(preview(container)))
    assert np.abs(full - none).max() > 2
    inside = (full > 0) & (full < 255) & (none > 0) & (none < 255)
    assert np.abs((full - none) - 2 * (half - none))[inside].max() <= 2


def test_a_strength_map_acts_on_its_own_blocks_only(photo: Picture) -> None:
    container = encode(photo, rate=4, uniform=True)
    strengths = np.zeros(container.grid.shape, np.uint8)
    strengths[1, 2] = 2
    reconstructor = Reconstructor(small_network())
    result = pixels(reconstructor.reconstruct(replace(container, strength_map=strengths)))
    full, none = pixels(reconstructor.reconstruct(container)), pixels(preview(container))
    block = (slice(128, 256), slice(256, 384))
    np.testing.assert_array_equal(result[block], full[block])
    outside = np.ones(result.shape[:2], bool)
    outside[block] = False
    np.testing.assert_array_equal(result[outside], none[outside])


def test_lossless_blocks_at_rate_1_come_back_exactly(photo: Picture) -> None:
    container = encode(photo, rate=2)
    finest = container.grid.expand(container.rate_map)[:500, :700] == 1
    assert finest.any()
    restored = np.asarray(Reconstructor(small_network(gain=5)).reconstruct(container))
    np.testing.assert_array_equal(restored[finest], photo[finest])


def test_lossy_planes_need_weights_that_were_trained_on_them(photo: Picture) -> None:
    container = encode(photo, rate=4, uniform=True)
    noisy = replace(container, planes=tuple(replace(plane, error=120) for plane in container.planes))
    with pytest.raises(IncompatibleModelError, match="lossless"):
        reconstruct_local(noisy, model="omnisr")
    model = load("light")
    assert model.config.lossy
    results = [pixels(Reconstructor(model).reconstruct(given)) for given in (container, noisy)]
    assert (results[0] != results[1]).any()


def test_blocks_of_a_rate_that_was_not_trained_are_refused(photo: Picture) -> None:
    model = small_network()
    model.config = replace(model.config, rates=(2, 4, 8))
    reconstructor = Reconstructor(model)
    reconstructor.reconstruct(encode(photo, rate=4, rates=(2, 4)))
    with pytest.raises(IncompatibleModelError, match="rate 1"):
        reconstructor.reconstruct(encode(photo, rate=2))


def test_planes_of_an_unknown_downscaler_are_refused(photo: Picture) -> None:
    container = replace(encode(photo, rate=4), downscaler="learned")
    with pytest.raises(IncompatibleModelError, match="learned"):
        reconstruct_local(container)


def test_the_weights_that_the_container_names_must_exist(photo: Picture) -> None:
    with pytest.raises(UnknownModelError, match="no-such-model"):
        reconstruct_local(encode(photo, model="no-such-model"))


def test_cancelling_stops_between_tiles(photo: Picture) -> None:
    asked = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) > 2

    with pytest.raises(CancelledError):
        Reconstructor(small_network(tile=128)).reconstruct(encode(photo, rate=4), cancelled=cancelled)
    assert len(asked) == 3


def original(photo: Picture, grey: bool = False, model: str | None = None) -> Container:
    """A JPEG carried as it is."""
    height, width = photo.shape[:2]
    out = io.BytesIO()
    Image.fromarray(photo).convert("L" if grey else "RGB").save(out, "JPEG", quality=60)
    rates = np.ones(BlockGrid(width, height).shape, np.uint8)
    plane = Plane(1, "jpeg", out.getvalue())
    return Container(
        width,
        height,
        rates,
        (plane,),
        strength=0,
        original=True,
        channels=1 if grey else 3,
        model=model,
        downscaler="none",
    )


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("region", [None, (33, 17, 100, 50)])
def test_an_original_comes_back_as_its_own_decoder_gives_it(
    photo: Picture, grey: bool, region: tuple[int, int, int, int] | None
) -> None:
    container = original(photo[:150, :210], grey, model="weights-that-nobody-has")
    source = Image.open(io.BytesIO(container.planes[0].data))
    if region is not None:
        source = source.crop((33, 17, 133, 67))
    for image in (
        reconstruct_local(container, region=region),
        Reconstructor(small_network(gain=5)).reconstruct(container, region),
    ):
        assert image.mode == source.mode == ("L" if grey else "RGB")
        np.testing.assert_array_equal(np.asarray(image), np.asarray(source))


@pytest.mark.parametrize("name", [name for name, facts in VECTORS.items() if not np.any(facts["strengths"])])
def test_golden_containers_without_a_network_come_back_as_another_reader_shows_them(name: str) -> None:
    data = (make.FOLDER / "v1" / f"{name}.bbmr").read_bytes()
    image, expected = reconstruct_local(Container.from_bytes(data)), minimal.picture(*minimal.read(data))
    assert (image.mode, image.size, image.tobytes()) == (expected.mode, expected.size, expected.tobytes())


def test_no_weights_are_loaded_where_nothing_is_corrected(
    photo: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = replace(encode(photo, rate=4), strength=0, strength_map=None, downscaler="of-tomorrow")
    monkeypatch.setattr("bbmr_models.reconstruct.read", lambda *_: pytest.fail("weights were loaded"))
    np.testing.assert_array_equal(pixels(reconstruct_local(container)), pixels(preview(container)))
    with pytest.raises(ValueError, match="region"):
        reconstruct_local(container, region=(0, 0, 9999, 1))


@pytest.mark.parametrize(
    ("name", "installed", "gpu", "expected"),
    [
        ("light", {"ncnn"}, False, ("cpu", "ncnn")),
        ("light", {"torch"}, False, ("cpu", "torch")),
        ("light", {"ncnn", "torch"}, False, ("cpu", "ncnn")),
        ("light", {"ncnn", "torch"}, True, ("cuda", "auto")),
        ("omnisr", {"ncnn", "torch"}, False, ("cpu", "torch")),
    ],
)
def test_the_runtime_of_this_machine_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    installed: set[str],
    gpu: bool,
    expected: tuple[str, str],
) -> None:
    def load_network(
        name: str, data: bytes, device: str = "cpu", runtime: str = "auto", threads: int = 0
    ) -> tuple[str, str]:
        assert threads == 3
        return device, runtime

    monkeypatch.setattr(reconstruct, "find_spec", lambda name: name if name in installed else None)
    monkeypatch.setattr(reconstruct, "may_have_gpu", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(reconstruct, "load_network", load_network)
    assert reconstruct._network.__wrapped__(name, 3) == expected


def test_weights_that_are_asked_for_must_exist_even_then(photo: Picture) -> None:
    with pytest.raises(UnknownModelError):
        reconstruct_local(original(photo[:40, :40]), model="no-such-model")


def test_a_grey_picture_stays_grey_through_the_network(photo: Picture) -> None:
    grey = np.asarray(Image.fromarray(photo[:200, :200]).convert("L"))
    container = replace(encode(np.stack([grey] * 3, axis=-1), rate=4), channels=1)
    restored = Reconstructor(small_network()).reconstruct(container)
    assert restored.mode == "L"
    assert (np.asarray(restored) != np.asarray(preview(container))).any()
    lit = replace(container, alpha=AlphaPlane(*encode_plane(grey, "png")))
    image = Reconstructor(small_network()).reconstruct(lit, (10, 20, 30, 40))
    assert (image.mode, image.size) == ("LA", (30, 40))
    np.testing.assert_array_equal(np.asarray(image)[..., 1], grey[20:60, 10:40])
