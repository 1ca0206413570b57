"""Promises of the container: what is written is read, damage is found, and claims are never believed."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import msgpack
import numpy as np
import pytest

from bbmr_shared import AlphaPlane, Container, Limits, Plane
from bbmr_shared.container.frame import SIGNATURE, digest, write_frame
from bbmr_shared.errors import (
    BbmrError,
    ContainerError,
    DigestMismatchError,
    LimitExceededError,
    MalformedContainerError,
    NotAContainerError,
    PlaneError,
    TruncatedContainerError,
    UnsupportedContainerError,
)
from bbmr_shared.grid import BlockGrid
from tests.shared import parts

Fields = dict[str, Any]


@pytest.fixture(scope="module")
def good() -> bytes:
    return parts.container(100, 60, rates=[2, 4, 16], codec="png", alpha=True, icc=b"profile").to_bytes()


class TestRoundTrip:
    @pytest.mark.parametrize(("width", "height"), [(1, 1), (127, 129), (128, 128), (16, 400), (333, 17)])
    def test_every_size(self, width: int, height: int) -> None:
        made = parts.container(width, height, block=64)
        read = Container.from_bytes(made.to_bytes())
        assert (read.width, read.height) == (width, height)
        assert (read.rate_map == made.rate_map).all()
        planes = read.decode_planes()
        expected = parts.plane_samples(parts.picture(width, height), made.rate_map, made.grid)
        assert planes.keys() == expected.keys()
        assert all((planes[rate] == expected[rate]).all() for rate in planes)

    def test_every_field(self) -> None:
        made = parts.container(
            alpha=True,
            icc=b"i",
            exif=b"e",
            xmp=b"x",
            downscaler="learned",
            downscaler_version=7,
            model=None,
            strength=1,
            strength_map=np.full((4, 5), 2, np.uint8),
            extra={"later": {"a": [1, 2.5, b"\0", None, True]}},
        )
        read = Container.from_bytes(made.to_bytes())
        assert read == made
        assert (read.icc, read.exif, read.xmp, read.model) == (b"i", b"e", b"x", None)
        assert (read.downscaler, read.downscaler_version, read.strength) == ("learned", 7, 1)
        assert read.extra == made.extra
        assert read.strength_map is not None
        assert (read.strength_map == 2).all()
        alpha = read.decode_alpha()
        assert alpha is not None
        assert (alpha == parts.picture(150, 100, 2)[..., 0]).all()

    @pytest.mark.parametrize("alpha", [False, True])
    def test_bytes_are_deterministic(self, alpha: bool) -> None:
        made = parts.container(alpha=alpha)
        data = made.to_bytes()
        assert made.to_bytes() == data
        assert Container.from_bytes(data).to_bytes() == data

    def test_unknown_optional_fields_survive_wherever_the_rule_holds(self) -> None:
        fields, pictures = parts.fields_of(parts.container(alpha=True).to_bytes())
        fields["planes"][1]["tiles"] = [3, 4]
        fields["alpha"]["premultiplied"] = False
        fields["camera"] = {"lens": "50 mm"}
        data = write_frame(fields, pictures)
        read = Container.from_bytes(data)
        again, _ = parts.fields_of(read.to_bytes())
        assert again == fields
        assert Container.from_bytes(read.to_bytes()).to_bytes() == read.to_bytes()

    def test_fields_may_come_in_any_order(self) -> None:
        fields, pictures = parts.fields_of(parts.container().to_bytes())
        shuffled = dict(reversed(fields.items()))
        assert Container.from_bytes(write_frame(shuffled, pictures)) == parts.container()

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_buffer_is_read(self, kind: Callable[[bytes], Any], good: bytes) -> None:
        assert Container.from_bytes(kind(good)).to_bytes() == good

    def test_samples_and_coding_errors(self) -> None:
        made = parts.container(64, 32, block=32, rates=[1, 4])
        assert made.samples == 32 * 32 + 8 * 8
        assert made.coding_errors == {4: 0, 1: 0}

    def test_strengths_are_the_map_or_one_value(self) -> None:
        assert (parts.container(strength=1).strengths == np.ones((4, 5))).all()
        one = parts.container(64, 32, block=32, rates=[1], strength_map=np.array([[0, 2]], np.uint8))
        assert one.strengths.tolist() == [[0, 2]]


class TestParts:
    def test_a_container_and_its_maps_do_not_change(self) -> None:
        rates = np.full((1, 1), 1, np.uint8)
        base = parts.container(64, 64, block=64, rates=[1])
        made = replace(base, rate_map=rates)
        rates[0, 0] = 16
        assert made.rate_map[0, 0] == 1
        with pytest.raises(ValueError, match="read-only"):
            made.rate_map[0, 0] = 2
        with pytest.raises(FrozenInstanceError):
            made.width = 3  # type: ignore[misc]

    @pytest.mark.parametrize(
        ("changes", "what"),
        [
            ({"width": 0}, "at least 1×1"),
            ({"block": 24}, "multiple of 16"),
            ({"rate_map": np.full((1, 1), 2, np.uint8)}, "rate map is uint8"),
            ({"rate_map": np.full((4, 5), 3, np.uint8)}, "not 3"),
            ({"rate_map": np.full((4, 5), 2, np.int64)}, "rate map is uint8"),
            ({"planes": ()}, "the planes have the rates"),
            ({"strength": 3}, "halves"),
            ({"strength_map": np.full((4, 5), 3, np.uint8)}, "halves"),
            ({"downscaler": "bi cubic"}, "not a name"),
            ({"model": "a\x1b[2J"}, "not a name"),
            ({"model": ""}, "not a name"),
            ({"alpha": AlphaPlane("p/ng", b"x")}, "not a name"),
            ({"downscaler_version": -1}, "32 bits"),
            ({"downscaler_version": 1 << 32}, "32 bits"),
            ({"extra": {"width": 3}}, "extra field"),
            ({"extra": {"!critical": 3}}, "extra field"),
            ({"extra": {"later": object()}}, "value of the type"),
            ({"extra": {"later": 1 << 64}}, "64 bits"),
        ],
    )
    def test_parts_that_do_not_fit_are_refused(self, changes: Fields, what: str) -> None:
        with pytest.raises(MalformedContainerError, match=what):
            replace(parts.container(), **changes)

    def test_a_plane_s_parts_are_checked_too(self) -> None:
        made = parts.container(32, 32, block=32, rates=[2])
        for bad in (
            Plane(2, "png", b"", 256),
            Plane(4, "png", b""),
            Plane(2, "p/ng", b""),
            Plane(2, "png", b"", 0, {"rate": 1}),
        ):
            with pytest.raises(MalformedContainerError):
                replace(made, planes=(bad,))


class TestDamage:
    def test_truncation_at_every_byte_is_a_clean_error(self, good: bytes) -> None:
        for end in range(len(good)):
            with pytest.raises(ContainerError) as caught:
                Container.from_bytes(good[:end])
            kind = NotAContainerError if end == 0 else TruncatedContainerError
            assert type(caught.value) is kind, end

    def test_truncation_under_a_right_digest_is_a_clean_error(self, good: bytes) -> None:
        body = good[:-16]
        for end in range(len(SIGNATURE), len(body)):
            cut = body[:end]
            with pytest.raises(ContainerError):
                Container.from_bytes(cut + digest(cut))

    @pytest.mark.parametrize("mask", [0x01, 0x02, 0x41, 0x80])
    def test_every_flipped_byte_is_found_as_damage(self, good: bytes, mask: int) -> None:
        """Never as another version, a limit or an unknown codec, whatever the changed bytes now say."""
        for at in range(len(good)):
            flipped = bytearray(good)
            flipped[at] ^= mask
            damage = (DigestMismatchError, TruncatedContainerError)
            with pytest.raises(NotAContainerError if at < len(SIGNATURE) else damage):
                Container.from_bytes(flipped)

    def test_a_changed_version_byte_is_damage_unless_the_digest_agrees(self, good: bytes) -> None:
        at = good.index(b"\xa7version\x01") + 8
        later = bytearray(good)
        later[at] = 2
        with pytest.raises(DigestMismatchError):
            Container.from_bytes(later)
        body = bytes(later[:-16])
        with pytest.raises(UnsupportedContainerError, match="version 2"):
            Container.from_bytes(body + digest(body))

    def test_bytes_after_the_end_are_found(self, good: bytes) -> None:
        with pytest.raises(DigestMismatchError):
            Container.from_bytes(good + b"\0")

    def test_without_verification_structure_still_counts(self, good: bytes) -> None:
        fields, pictures = parts.fields_of(good)
        entries = [{**entry, "digest": bytes(16)} for entry in fields["planes"]]
        data = write_frame({**fields, "planes": entries}, pictures)[:-16] + bytes(16)
        assert Container.from_bytes(data, verify=False).icc == b"profile"
        with pytest.raises(DigestMismatchError):
            Container.from_bytes(data)
        with pytest.raises(MalformedContainerError, match="follow the last plane"):
            Container.from_bytes(data + b"\0", verify=False)
        with pytest.raises(ContainerError):
            Container.from_bytes(data[:-1], verify=False)


class TestClaims:
    @pytest.mark.parametrize(
        "body",
        [
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
            b"\xdb\xff\xff\xff\xff",
            b"\xc9\xff\xff\xff\xff\x01",
            b"\x81\xa3icc\xc6\xff\xff\xff\xff",
            b"\x81\xa1a" + b"\x91" * 100_000,
            b"\x81\xa1a" + b"\xdc\x0f\xff" + b"\x90" * 4095,
        ],
        ids=["array", "map", "bin", "str", "ext", "icc", "nested", "many"],
    )
    def test_a_header_that_claims_gigabytes_costs_nothing(self, body: bytes) -> None:
        for data in (SIGNATURE + body, parts.sealed(body)):
            tracemalloc.start()
            started = time.process_time()
            with pytest.raises(ContainerError):
                Container.from_bytes(data)
            seconds = time.process_time() - started
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert seconds < 1
            assert peak < 24 << 20

    @pytest.mark.parametrize(
        ("limits", "what"),
        [
            (Limits(max_container_bytes=1000), "the container is"),
            (Limits(max_pixels=5999), "at most 5999 pixels"),
            (Limits(max_side=99), "at most 99 pixels"),
            (Limits(max_plane_bytes=100), "a plane is"),
            (Limits(max_icc_bytes=6), "the ICC profile is 7 bytes"),
            (Limits(max_header_bytes=100), "header is longer than 100"),
        ],
    )
    def test_limits_hold_before_anything_is_decoded(
        self, limits: Limits, what: str, good: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bbmr_shared.images.codecs.probe", lambda *_: pytest.fail("a plane was opened"))
        with pytest.raises(LimitExceededError, match=what):
            Container.from_bytes(good, limits)

    def test_reading_decodes_nothing(self, good: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("a plane was decoded"))
        assert Container.from_bytes(good).to_bytes() == good

    def test_too_many_unknown_fields(self, good: bytes) -> None:
        fields, pictures = parts.fields_of(good)
        extra = {f"x{i}": i for i in range(65)}
        with pytest.raises(LimitExceededError, match="64 unknown fields"):
            Container.from_bytes(write_frame({**fields, **extra}, pictures))


class TestHeader:
    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            ({"version": 2}, UnsupportedContainerError),
            ({"version": "1"}, MalformedContainerError),
            ({"version": True}, MalformedContainerError),
            ({"version": 1.0}, MalformedContainerError),
            ({"!new": 0}, UnsupportedContainerError),
            ({"width": 100.0}, MalformedContainerError),
            ({"width": float("nan")}, MalformedContainerError),
            ({"width": True}, MalformedContainerError),
            ({"width": "100"}, MalformedContainerError),
            ({"width": -1}, MalformedContainerError),
            ({"width": 1 << 63}, LimitExceededError),
            ({"width": 101}, PlaneError),
            ({"width": 200}, PlaneError),
            ({"block": 16}, MalformedContainerError),
            ({"strength": -1}, MalformedContainerError),
            ({"strength": None}, MalformedContainerError),
            ({"downscaler": b"bicubic"}, MalformedContainerError),
            ({"downscaler": "bicubic\n"}, MalformedContainerError),
            ({"model": "../../etc/passwd"}, MalformedContainerError),
            ({"icc": "text"}, MalformedContainerError),
            ({"planes": []}, MalformedContainerError),
            ({"planes": {}}, MalformedContainerError),
            ({"rates": [16, 4]}, MalformedContainerError),
            ({"rates": [16, 4, 2, 2]}, MalformedContainerError),
            ({"map": {"coding": "raw"}}, MalformedContainerError),
            ({"map": {"coding": "raw", "data": b""}}, MalformedContainerError),
            ({"map": {"coding": "lzma", "data": b""}}, UnsupportedContainerError),
            ({"map": {"coding": "raw", "data": bytes(7), "x": 1}}, MalformedContainerError),
            ({"strength_map": {"coding": "raw", "data": b"\xf0" * 3}}, MalformedContainerError),
            ({"alpha": 3}, MalformedContainerError),
        ],
    )
    def test_a_field_that_is_wrong(self, change: Fields, kind: type[BbmrError], good: bytes) -> None:
        fields, pictures = parts.fields_of(good)
        with pytest.raises(BbmrError) as caught:
            Container.from_bytes(write_frame({**fields, **change}, pictures))
        assert type(caught.value) is kind
        assert "\n" not in str(caught.value)
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize(
        "name",
        ["version", "width", "height", "block", "rates", "map", "planes", "strength", "downscaler"],
    )
    def test_a_field_that_is_missing_is_named(self, name: str, good: bytes) -> None:
        fields, pictures = parts.fields_of(good)
        del fields[name]
        with pytest.raises(MalformedContainerError, match=name):
            Container.from_bytes(write_frame(fields, pictures))

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            ({"rate": 3}, MalformedContainerError),
            ({"rate": 32}, MalformedContainerError),
            ({"error": 256}, MalformedContainerError),
            ({"error": 0.5}, MalformedContainerError),
            ({"digest": bytes(15)}, MalformedContainerError),
            ({"digest": bytes(16)}, DigestMismatchError),
            ({"bytes": 0}, MalformedContainerError),
            ({"bytes": 1 << 40}, LimitExceededError),
            ({"bytes": 1 << 20}, TruncatedContainerError),
            ({"codec": "jxl"}, UnsupportedContainerError),
            ({"codec": "gif"}, UnsupportedContainerError),
            ({"codec": "webp"}, PlaneError),
            ({"!key": b""}, UnsupportedContainerError),
        ],
    )
    def test_a_plane_s_entry_that_is_wrong(self, change: Fields, kind: type[BbmrError], good: bytes) -> None:
        fields, pictures = parts.fields_of(good)
        entries = [{**fields["planes"][0], **change}, *fields["planes"][1:]]
        with pytest.raises(BbmrError) as caught:
            Container.from_bytes(write_frame({**fields, "planes": entries}, pictures))
        assert type(caught.value) is kind

    @pytest.mark.parametrize(
        "header",
        [
            [1, 2],
            {1: 2},
            {b"version": 1},
            {"version": 1, "a": msgpack.ExtType(5, b"x")},
            {"version": 1, "a": msgpack.Timestamp(1)},
            {"version": 1, "a": {"b": {3: 4}}},
            None,
        ],
    )
    def test_a_header_that_is_no_plain_map(self, header: object) -> None:
        with pytest.raises(MalformedContainerError):
            Container.from_bytes(parts.sealed(parts.packed(header)))

    def test_a_key_that_comes_twice(self, good: bytes) -> None:
        with pytest.raises(MalformedContainerError, match="'a' comes twice"):
            Container.from_bytes(parts.sealed(b"\x82\xa1a\x01\xa1a\x02"))

    def test_strings_are_utf_8(self) -> None:
        with pytest.raises(MalformedContainerError):
            Container.from_bytes(parts.sealed(b"\x81\xa1\xff\x01"))

    def test_the_alpha_channel_has_the_size_of_the_picture(self) -> None:
        made = parts.container(100, 60, alpha=True)
        other = parts.container(112, 64, alpha=True)
        with pytest.raises(PlaneError, match="112×64 where 100×60"):
            Container.from_bytes(replace(made, alpha=other.alpha).to_bytes())

    def test_a_plane_less_and_a_plane_more_than_the_map_uses(self) -> None:
        fields, pictures = parts.fields_of(parts.container(rates=[2, 4]).to_bytes())
        with pytest.raises(MalformedContainerError, match="the rate map uses"):
            Container.from_bytes(
                write_frame({**fields, "rates": [4], "planes": fields["planes"][:1]}, pictures[:1])
            )
        more, others = parts.fields_of(parts.container(rates=[2, 4, 16]).to_bytes())
        with pytest.raises(MalformedContainerError, match="the rate map uses"):
            Container.from_bytes(write_frame({**more, "map": fields["map"]}, others))


def test_bins_have_the_shortest_head() -> None:
    fields, pictures = parts.fields_of(parts.container(16, 16, block=16, rates=[16]).to_bytes())
    assert len(pictures[0]) < 256
    body = SIGNATURE + parts.packed(fields)
    long_head = b"\xc5" + len(pictures[0]).to_bytes(2, "big")
    data = body + long_head + pictures[0]
    with pytest.raises(MalformedContainerError, match="msgpack bin"):
        Container.from_bytes(data + digest(data))


def test_the_grid_of_a_container() -> None:
    assert parts.container(100, 60, block=32).grid == BlockGrid(100, 60, 32)
