"""Reads answers in parts, independently of the page's reader."""

from __future__ import annotations

import json
from typing import Any


def read_parts(data: bytes) -> list[tuple[dict[str, Any], bytes | None]]:
    """Returns the line of each part as an object, and the bytes that follow it."""
    parts = []
    while data:
        line, _, data = data.partition(b"\n")
        head = json.loads(line)
        size = head.get("bytes")
        parts.append((head, None if size is None else data[:size]))
        data = data[size or 0 :]
    return parts
