"""Signature, media type and extension of container files. It imports nothing, so that plugins load fast."""

from __future__ import annotations

SIGNATURE = b"\x8bBBM\r\n\x1a\n"
"""The first eight bytes. As in PNG, a high bit and CR LF SUB LF show damage by 7-bit and text-mode transfer."""
MEDIA_TYPE = "application/vnd.bbmr"
EXTENSION = ".bbmr"
