"""The short form of `make fuzz`: seeded damage and generated containers, in seconds."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from bbmr_shared import RATES, AlphaPlane, BlockGrid, Container, Plane
from bbmr_shared.container.frame import SIGNATURE
from bbmr_shared.container.header import KNOWN_FIELDS
from bbmr_shared.images.codecs import encode_plane
from tests.fuzz.damage import case, seeds
from tests.fuzz.promises import check_preview, check_read
from tests.hypothesis_profiles import examples
from tests.shared import parts

SEED = 20_240_501

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EXTRA = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name[0] != "!" and name not in KNOWN_FIELDS),
    PLAIN,
    max_size=3,
)


@st.composite
def containers(draw: st.DrawFn) -> Container:
    """Any small container: size, block, rate map, codecs, alpha, strength map, metadata, unknown fields."""
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    grid = BlockGrid(width, height, draw(st.sampled_from([16, 32, 48, 128])))
    rates = draw(npst.arrays(np.uint8, grid.shape, elements=st.sampled_from(RATES)))
    seed = draw(st.integers(0, 99))
    planes = []
    for rate, samples in parts.plane_samples(parts.picture(width, height, seed), rates, grid).items():
        codec, data = encode_plane(samples, draw(st.sampled_from(["webp", "png"])), effort=0)
        planes.append(Plane(rate, codec, data, draw(st.integers(0, 255)), draw(EXTRA.map(_not_of_a_plane))))
    alpha = parts.picture(width, height)[..., 1] if draw(st.booleans()) else None
    strengths = st.none() | npst.arrays(np.uint8, grid.shape, elements=st.integers(0, 2))
    return Container(
        width,
        height,
        rates,
        tuple(planes),
        block=grid.block,
        alpha=None if alpha is None else AlphaPlane(*encode_plane(alpha, "png")),
        icc=draw(st.none() | st.binary(max_size=30)),
        exif=draw(st.none() | st.binary(max_size=30)),
        xmp=draw(st.none() | st.binary(max_size=30)),
        downscaler=draw(st.from_regex("[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)),
        downscaler_version=draw(st.integers(0, (1 << 32) - 1)),
        model=draw(st.none() | st.just("light")),
        strength=draw(st.integers(0, 2)),
        strength_map=draw(strengths),
        extra=draw(EXTRA),
    )


def _not_of_a_plane(extra: dict[str, object]) -> dict[str, object]:
    return {
        name: value
        for name, value in extra.items()
        if name not in ("rate", "codec", "bytes", "digest", "error")
    }


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(containers())
def test_every_container_comes_back_as_it_was(made: Container) -> None:
    data = made.to_bytes()
    read = Container.from_bytes(data)
    assert read.to_bytes() == data
    assert dict(read.extra) == dict(made.extra)
    assert [dict(plane.extra) for plane in read.planes] == [dict(plane.extra) for plane in made.planes]
    assert (read.rate_map == made.rate_map).all()
    assert (read.strengths == made.strengths).all()
    assert check_read(data) == "read"
    assert check_preview(data) == "decoded"


@settings(max_examples=examples(300), deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_are_more_than_a_declared_error(body: bytes, sealed: bool) -> None:
    assert check_read(parts.sealed(body) if sealed else SIGNATURE + body).endswith("Error")


@settings(max_examples=examples(300), deadline=None)
@given(st.dictionaries(st.text(max_size=8) | st.sampled_from(sorted(KNOWN_FIELDS)), PLAIN, max_size=12))
def test_no_header_map_is_more_than_a_declared_error(header: dict[str, object]) -> None:
    assert check_read(parts.sealed(parts.packed(header))).endswith("Error")


def test_seeded_damage_finds_nothing_but_declared_errors() -> None:
    corpus = seeds()
    outcomes: Counter[str] = Counter()
    for number in range(examples(20_000)):
        data = case(SEED, number, corpus)
        outcomes.update((check_read(data), check_preview(data)))
    # The damage must reach every depth of the reader, or this test says little.
    assert {"read", "decoded", "decode PlaneError", "MalformedContainerError", "PlaneError"} <= set(outcomes)


def test_a_step_is_the_same_every_time() -> None:
    corpus = seeds()
    assert [case(1, number, corpus) for number in range(30)] == [
        case(1, number, corpus) for number in range(30)
    ]
