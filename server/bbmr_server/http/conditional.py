"""Conditional and range requests (RFC 9110, sections 13 and 14): headers in, what is to be answered out."""

from __future__ import annotations

import re

from bbmr_server.errors import RangeError

_TAG = re.compile(r'(?:W/)?("[^"]*")')
_RANGE = re.compile(r"bytes=\s*([0-9]{0,256})-([0-9]{0,256})\s*", re.IGNORECASE)


def not_modified(if_none_match: str | None, tag: str) -> bool:
    """Whether the client has what `tag` names already; compared weakly, as the header asks for."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return tag.removeprefix("W/") in _TAG.findall(if_none_match)


def wanted_range(header: str | None, if_range: str | None, tag: str, size: int) -> tuple[int, int] | None:
    """Start and length of the one part that is asked for, or None for the whole.

    Args:
        header: `Range`. What it says in another unit, wrongly, or of several parts is passed over.
        if_range: `If-Range`; unless it is `tag`, which is strong, the whole is wanted.
        size: bytes there are, at least 1.

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
