"""Every limit of the project; all are checked before anything is decoded or allocated.

Names in capitals are limits of the formats and of this program. `Limits` are those that a caller may change:
`dataclasses.replace(DEFAULT_LIMITS, max_pixels=…)`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from .arguments import is_whole
from .errors import InvalidArgumentError, LimitExceededError

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

# The container

MIN_BLOCK, MAX_BLOCK = 16, 1024
"""Side of a block in pixels."""
MAX_NAME = 64
"""Characters of the name of a codec, a coding, a downscaler or weights."""
MAX_DPI = 1_000_000
"""Most pixels per inch that a header may name."""

# Picture formats, as planes, originals and answers

WEBP_MAX_SIDE = 16_383
"""The format has 14 bits."""
AVIF_MAX_SIDE = 32_768
"""libavif writes larger pictures, and then refuses to read them."""
JPEG_MAX_SIDE = 65_500
"""libjpeg's limit (JPEG_MAX_DIMENSION); the format itself would go to 65,535."""
PNG_MAX_SIDE = 2**31 - 1
"""The format's limit; `Limits.max_side` is far below."""
JPEG_MAX_METADATA = 65_500
"""Most bytes of EXIF or XMP in a JPEG, a little under the 65,533 of a segment."""
JPEG_MAX_DPI = 65_535
"""Most pixels per inch that a JPEG can name: 16 bits."""
JPEG_MAX_SCANS = 100
"""Scans of a progressive JPEG, each of which goes over the whole picture; encoders write about 10."""
AVIF_MAX_ITEMS = 1024
"""Items of an AVIF file, and pieces of one: libavif takes time by their square. A grid of tiles has a few hundred."""
AVIF_MAX_BOXES = 4096
"""Boxes in one place of an AVIF file, and OBUs of all its AV1 data."""
AVIF_MAX_REFERENCES = 64 * KIB
"""Bytes of the references between the items of an AVIF file."""
AVIF_MAX_FRAMES = 8
"""AV1 frames of one item, which are all decoded to show one: layers, normally one."""
AVIF_SPARE_SAMPLES = 1 << 20
"""Coded samples of all items beyond four times the picture: tiles at the borders, alpha, a small picture beside it."""
MAX_CHUNKS = 1 << 16
"""Chunks of a PNG or WebP, or segments of a JPEG."""
INFLATE_STEP = MIB
"""Bytes that are inflated at once while the samples of a PNG are counted."""

# The client

MAX_PROBLEM_BYTES = 64 * KIB
"""A problem document, or any other answer without the requested picture."""
SPOOLED_BYTES = 8 * MIB
"""Bytes of a stream that stay in memory; the rest goes to a temporary file, so that it can be sent again."""
MAX_CONFIG_BYTES = 64 * KIB
"""The settings file."""
MAX_TIMEOUT_S = 7 * 24 * 3600.0
"""A week: more than any picture takes, and less than the longest timeout of a socket."""
MAX_RETRIES = 100
"""Further tries of one request."""
MAX_SERVERS = 64
"""Servers of one client."""
MAX_CONNECTIONS = 100
"""Connections of one client to one server; further requests wait for a free one."""
MAX_JOBS = 256
"""Files that one run over many works on at a time."""
MAX_FACTS_BYTES = 256 * KIB
"""What the journal of an output folder says about one output."""
ANSWER_BYTES_PER_PIXEL = 6
"""Most bytes of an answer for each pixel requested: an uncompressed RGBA picture has 4."""
ANSWER_SPARE_BYTES = 8 * MIB
"""Further bytes of an answer, for metadata and file structure; a JSON answer may have only these."""


@dataclass(frozen=True)
class Limits:
    """What one picture or container may cost. Sizes are bytes unless the name says otherwise.

    Raises:
        InvalidArgumentError: a limit is no whole number, or is negative.
    """

    max_photo_bytes: int = GIB
    """A photo file that the client reads."""
    max_container_bytes: int = 256 * MIB
    """A whole container file."""
    max_pixels: int = 1 << 27
    """Width × height of a picture (134 million; a decoded RGB canvas is then 403 MB)."""
    max_side: int = 65_535
    """One side of a picture in pixels: 16 bits. Some formats of planes and answers have a lower limit."""
    max_plane_bytes: int = 256 * MIB
    """One coded plane, or the coded alpha channel."""
    max_header_bytes: int = 4 * MIB
    """The header map with both per-block maps and the metadata."""
    max_icc_bytes: int = MIB
    """The ICC profile."""
    max_exif_bytes: int = MIB
    """The EXIF block."""
    max_xmp_bytes: int = MIB
    """The XMP packet."""
    max_extra_fields: int = 64
    """Unknown optional fields in the header, and in each plane's entry."""
    max_header_items: int = 4096
    """Maps and arrays in the header together, elements of one array, and fields of one map."""
    max_header_values: int = 1 << 16
    """Elements of all arrays and fields of all maps in the header together."""
    max_msgpack_depth: int = 8
    """Maps and arrays inside one another in the header, the header itself being 1."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not is_whole(value) or value < 0:
                raise InvalidArgumentError(f"the limit {field.name} is a whole number from 0, not {value}")

    def check_dimensions(self, width: int, height: int) -> None:
        """Raise `LimitExceededError` if a picture of `width`×`height` pixels is over the limits, or has no pixels."""
        if min(width, height) < 1:
            raise LimitExceededError(f"the picture is {width}×{height}: it has no pixels")
        if max(width, height) > self.max_side:
            raise LimitExceededError(
                f"the picture is {width}×{height}; a side may have at most {self.max_side} pixels"
            )
        if width * height > self.max_pixels:
            raise LimitExceededError(
                f"the picture is {width}×{height}; at most {self.max_pixels} pixels are allowed"
            )

    def check_bytes(self, what: str, size: int, limit: int) -> None:
        """Raise `LimitExceededError` if `what` has a `size` of more than `limit` bytes."""
        if size > limit:
            raise LimitExceededError(f"{what} is {size} bytes; at most {limit} are allowed")


DEFAULT_LIMITS = Limits()
