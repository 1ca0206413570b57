"""Two readers, one specification: what `minimal.py` makes of a container is what `bbmr_shared` makes of it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bbmr_shared import Container
from bbmr_shared.compositing.composite import composite, preview
from bbmr_shared.container import AlphaPlane
from bbmr_shared.container.frame import write_frame
from bbmr_shared.errors import BbmrError, LimitExceededError, PlaneError
from bbmr_shared.images.codecs import encode_plane
from bbmr_shared.images.names import LOSSY_CODECS
from tests.fuzz import damage
from tests.hypothesis_profiles import examples
from tests.reader import minimal
from tests.shared import parts
from tests.vectors import make

INDEX: dict[str, Any] = json.loads(make.INDEX.read_text())
SOURCE = Path(minimal.__file__)
ANYTHING = r"."
"""Every refusal says something."""


def same(data: bytes) -> Container:
    """Both readers read it, to the same bits."""
    ours = Container.from_bytes(data)
    header, rates, base, alpha = minimal.read(data)
    assert (header["width"], header["height"], header["block"]) == (ours.width, ours.height, ours.block)
    assert (rates == ours.rate_map).all()
    assert (base == composite(ours.decode_planes(), ours.rate_map, ours.grid)).all()
    expected = ours.decode_alpha()
    assert (alpha is None) == (expected is None)
    assert alpha is None or (alpha == expected).all()
    image, shown = minimal.picture(header, rates, base, alpha), preview(ours)
    assert (image.mode, image.size, image.tobytes()) == (shown.mode, shown.size, shown.tobytes())
    for name in ("icc", "exif", "xmp", "model"):
        assert header.get(name) == getattr(ours, name)
    return ours


def agree(data: bytes) -> bool:
    """Whether both read it; they never disagree."""
    try:
        Container.from_bytes(data).decode_planes()
    except BbmrError:
        with pytest.raises(ValueError, match=ANYTHING):
            minimal.read(data)
        return False
    same(data)
    return True


def test_it_is_short_and_stands_alone() -> None:
    text = SOURCE.read_text()
    assert len(text.splitlines()) <= 190
    names = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name.split(".")[0] for name in names} - sys.stdlib_module_names == {"msgpack", "numpy", "PIL"}


@pytest.mark.parametrize("name", INDEX["valid"])
def test_every_vector_is_read_to_the_same_bits(name: str) -> None:
    same((make.FOLDER / "v1" / f"{name}.bbmr").read_bytes())


@pytest.mark.parametrize("name", INDEX["invalid"])
def test_every_broken_vector_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=ANYTHING):
        minimal.read((make.FOLDER / "invalid" / f"{name}.bbmr").read_bytes())


def test_it_is_a_program(tmp_path: Path) -> None:
    source = make.FOLDER / "v1" / "alpha-and-metadata.bbmr"
    command = [sys.executable, "-I", SOURCE, source, tmp_path / "out.png"]
    subprocess.run(command, check=True, timeout=60)
    expected = preview(Container.from_bytes(source.read_bytes()))
    assert Image.open(tmp_path / "out.png").tobytes() == expected.tobytes()
    broken = [*command[:3], make.FOLDER / "invalid" / "one-bit.bbmr", tmp_path / "none.png"]
    assert subprocess.run(broken, capture_output=True, timeout=60).returncode != 0
    assert not (tmp_path / "none.png").exists()


@st.composite
def containers(draw: st.DrawFn) -> Container:
    """Small containers of every kind."""
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    rates = draw(st.lists(st.sampled_from([1, 2, 4, 8, 16]), min_size=1, max_size=5, unique=True))
    codec = {rate: draw(st.sampled_from(["webp", "png", "avif", "av1"])) for rate in rates}
    made = parts.container(
        width,
        height,
        block=draw(st.sampled_from([16, 32, 48, 128, 1024])),
        rates=rates,
        codec=codec,
        seed=draw(st.integers(0, 9)),
        strength=draw(st.integers(0, 2)),
        channels=draw(st.sampled_from([1, 3])),
        dpi=draw(st.none() | st.tuples(*[st.floats(0.1, 1e6)] * 2)),
        exif=draw(st.none() | st.binary(max_size=30)),
        xmp=draw(st.none() | st.binary(max_size=30)),
    )
    if draw(st.booleans()):
        coded = draw(st.sampled_from(["webp", "png", "avif", "av1"]))
        grey = parts.picture(width, height, 3)[..., 0]
        alpha = AlphaPlane(*encode_plane(grey, coded, quality=50 if coded in LOSSY_CODECS else None))
        made = replace(made, alpha=alpha)
    if draw(st.booleans()):
        made = replace(made, strength_map=made.rate_map % 3)
    return made


SLOW = settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SLOW
@given(containers())
def test_any_container_is_read_to_the_same_bits(made: Container) -> None:
    assert same(made.to_bytes()) == made


GOOD = parts.container(50, 40, block=32, rates=[1, 4], codec="png", alpha=True, icc=b"i").to_bytes()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70_000) | st.floats() | st.text(max_size=4) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip
NAMES = st.sampled_from(
    [
        *("version", "width", "height", "block", "rates", "map", "planes", "strength", "downscaler", "alpha"),
        *(
            "downscaler_version",
            "strength_map",
            "model",
            "icc",
            "exif",
            "xmp",
            "channels",
            "dpi",
            "!original",
        ),
        *("later", "!later", "Width", ""),
    ]
)


@SLOW
@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=2))
def test_they_agree_on_every_header(changes: dict[str, Any]) -> None:
    fields, pictures = parts.fields_of(GOOD)
    agree(write_frame({**fields, **changes}, pictures))


@SLOW
@given(
    st.sampled_from(["rate", "codec", "bytes", "digest", "error", "later", "!later"]),
    VALUES,
    st.integers(0, 2),
)
def test_they_agree_on_every_entry(name: str, value: Any, which: int) -> None:
    fields, pictures = parts.fields_of(GOOD)
    entries = [*fields["planes"], fields["alpha"]]
    entries[which] = {**entries[which], name: value}
    agree(write_frame({**fields, "planes": entries[:2], "alpha": entries[2]}, pictures))


@SLOW
@given(st.binary(min_size=1, max_size=12), st.sampled_from(["raw", "zlib", "lzma"]))
def test_they_agree_on_every_map(data: bytes, coding: str) -> None:
    fields, pictures = parts.fields_of(GOOD)
    agree(write_frame({**fields, "map": {"coding": coding, "data": data}}, pictures))


def test_they_agree_on_damage_of_every_kind() -> None:
    """Where both read a file, they read the same; where ours refuses what is not inside a plane, the other does."""
    corpus = damage.seeds()
    found: Counter[str] = Counter()
    for number in range(12_000):
        data = damage.case(11, number, corpus)
        try:
            ours = Container.from_bytes(data)
            expected = composite(ours.decode_planes(), ours.rate_map, ours.grid)
        except (PlaneError, LimitExceededError):
            continue  # a machine's limits, and what libjpeg or libavif are spared
        except BbmrError:
            found["refused"] += 1
            with pytest.raises(ValueError, match=ANYTHING):
                minimal.read(data)
            continue
        try:
            base = minimal.read(data)[2]
        except ValueError:  # Pillow reads the metadata inside planes, too
            found["metadata"] += 1
        else:
            found["read"] += 1
            assert (base == expected).all()
    assert found["refused"] > 6_000
    assert found["read"] > 5
    assert found["metadata"] < 50


def test_fields_that_a_later_writer_adds() -> None:
    fields, pictures = parts.fields_of(GOOD)
    entry = {**fields["planes"][0], "tiles": [4, 4]}
    added = {"planes": [entry, fields["planes"][1]], "camera": {"lens": "50 mm"}, "Width": 3}
    assert agree(write_frame({**fields, **added}, pictures))
    assert not agree(write_frame({**fields, "!colour": "cmyk"}, pictures))
    assert not agree(
        write_frame({**fields, "planes": [{**entry, "!delta": 2}, fields["planes"][1]]}, pictures)
    )


def test_dictionary_order_does_not_matter() -> None:
    fields, pictures = parts.fields_of(GOOD)
    data = write_frame(dict(reversed(fields.items())), pictures)
    assert np.array_equal(minimal.read(data)[2], minimal.read(GOOD)[2])
    assert agree(data)
