"""AV1 planes: what AVIF decodes to, without its boxes; nothing else is read."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bbmr_shared.errors import PlaneError
from bbmr_shared.images import codecs
from bbmr_shared.images.av1_plane import boxed, probe_av1, subsampling_of, unboxed
from bbmr_shared.images.avif import only_picture
from bbmr_shared.images.info import ImageInfo
from tests.fuzz.bombs import avif_with_items
from tests.hypothesis_profiles import examples
from tests.reader import minimal
from tests.shared import parts

SIZES = ((1, 1), (2, 2), (16, 16), (127, 129), (5000, 17))
SIZE = (28, 16)


def encoded(
    width: int, height: int, codec: str = "av1", subsampling: str = "4:4:4", speed: int = 10
) -> bytes:
    """One plane; "4:0:0" is made of grey samples."""
    samples = parts.picture(width, height)
    grey = subsampling == "4:0:0"
    used, data = codecs.encode_plane(
        samples[..., 1] if grey else samples,
        codec,
        quality=60,
        speed=speed,
        subsampling="4:4:4" if grey else subsampling,
    )
    assert used == codec
    return data


GOOD = encoded(*SIZE)
SEQUENCE, FRAME = GOOD[: 2 + GOOD[1]], GOOD[2 + GOOD[1] :]


class TestRoundTrip:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:0:0"])
    @pytest.mark.parametrize("speed", [6, 8, 10])
    def test_it_decodes_to_what_the_avif_decodes_to(
        self, size: tuple[int, int], subsampling: str, speed: int
    ) -> None:
        bare, file = (encoded(*size, codec, subsampling, speed) for codec in ("av1", "avif"))
        assert len(file) - len(bare) > 260
        assert (codecs.decode(bare, "av1", size) == codecs.decode(file, "avif", size)).all()
        assert (codecs.decode_grey(bare, "av1", size) == codecs.decode_grey(file, "avif", size)).all()

    @pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0", "4:0:0"])
    def test_a_second_implementation_builds_the_same_picture(self, subsampling: str) -> None:
        data = encoded(127, 129, subsampling=subsampling)
        ours, theirs = (only_picture(build(data)) for build in (boxed, minimal.boxed))
        assert bytes(ours.payload) == bytes(theirs.payload) == data
        assert ours.properties == theirs.properties

    def test_it_is_what_its_headers_say(self) -> None:
        assert probe_av1(GOOD) == ImageInfo(*SIZE, "RGB")


@pytest.mark.parametrize("subsampling", codecs.SUBSAMPLINGS)
def test_its_chroma_format_is_read_from_its_header(subsampling: str) -> None:
    assert subsampling_of(encoded(16, 16, subsampling=subsampling)) == subsampling


def saved(**options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(parts.picture(*SIZE)).save(out, "AVIF", **{"quality": 60, "speed": 10} | options)
    return out.getvalue()


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


class TestWriting:
    @pytest.mark.parametrize("options", [{}, {"range": "limited"}, {"tile_rows": 1}, {"quality": 100}])
    def test_what_the_boxes_repeat_is_left_out(self, options: dict[str, object]) -> None:
        file = saved(**options)
        bare = unboxed(file)
        assert bare is not None
        assert codecs.decode(bare, "av1", SIZE).tobytes() == codecs.decode(file, "avif", SIZE).tobytes()

    @pytest.mark.parametrize(
        "make",
        [
            lambda: saved(icc_profile=b"p" * 128),
            lambda: saved(exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"),
            lambda: replaced(saved(), b"nclx\0\1\0\x0d\0\6", b"nclx\0\1\0\x0d\0\1"),
            lambda: replaced(saved(), b"pixi\0\0\0\0\3\x08\x08\x08", b"pixi\0\0\0\0\3\x08\x08\x0a"),
            lambda: replaced(saved(), struct.pack(">II", *SIZE), struct.pack(">II", 56, 32)),
            lambda: avif_with_items(saved(), 1),
            lambda: saved()[:-1],
            lambda: b"",
            lambda: saved() + b"\0\0\0\x0cfree1234",
            lambda: saved(save_all=True, append_images=[Image.new("RGB", SIZE)]),
        ],
        ids=["profile", "exif", "matrix", "depth", "scaled", "items", "cut", "empty", "free", "animated"],
    )
    def test_boxes_that_say_more_are_kept(self, make: Callable[[], bytes]) -> None:
        assert unboxed(make()) is None

    def test_a_plane_that_needs_its_boxes_is_written_as_avif(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(codecs, "unboxed", lambda _: None)
        used, data = codecs.encode_plane(parts.picture(*SIZE), "av1", quality=60)
        assert used == "avif"
        assert codecs.decode(data, used, SIZE).shape == (16, 28, 3)


def with_bit(at: int) -> bytes:
    """The plane with one bit of its sequence header turned."""
    changed = bytearray(GOOD)
    changed[2 + at // 8] ^= 128 >> at % 8
    return bytes(changed)


class TestReading:
    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b"", "not a sequence header and one frame"),
            (SEQUENCE, "not a sequence header and one frame"),
            (FRAME, "not a sequence header and one frame"),
            (FRAME + SEQUENCE, "not a sequence header and one frame"),
            (GOOD + FRAME, "not a sequence header and one frame"),
            (GOOD + b"\x12\0", "not a sequence header and one frame"),
            (b"\x12\0" + GOOD, "not a sequence header and one frame"),
            (SEQUENCE + b"\x30" + FRAME[2:], "not a sequence header and one frame"),
            (SEQUENCE + b"\x1a" + FRAME[1:], "not a sequence header and one frame"),
            (SEQUENCE + b"\x36\0" + FRAME[1:], "not a sequence header and one frame"),
            (b"\x0b" + GOOD[1:], "not a sequence header and one frame"),
            (GOOD + b"\0", "not a sequence header and one frame"),
            (GOOD[:-1], "ends early"),
            (SEQUENCE + b"\x32", "ends early"),
            (b"\x0a\0" + FRAME, "ends early"),
            (b"\x0a\4" + SEQUENCE[2:6] + FRAME, "ends early"),
            (b"\x0a" + b"\xff" * 20, "a length has no end"),
            (b"\x0a\x0d" + SEQUENCE[2:].ljust(13, b"\0") + FRAME, "more than 12 bytes"),
            (with_bit(0), "no header of a still picture"),
            (with_bit(3), "no header of a still picture"),
            (with_bit(4), "no header of a still picture"),
            (with_bit(33), "more than 8 bits"),
        ],
    )
    def test_anything_but_one_still_picture_is_refused(self, data: bytes, why: str) -> None:
        with pytest.raises(PlaneError, match=why):
            probe_av1(data)

    def test_its_size_is_the_declared_one(self) -> None:
        for size in ((27, 16), (28, 17), (16, 28), (1, 1), (32_768, 32_768)):
            with pytest.raises(PlaneError, match="28×16 where"):
                codecs.decode(GOOD, "av1", size)

    def test_its_sides_have_no_more_bits_than_they_need(self) -> None:
        bits = f"{int.from_bytes(SEQUENCE[2:], 'big'):0{8 * SEQUENCE[1]}b}"
        for wide in (5, 6, 16):
            header = bits[:10] + f"{wide - 1:04b}" + bits[14:18] + f"{SIZE[0] - 1:0{wide}b}" + bits[23:]
            header = header.ljust(96, "0")
            data = b"\x0a\x0c" + int(header, 2).to_bytes(12, "big") + FRAME
            if wide == 5:
                assert (
                    codecs.decode(data, "av1", SIZE).tobytes() == codecs.decode(GOOD, "av1", SIZE).tobytes()
                )
                continue
            with pytest.raises(PlaneError, match="leaves room"):
                probe_av1(data)

    def test_an_avif_file_is_no_av1_plane_and_the_other_way_round(self) -> None:
        with pytest.raises(PlaneError, match="not a sequence header and one frame"):
            probe_av1(boxed(GOOD))
        with pytest.raises(PlaneError):
            codecs.probe(GOOD, "avif")

    def test_every_truncation_is_refused(self) -> None:
        for length in range(len(GOOD)):
            with pytest.raises(PlaneError):
                probe_av1(GOOD[:length])

    @settings(max_examples=examples(300), deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(0, 40) | st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=5
        ),
        st.binary(max_size=4),
        st.integers(0, 8),
    )
    def test_damage_is_a_plane_error_or_a_picture_of_its_size(
        self, changes: list[tuple[int, int]], added: bytes, removed: int
    ) -> None:
        damaged = bytearray(GOOD)
        for at, value in changes:
            damaged[at] = value
        data = bytes(damaged[: len(damaged) - removed]) + added
        with suppress(PlaneError):
            assert codecs.decode(data, "av1", SIZE).shape == (16, 28, 3)

    @settings(max_examples=examples(300), deadline=None)
    @given(st.binary(max_size=12), st.sampled_from([b"", FRAME]))
    def test_any_sequence_header_is_refused_or_read(self, header: bytes, frame: bytes) -> None:
        data = bytes([0x0A, len(header)]) + header + frame
        try:
            info = probe_av1(data)
        except PlaneError:
            return
        assert max(info.size) <= 1 << 16
        with suppress(PlaneError):
            codecs.decode_grey(data, "av1", SIZE)
