"""Checks an AVIF plane box by box before libavif sees it (ISO/IEC 14496-12 and 23008-12, AVIF specification 1.1).

libavif searches its list of items once for every item (60,000 of them take seconds), decodes whatever size the AV1
data has and scales it to the size that the boxes declare, and decodes every frame of an item to show one.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import AvifImagePlugin

from bbmr_shared.errors import PlaneError, one_line
from bbmr_shared.limits import AVIF_MAX_BOXES, AVIF_MAX_ITEMS, AVIF_MAX_REFERENCES, AVIF_SPARE_SAMPLES

from .av1 import DAMAGED, check_av1
from .boxes import boxes
from .info import ImageInfo, Size

CODED = b"av01"
BARE = ({b"ftyp", b"meta", b"mdat"}, {b"hdlr", b"pitm", b"iloc", b"iinf", b"iprp"})
"""The boxes of a file that holds one picture and nothing else, and those in its "meta"."""


@dataclass(frozen=True)
class OnlyPicture:
    """The AV1 data of a picture, and kind and content of its properties in alphabetical order."""

    payload: memoryview
    properties: list[tuple[bytes, bytes]]


@dataclass
class _Meta:
    """What the boxes in "meta" say: which items there are, where they lie and how large they are."""

    primary: int = -1
    kinds: dict[int, bytes] = field(default_factory=dict)
    extents: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    """Item → (construction method, offset, length) of its pieces; length 0: to the end."""
    sizes: list[Size | None] = field(default_factory=list)
    """The size that each property declares, or None for one of another kind."""
    properties: dict[int, list[int]] = field(default_factory=dict)
    boxes: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Kind and content of each property."""
    parts: set[bytes] = field(default_factory=set)
    data: memoryview = field(default_factory=lambda: memoryview(b""))

    def size(self, item: int) -> Size:
        """Returns the size that the boxes declare for an item."""
        indexes = (at for at in self.properties.get(item, ()) if 0 < at <= len(self.sizes))
        sizes = [size for at in indexes if (size := self.sizes[at - 1]) is not None]
        if len(sizes) != 1:
            raise PlaneError(f"{DAMAGED} (a picture in it has no size of its own)")
        return sizes[0]


def probe_avif(data: bytes) -> ImageInfo:
    """Returns what an AVIF plane declares.

    Raises `PlaneError` unless libavif can parse it, its boxes are few, every coded picture in it has few frames of at
    most the size that its box declares, and all of them together are little more than four times the picture.
    """
    try:
        width, height, frames = _check_boxes(data)
    except IndexError:
        raise PlaneError(f"{DAMAGED} (a box ends early)") from None
    if frames != 1:
        return ImageInfo(width, height, "RGB", frames)
    try:
        image = AvifImagePlugin.AvifImageFile(io.BytesIO(data))
        return ImageInfo(image.width, image.height, image.mode, int(getattr(image, "n_frames", 1)))
    except Exception as error:
        raise PlaneError(f"an avif plane cannot be read ({one_line(error)})") from None


def only_picture(data: bytes) -> OnlyPicture:
    """Returns the picture of an AVIF file.

    Raises:
        PlaneError: the file is damaged, or holds anything beside one coded picture.
    """
    view = memoryview(data)
    try:
        outer = list(_boxes(view))
        meta = _meta(next((box for kind, box in outer if kind == b"meta"), memoryview(b"")))
        payload = _payload(view, meta, meta.primary, len(view))
        properties = sorted(meta.boxes[at - 1] for at in meta.properties.get(meta.primary, ()) if at)
    except IndexError:
        raise PlaneError(f"{DAMAGED} (a box ends early)") from None
    if ({kind for kind, _ in outer}, meta.parts) != BARE or meta.kinds != {meta.primary: CODED}:
        raise PlaneError("an avif plane holds more than one picture")
    return OnlyPicture(payload, properties)


def _check_boxes(data: bytes) -> tuple[int, int, int]:
    """Width, height and frames; raises `IndexError` where a box or an OBU ends early."""
    view = memoryview(data)
    outer = list(_boxes(view))
    kinds = [kind for kind, _ in outer]
    if not outer or kinds[0] != b"ftyp":
        raise PlaneError("an avif plane does not start as AVIF does")
    if kinds.count(b"meta") != 1:
        raise PlaneError(f"{DAMAGED} (it holds no picture, or more than one)")
    meta = _meta(outer[kinds.index(b"meta")][1])
    width, height = meta.size(meta.primary)
    if b"moov" in kinds:
        return width, height, 2
    spare = 4 * width * height + AVIF_SPARE_SAMPLES
    # Items may share bytes: so what is walked is limited for all of them together.
    left, obus = len(view), AVIF_MAX_BOXES
    for item, kind in meta.kinds.items():
        if kind == CODED:
            size = meta.size(item)
            spare -= size[0] * size[1]
            if spare < 0:
                raise PlaneError("an avif plane holds more coded pictures than its size needs")
            payload = _payload(view, meta, item, left)
            left -= len(payload)
            obus -= check_av1(payload, size, obus)
    return width, height, 1


def _boxes(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of the boxes that fill `view`; raises `IndexError` where the header of one is cut off."""
    end = 0
    for count, box in enumerate(boxes(view)):
        if count == AVIF_MAX_BOXES:
            raise PlaneError(f"an avif plane has more than {AVIF_MAX_BOXES} boxes in one place")
        if not box.start <= box.end <= len(view):
            raise PlaneError(f"{DAMAGED} (a box is longer than what holds it)")
        yield box.kind, view[box.start : box.end]
        end = box.end
    if end != len(view):
        raise IndexError("a box ends early")


def _meta(body: memoryview) -> _Meta:
    meta = _Meta()
    for kind, box in _boxes(body[4:]):
        if kind in meta.parts:
            raise PlaneError(f"{DAMAGED} (a box comes twice)")
        meta.parts.add(kind)
        if kind == b"pitm":
            meta.primary = _number(box, 4, 4 if box[0] else 2)
        elif kind == b"iinf":
            _items(box, meta)
        elif kind == b"iloc":
            _locations(box, meta)
        elif kind == b"iprp":
            _properties(box, meta)
        elif kind == b"iref" and len(box) > AVIF_MAX_REFERENCES:
            raise PlaneError(f"an avif plane has more than {AVIF_MAX_REFERENCES} bytes of references")
        elif kind == b"idat":
            meta.data = box
    _few(len(meta.kinds))
    return meta


def _items(box: memoryview, meta: _Meta) -> None:
    wide = 4 if box[0] else 2
    _few(_number(box, 4, wide))
    for _, entry in _boxes(box[4 + wide :]):
        size = 4 if entry[0] > 2 else 2
        item = _number(entry, 4, size)
        if item in meta.kinds:
            raise PlaneError(f"{DAMAGED} (an item comes twice)")
        meta.kinds[item] = bytes(entry[6 + size : 10 + size])


def _locations(box: memoryview, meta: _Meta) -> None:
    version = box[0]
    offset_size, length_size = box[4] >> 4, box[4] & 15
    base_size, index_size = box[5] >> 4, box[5] & 15 if version else 0
    wide = 4 if version == 2 else 2
    count, at = _number(box, 6, wide), 6 + wide
    for _ in range(_few(count)):
        item, at = _number(box, at, wide), at + wide
        method = 0
        if version:
            method, at = _number(box, at, 2) & 15, at + 2
        base, at = _number(box, at + 2, base_size), at + 2 + base_size
        pieces, at = _number(box, at, 2), at + 2
        extents = []
        for _ in range(_few(pieces)):
            at += index_size
            offset, at = _number(box, at, offset_size), at + offset_size
            length, at = _number(box, at, length_size), at + length_size
            extents.append((method, base + offset, length))
        if item in meta.extents:
            raise PlaneError(f"{DAMAGED} (an item lies in two places)")
        meta.extents[item] = extents


def _properties(body: memoryview, meta: _Meta) -> None:
    inner = list(_boxes(body))
    if not inner or inner[0][0] != b"ipco" or any(kind != b"ipma" for kind, _ in inner[1:]):
        raise PlaneError(f"{DAMAGED} (its properties are out of order)")
    for kind, box in _boxes(inner[0][1]):
        if kind == b"av1C" and box[2] & 0x60:  # high_bitdepth, twelve_bit
            raise PlaneError("an avif plane has more than 8 bits per sample")
        meta.boxes.append((kind, bytes(box)))
        meta.sizes.append((_number(box, 4, 4), _number(box, 8, 4)) if kind == b"ispe" else None)
    for _, box in inner[1:]:
        _associations(box, meta)


def _associations(box: memoryview, meta: _Meta) -> None:
    wide, long = 4 if box[0] else 2, box[3] & 1
    at = 8
    for _ in range(_few(_number(box, 4, 4))):
        item, at = _number(box, at, wide), at + wide
        count, at = box[at], at + 1
        if item in meta.properties:
            raise PlaneError(f"{DAMAGED} (an item has its properties twice)")
        step = 2 if long else 1
        mask = 0x7FFF if long else 0x7F
        meta.properties[item] = [_number(box, at + step * i, step) & mask for i in range(count)]
        at += step * count


def _payload(view: memoryview, meta: _Meta, item: int, most: int) -> memoryview:
    pieces = []
    for method, offset, length in meta.extents.get(item, []):
        if method > 1:
            raise PlaneError(f"{DAMAGED} (an item is made of others)")
        source = meta.data if method else view
        end = offset + length if length else len(source)
        if offset > len(source) or end > len(source):
            raise PlaneError("an avif plane is truncated")
        pieces.append(source[offset:end])
    if sum(map(len, pieces)) > most:
        raise PlaneError(f"{DAMAGED} (its items overlap)")
    return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))


def _number(data: memoryview, at: int, size: int) -> int:
    if at + size > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + size], "big")


def _few(count: int) -> int:
    if count > AVIF_MAX_ITEMS:
        raise PlaneError(f"an avif plane has more than {AVIF_MAX_ITEMS} items")
    return count
