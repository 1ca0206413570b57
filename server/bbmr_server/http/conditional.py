"""Conditional and range requests (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re

from bbmr_server.errors import RangeError

_TAG = re.compile(r'(?:W/)?("[^"]*")')
_RANGE = re.compile(r"bytes=\s*([0-9]{0,256})-([0-9]{0,256})\s*", re.IGNORECASE)


def not_modified(if_none_match: str | None, tag: str) -> bool:
    """Returns whether the client already has what `tag` names. The comparison is weak, as RFC 9110 asks."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return tag.removeprefix("W/") in _TAG.findall(if_none_match)


def wanted_range(header: str | None, if_range: str | None, tag: str, size: int) -> tuple[int, int] | None:
    """Returns start and length of the requested part, or None for the whole.

    Args:
        header: `Range`. Other units, malformed values and several parts are ignored.
        if_range: `If-Range`; if it is not `tag`, a strong one, the whole is returned.
        size: bytes of the whole, at least 1.

    Raises:
        RangeError: the part begins after the end.
    """
    found = _RANGE.fullmatch(header or "")
    if found is None or (if_range is not None and if_range.strip() != tag):
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        length = min(int(last), size)
        if not length:
            raise RangeError(size)
        return size - length, length
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise RangeError(size)
    end = min(int(last) if last else size - 1, size - 1)
    return start, end - start + 1
