"""What holds for every picture and every option: encode, write, read, decode."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from PIL import Image

from bbmr_client.encoding.encoder import encode
from bbmr_shared import RATES, BlockGrid, Container
from bbmr_shared.compositing.composite import composite, preview
from bbmr_shared.container.block_maps import decode_map, encode_map, pack_symbols, packed_size, unpack_symbols
from bbmr_shared.container.frame import write_frame
from bbmr_shared.container.planes import pad
from bbmr_shared.errors import (
    DigestMismatchError,
    TruncatedContainerError,
    UnsupportedContainerError,
    UsageError,
)
from tests.hypothesis_profiles import examples
from tests.shared import parts

QUICK = settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
MANY = settings(max_examples=examples(300), deadline=None)


@dataclass(frozen=True)
class Case:
    """A small picture and options for `encode`, in the words of its parameters."""

    picture: Image.Image
    options: dict[str, Any]

    @property
    def grid(self) -> BlockGrid:
        return BlockGrid(*self.picture.size, self.options["block"])


@st.composite
def pixels(draw: st.DrawFn, channels: int = 3) -> NDArray[np.uint8]:
    """`uint8 [h, w, channels]`, up to 70 a side: flat, smooth, or noise."""
    width, height, seed = draw(st.integers(1, 70)), draw(st.integers(1, 70)), draw(st.integers(0, 1 << 16))
    kind = draw(st.sampled_from(["flat", "smooth", "noise"]))
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.integers(0, 256, (height, width, channels), np.uint8)
    if kind == "flat":
        return np.broadcast_to(rng.integers(0, 256, channels, np.uint8), (height, width, channels)).copy()
    return np.resize(parts.picture(width, height, seed), (height, width, channels))


@st.composite
def cases(draw: st.DrawFn, modes: tuple[str, ...] = ("RGB", "RGBA", "L", "LA")) -> Case:
    """A picture of a mode, with or without metadata, and options that fit together."""
    picture = Image.fromarray(draw(pixels())).convert(draw(st.sampled_from(modes)))
    if picture.mode.endswith("A"):
        alpha = draw(npst.arrays(np.uint8, (picture.height, picture.width), elements=st.integers(0, 255)))
        picture.putalpha(Image.fromarray(alpha))
    if draw(st.booleans()):
        picture.info["dpi"] = (draw(st.integers(1, 2400)), draw(st.integers(1, 2400)))
        picture.info["xmp"] = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
        exif = Image.Exif()
        exif[0x010F] = draw(st.text(st.characters(codec="ascii", exclude_categories=("C",)), min_size=1))
        picture.info["exif"] = exif.tobytes()
    palette = sorted(draw(st.sets(st.sampled_from(RATES), min_size=1)))
    rate = draw(st.floats(1, palette[-1]))
    uniform = draw(st.booleans())
    options = {
        "rates": palette,
        "rate": draw(st.sampled_from(palette)) if uniform else rate,
        "uniform": uniform,
        "codec": draw(st.sampled_from(["webp", "png"])),
        "distortion": draw(st.sampled_from(["network", "bicubic"])),
        "effort": draw(st.integers(0, 4)),
        "block": 16 * draw(st.integers(1, 5)),
    }
    return Case(picture, options)


@st.composite
def lossy_cases(draw: st.DrawFn) -> Case:
    """A picture as those of `cases`, and options with which planes are lossy."""
    case = draw(cases())
    budget = draw(st.sampled_from(["quality", "max_bytes", "target_psnr"]))
    value = {
        "quality": st.integers(0, 100),
        "max_bytes": st.integers(60_000, 90_000),
        "target_psnr": st.floats(10, 60),
    }[budget]
    options = {name: case.options[name] for name in ("rates", "distortion", "effort", "block")}
    options |= {budget: draw(value), "codec": draw(st.sampled_from(["av1", "avif"]))}
    return Case(case.picture, options)


def encoded(case: Case, **changes: Any) -> Container:
    """The container; a palette that cannot meet the rate is none of our cases."""
    try:
        return encode(case.picture, **{**case.options, **changes})
    except UsageError:
        assume(False)
        raise


@QUICK
@given(cases())
def test_what_is_written_is_read(case: Case) -> None:
    made = encoded(case)
    data = made.to_bytes()
    read = Container.from_bytes(data)
    assert read == made
    assert read.to_bytes() == data
    assert (read.rate_map == made.rate_map).all()
    assert (read.strengths == made.strengths).all()
    for name in ("icc", "exif", "xmp", "dpi", "channels", "model", "extra"):
        assert getattr(read, name) == getattr(made, name)


@settings(QUICK, max_examples=examples(20))
@given(lossy_cases())
def test_lossy_planes_are_written_and_read(case: Case) -> None:
    made = encode(case.picture, **case.options)
    data = made.to_bytes()
    assert Container.from_bytes(data) == made
    assert set(np.unique(made.rate_map)) <= set(case.options["rates"])
    shown = preview(Container.from_bytes(data))
    assert shown.size == case.picture.size
    assert ("A" in shown.mode) <= ("A" in case.picture.mode)
    assert len(data) <= case.options.get("max_bytes", len(data))
    assert encode(case.picture, **case.options).to_bytes() == data


@QUICK
@given(cases())
def test_the_same_picture_gives_the_same_bytes(case: Case) -> None:
    assert encoded(case).to_bytes() == encoded(case).to_bytes()


@QUICK
@given(cases())
def test_the_preview_is_the_picture_s_size_and_kind(case: Case) -> None:
    shown = preview(Container.from_bytes(encoded(case).to_bytes()))
    assert shown.size == case.picture.size
    assert ("A" in shown.mode) <= ("A" in case.picture.mode)
    if case.picture.mode in ("L", "LA"):
        assert shown.mode in ("L", "LA")


@QUICK
@given(cases())
def test_the_rate_is_kept(case: Case) -> None:
    made, grid = encoded(case), case.grid
    assert made.samples <= grid.padded_width * grid.padded_height / case.options["rate"] ** 2
    assert set(np.unique(made.rate_map)) <= set(case.options["rates"])
    assert [plane.rate for plane in made.planes] == sorted(set(made.rate_map.flat), reverse=True)
    if case.options["uniform"]:
        assert (made.rate_map == case.options["rate"]).all()


@QUICK
@given(cases(modes=("RGB",)))
def test_blocks_of_rate_1_are_the_photo_bit_for_bit(case: Case) -> None:
    made = encoded(case)
    source = pad(np.asarray(case.picture), made.grid)
    base = composite(made.decode_planes(), made.rate_map, made.grid)
    own = made.grid.expand(made.rate_map == 1)
    assert (base[own] == source[own]).all()


@QUICK
@given(cases(modes=("RGB", "L")))
def test_at_rate_1_the_preview_is_the_photo(case: Case) -> None:
    shown = preview(encode(case.picture, rate=1, block=case.options["block"], codec=case.options["codec"]))
    assert np.array_equal(np.asarray(shown.convert("RGB")), np.asarray(case.picture.convert("RGB")))


@settings(QUICK, max_examples=examples(12))
@given(cases(modes=("RGB",)), st.data())
def test_blocks_of_strength_0_are_the_base_bit_for_bit(case: Case, data: st.DataObject) -> None:
    network = pytest.importorskip("bbmr_models.reconstruct", reason="needs the server extra")
    made = encoded(case)
    strengths = data.draw(npst.arrays(np.uint8, made.grid.shape, elements=st.integers(0, 2)))
    made = replace(made, strength_map=strengths)
    shown = np.asarray(network.reconstruct_local(made).convert("RGB"))
    base = np.asarray(preview(made).convert("RGB"))
    untouched = made.grid.expand(strengths == 0)[: made.height, : made.width]
    assert (shown[untouched] == base[untouched]).all()
    plain = replace(made, strength=0, strength_map=None)
    assert not plain.uses_network
    assert np.array_equal(np.asarray(network.reconstruct_local(plain, model="light").convert("RGB")), base)


@QUICK
@given(cases(modes=("RGBA", "LA")))
def test_alpha_is_exact(case: Case) -> None:
    alpha = np.asarray(case.picture.getchannel("A"))
    held = Container.from_bytes(encoded(case).to_bytes()).decode_alpha()
    assert np.array_equal(np.full_like(alpha, 255) if held is None else held, alpha)


@QUICK
@given(cases())
def test_metadata_are_kept_or_left_as_asked(case: Case) -> None:
    everything, nothing = encoded(case), encoded(case, metadata="none")
    assert (nothing.exif, nothing.xmp, nothing.icc, nothing.dpi) == (None, None, None, None)
    info = case.picture.info
    assert (everything.xmp is None) == ("xmp" not in info)
    if "dpi" in info:
        assert everything.dpi == pytest.approx(info["dpi"], rel=1e-3)
        parsed = Image.Exif()
        parsed.load(everything.exif)
        original = Image.Exif()
        original.load(info["exif"])
        assert parsed.get(0x010F) == original.get(0x010F)
        assert preview(everything).info["xmp"] == info["xmp"]


@QUICK
@given(cases(), st.floats(1, 16), st.floats(1, 16))
def test_a_higher_rate_keeps_no_more_samples_than_it_may(case: Case, one: float, other: float) -> None:
    """The count need not fall with every step of the rate, but is always below the bound of the lower one."""
    low, high = sorted((one, other))
    made = encode(case.picture, rate=high, block=case.options["block"])
    assert made.samples <= case.grid.padded_width * case.grid.padded_height / low**2


@QUICK
@given(cases(modes=("RGB",)))
def test_uniform_containers_get_smaller_with_the_rate(case: Case) -> None:
    counts = [
        encode(case.picture, rate=rate, uniform=True, block=case.options["block"]).samples for rate in RATES
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 256 * counts[-1]


@QUICK
@given(cases(), st.data())
def test_one_changed_byte_is_found(case: Case, data: st.DataObject) -> None:
    file = bytearray(encoded(case).to_bytes())
    at = data.draw(st.integers(8, len(file) - 1))
    file[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises((DigestMismatchError, TruncatedContainerError)):
        Container.from_bytes(bytes(file))


@QUICK
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_fields_means_nothing(case: Case, shuffle: random.Random) -> None:
    made = encoded(case)
    fields, pictures = parts.fields_of(made.to_bytes())
    items = list(fields.items())
    shuffle.shuffle(items)
    shuffled = dict(items)
    shuffled["planes"] = [dict(shuffle.sample(list(entry.items()), len(entry))) for entry in fields["planes"]]
    assert Container.from_bytes(write_frame(shuffled, pictures)) == made


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
LATER = st.dictionaries(st.text(min_size=1, max_size=8).map("later-".__add__), PLAIN, min_size=1, max_size=3)


@MANY
@given(LATER, LATER, LATER)
def test_unknown_optional_fields_are_kept_at_every_level(
    header: dict[str, Any], plane: dict[str, Any], alpha: dict[str, Any]
) -> None:
    fields, pictures = parts.fields_of(WITH_ALPHA)
    fields |= header
    fields["planes"][0] |= plane
    fields["alpha"] |= alpha
    data = write_frame(fields, pictures)
    read = Container.from_bytes(data)
    assert read.to_bytes() == data
    assert list(read.extra) == list(header)
    assert list(read.planes[0].extra) == list(plane)
    assert read.alpha is not None
    assert list(read.alpha.extra) == list(alpha)
    assert preview(read).size == (40, 24)


@MANY
@given(st.text(max_size=8), PLAIN, st.sampled_from(["header", "plane", "alpha"]))
def test_unknown_critical_fields_are_refused_at_every_level(name: str, value: object, level: str) -> None:
    assume((name, level) != ("original", "header"))
    fields, pictures = parts.fields_of(WITH_ALPHA)
    {"header": fields, "plane": fields["planes"][-1], "alpha": fields["alpha"]}[level]["!" + name] = value
    with pytest.raises(UnsupportedContainerError, match="does not know") as caught:
        Container.from_bytes(write_frame(fields, pictures))
    assert str(caught.value).isprintable()


@MANY
@given(npst.arrays(np.uint8, st.integers(0, 400), elements=st.integers(0, 4)))
def test_symbols_are_packed_and_unpacked(symbols: NDArray[np.uint8]) -> None:
    packed = pack_symbols(symbols)
    assert len(packed) == packed_size(symbols.size)
    assert np.array_equal(unpack_symbols(packed, symbols.size), symbols)


@MANY
@given(
    npst.arrays(np.uint8, npst.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 4))
)
def test_maps_are_written_and_read(symbols: NDArray[np.uint8]) -> None:
    assert np.array_equal(decode_map(encode_map(symbols), (symbols.shape[0], symbols.shape[1])), symbols)


WITH_ALPHA = parts.container(40, 24, block=16, rates=[1, 4], codec="png", alpha=True).to_bytes()
