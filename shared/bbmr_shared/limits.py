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
"""Characters of a name in a header."""
MAX_DPI = 1_000_000
"""Pixels per inch in a header."""

# Picture formats, as planes, originals and answers

WEBP_MAX_SIDE = 16_383
"""A side of a WebP."""
AVIF_MAX_SIDE = 32_768
"""A side of an AVIF: libavif reads no larger ones."""
JPEG_MAX_SIDE = 65_500
"""A side of a JPEG, by libjpeg."""
PNG_MAX_SIDE = 2**31 - 1
"""A side of a PNG."""
JPEG_MAX_METADATA = 65_500
"""Bytes of EXIF or XMP in a JPEG."""
JPEG_MAX_DPI = 65_535
"""Pixels per inch in a JPEG."""
JPEG_MAX_SCANS = 100
"""Scans of a JPEG; encoders write about 10."""
AVIF_MAX_ITEMS = 1024
"""Items of an AVIF, and pieces of one; libavif's time grows with their square."""
AVIF_MAX_BOXES = 4096
"""Boxes on one level of an AVIF, and OBUs of all its AV1 data."""
AVIF_MAX_REFERENCES = 64 * KIB
"""References between the items of an AVIF."""
AVIF_MAX_FRAMES = 8
"""AV1 frames of one item; normally one."""
AVIF_SPARE_SAMPLES = 1 << 20
"""Coded samples of all items of an AVIF beyond four times the picture."""
MAX_CHUNKS = 1 << 16
"""Chunks of a PNG or WebP, segments of a JPEG."""
INFLATE_STEP = MIB
"""Inflated at once to count the samples of a PNG."""

# The client

MAX_PROBLEM_BYTES = 64 * KIB
"""An answer without the requested picture."""
SPOOLED_BYTES = 8 * MIB
"""Of a stream, kept in memory; the rest goes to a temporary file."""
MAX_CONFIG_BYTES = 64 * KIB
"""The settings file."""
MAX_TIMEOUT_S = 7 * 24 * 3600.0
"""The longest timeout: a week."""
MAX_RETRIES = 100
"""Retries of one request."""
MAX_SERVERS = 64
"""Servers of one client."""
MAX_CONNECTIONS = 100
"""Connections of one client to one server; more requests wait."""
MAX_JOBS = 256
"""Files that one run works on at a time."""
MAX_FACTS_BYTES = 256 * KIB
"""The journal's entry for one output."""
ANSWER_BYTES_PER_PIXEL = 6
"""Bytes of an answer for each pixel requested."""
ANSWER_SPARE_BYTES = 8 * MIB
"""Further bytes of an answer; all of a JSON answer."""


@dataclass(frozen=True)
class Limits:
    """The limits of one picture or container. Sizes are in bytes unless the name says otherwise.

    Raises:
        InvalidArgumentError: a limit is no whole number, or is negative.
    """

    max_photo_bytes: int = GIB
    """A photo file."""
    max_container_bytes: int = 256 * MIB
    """A container file."""
    max_pixels: int = 1 << 27
    """Width × height of a picture."""
    max_side: int = 65_535
    """One side of a picture in pixels."""
    max_plane_bytes: int = 256 * MIB
    """A coded plane or alpha channel."""
    max_header_bytes: int = 4 * MIB
    """The header, with its maps and metadata."""
    max_icc_bytes: int = MIB
    """The ICC profile."""
    max_exif_bytes: int = MIB
    """The EXIF block."""
    max_xmp_bytes: int = MIB
    """The XMP packet."""
    max_extra_fields: int = 64
    """Unknown optional fields in the header, and in each entry."""
    max_header_items: int = 4096
    """Maps and arrays in the header; items in one of them."""
    max_header_values: int = 1 << 16
    """Items of all maps and arrays in the header."""
    max_msgpack_depth: int = 8
    """Depth of maps and arrays; the header is 1."""

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
