"""AVIF: what real files hold is read, and no box makes a decoder work beyond the size that it declares."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from bbmr_shared.errors import PlaneError
from bbmr_shared.images.avif import _check_boxes, probe_avif
from bbmr_shared.limits import AVIF_MAX_FRAMES, AVIF_MAX_ITEMS
from tests.fuzz.bombs import avif_of_one_payload, avif_with_items, avif_with_size
from tests.shared import parts

AV1_FRAME, AV1_PADDING = 6, 15


def _avif(width: int = 64, height: int = 48, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    picture = Image.fromarray(parts.picture(width, height)).convert(mode)
    picture.save(out, "AVIF", **{"quality": 60, "speed": 10, **options})
    return out.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (1, 130), (64, 48), (65, 47), (255, 257)])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:0:0"])
def test_every_size_and_subsampling_is_read(size: tuple[int, int], subsampling: str) -> None:
    facts = probe_avif(_avif(*size, subsampling=subsampling))
    assert (facts.width, facts.height, facts.frames) == (*size, 1)


@pytest.mark.parametrize(
    "options",
    [
        {"icc_profile": b"\0" * 400},
        {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"},
        {"xmp": b"<x/>"},
        {"quality": 100},
        {"speed": 0},
        {"tile_rows": 1, "tile_cols": 1},
        {"codec": "aom"},
    ],
)
def test_what_encoders_write_is_read(options: dict[str, object]) -> None:
    assert probe_avif(_avif(200, 130, **options)).width == 200


def test_alpha_is_said() -> None:
    picture = Image.fromarray(parts.picture(64, 48))
    picture.putalpha(90)
    out = io.BytesIO()
    picture.save(out, "AVIF", speed=10)
    assert probe_avif(out.getvalue()).mode == "RGBA"


def test_data_larger_than_its_boxes_is_refused() -> None:
    with pytest.raises(PlaneError, match="coded as 640×480 where 64×48 is declared"):
        probe_avif(avif_with_size(_avif(640, 480), 64, 48))


@pytest.mark.parametrize("padding", [0, 1000])
def test_data_that_many_pictures_share_is_walked_once(padding: int) -> None:
    whole = _avif(64, 48)
    payload = whole[whole.index(b"mdat") + 4 :] + bytes([AV1_PADDING << 3 | 2, 0]) * padding
    assert _check_boxes(avif_of_one_payload(payload, (64, 48), 1)) == (64, 48, 1)
    few = 2 if padding else 12
    with pytest.raises(PlaneError, match="its items overlap"):
        probe_avif(avif_of_one_payload(payload, (64, 48), few))


def test_the_obus_of_all_pictures_together_are_few() -> None:
    whole = _avif(64, 48)
    payload = whole[whole.index(b"mdat") + 4 :] + bytes([AV1_PADDING << 3 | 2, 0]) * 3000
    bomb = (
        avif_of_one_payload(payload, (64, 48), 2) + struct.pack(">I4s", 8 + len(payload), b"free") + payload
    )
    with pytest.raises(PlaneError, match="more than 4096 OBUs"):
        probe_avif(bomb)


def test_many_items_are_refused() -> None:
    with pytest.raises(PlaneError, match=f"more than {AVIF_MAX_ITEMS} items"):
        probe_avif(avif_with_items(_avif(), AVIF_MAX_ITEMS))


def test_many_frames_are_refused() -> None:
    data = _avif()
    # Empty frames (an OBU head with a length of nothing) behind the sequence header; the rest becomes padding.
    at = data.rindex(b"mdat") + 6  # 4, and the temporal delimiter
    at += 2 + data[at + 1]
    frames = bytes([AV1_FRAME << 3 | 2, 0]) * (AVIF_MAX_FRAMES + 1)
    left = len(data) - at - len(frames) - 3
    padding = bytes([AV1_PADDING << 3 | 2, left & 127 | 128, left >> 7])
    with pytest.raises(PlaneError, match=f"more than {AVIF_MAX_FRAMES} frames"):
        probe_avif(data[:at] + frames + padding + data[len(data) - left :])


def test_a_long_list_of_references_is_refused() -> None:
    data = _avif()
    at = data.index(b"meta") - 4
    (size,) = struct.unpack_from(">I", data, at)
    iref = struct.pack(">I4s", (1 << 17) + 8, b"iref") + bytes(1 << 17)
    with pytest.raises(PlaneError, match="bytes of references"):
        probe_avif(
            data[:at]
            + struct.pack(">I", size + len(iref))
            + data[at + 4 : at + size]
            + iref
            + data[at + size :]
        )


@pytest.mark.parametrize("step", [1, 7])
def test_every_truncation_is_refused(step: int) -> None:
    data = _avif(32, 32)
    for length in range(0, len(data), step):
        with pytest.raises(PlaneError):
            probe_avif(data[:length])
