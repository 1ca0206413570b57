"""What a container file is known by: signature, media type, extension. It imports nothing: plugins need it at once."""

from __future__ import annotations

SIGNATURE = b"\x8bBBM\r\n\x1a\n"
"""The first eight bytes. A high bit and CR LF SUB LF show damage by 7-bit and text-mode transport, as PNG's do."""
MEDIA_TYPE = "application/vnd.bbmr"
EXTENSION = ".bbmr"
