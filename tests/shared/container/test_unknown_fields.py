"""Forward compatibility: what a later writer adds is ignored, and kept as it was, wherever it stands."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbmr_shared import Container
from bbmr_shared.compositing.composite import preview
from bbmr_shared.container.frame import SIGNATURE, read_header, write_frame
from bbmr_shared.container.header import ALPHA_FIELDS, KNOWN_FIELDS, PLANE_FIELDS
from bbmr_shared.errors import UnsupportedContainerError
from tests.hypothesis_profiles import examples
from tests.shared import parts

Fields = dict[str, Any]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=40)
    | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=6,
).filter(lambda value: depth(value) <= 5)
GOOD = parts.container(40, 30, block=16, rates=[1, 4], alpha=True, codec="png").to_bytes()


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def unknown(known: frozenset[str]) -> st.SearchStrategy[Fields]:
    """Optional fields that nobody knows, at most six."""
    names = st.text(max_size=8).filter(lambda name: not name.startswith("!") and name not in known)
    return st.dictionaries(names, VALUES, max_size=6)


def header_bytes(data: bytes) -> bytes:
    """The header of a file as it lies there."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(data[len(SIGNATURE) :])
    unpacker.skip()
    return data[len(SIGNATURE) : len(SIGNATURE) + unpacker.tell()]


@settings(max_examples=examples(150), deadline=None)
@given(st.tuples(*map(unknown, (KNOWN_FIELDS, PLANE_FIELDS, PLANE_FIELDS, ALPHA_FIELDS))))
def test_a_file_comes_back_byte_for_byte(added: tuple[Fields, ...]) -> None:
    fields, pictures = parts.fields_of(GOOD)
    first, second = fields["planes"]
    fields["planes"] = [{**first, **added[1]}, {**second, **added[2]}]
    fields["alpha"] = {**fields["alpha"], **added[3]}
    data = write_frame({**fields, **added[0]}, pictures)
    read = Container.from_bytes(data)
    assert read.to_bytes() == data
    assert header_bytes(read.to_bytes()) == parts.packed({**fields, **added[0]})
    assert preview(read).tobytes() == preview(Container.from_bytes(GOOD)).tobytes()
    assert read_header(data).extra.keys() == added[0].keys()


@settings(max_examples=examples(60), deadline=None)
@given(unknown(KNOWN_FIELDS), st.randoms(use_true_random=False))
def test_fields_that_stood_between_known_ones_go_behind_them_in_their_order(
    added: Fields, order: Any
) -> None:
    fields, pictures = parts.fields_of(GOOD)
    mixed = list({**fields, **added}.items())
    order.shuffle(mixed)
    read = Container.from_bytes(write_frame(dict(mixed), pictures))
    kept = [(name, value) for name, value in mixed if name in added]
    assert parts.packed(list(read.extra.items())) == parts.packed(kept)
    assert header_bytes(read.to_bytes()) == parts.packed({**fields, **dict(kept)})


@pytest.mark.parametrize("name", ["!", "!x", "!original ", "!Original", "!!original"])
@pytest.mark.parametrize("place", ["header", "plane", "alpha"])
@pytest.mark.parametrize("value", [None, False, 1])
def test_a_critical_field_is_refused_wherever_it_stands(name: str, place: str, value: object) -> None:
    fields, pictures = parts.fields_of(GOOD)
    if place == "header":
        fields[name] = value
    elif place == "plane":
        fields["planes"] = [fields["planes"][0], {**fields["planes"][1], name: value}]
    else:
        fields["alpha"] = {**fields["alpha"], name: value}
    for read in (Container.from_bytes, read_header):
        with pytest.raises(UnsupportedContainerError, match="needs the feature"):
            read(write_frame(fields, pictures))  # type: ignore[operator]


@pytest.mark.parametrize("place", ["plane", "alpha"])
def test_what_is_critical_in_the_header_is_not_known_in_entries(place: str) -> None:
    fields, pictures = parts.fields_of(GOOD)
    if place == "plane":
        fields["planes"] = [fields["planes"][0], {**fields["planes"][1], "!original": True}]
    else:
        fields["alpha"] = {**fields["alpha"], "!original": True}
    with pytest.raises(UnsupportedContainerError, match="'original'"):
        Container.from_bytes(write_frame(fields, pictures))


def test_a_later_version_is_refused_before_its_fields_are_looked_at() -> None:
    for version in (0, 2, 1 << 40):
        with pytest.raises(UnsupportedContainerError, match=f"version {version};"):
            Container.from_bytes(
                parts.sealed(parts.packed({"version": version, "!all": "else", "width": None}))
            )
