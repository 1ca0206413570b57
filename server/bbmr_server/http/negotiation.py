"""Chooses the format of the answer by the Accept header (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bbmr_server.errors import NotAcceptableError


def choose_format(accept: str | None, mimes: Mapping[str, str], purpose: str = "be made") -> str:
    """Returns the name of the format that `accept` prefers.

    The most specific range that matches a type decides its quality. Between equal qualities the order of `mimes`
    decides. Malformed ranges are ignored.

    Args:
        accept: the header, or None.
        mimes: format name → media type, in the server's order of preference; not empty.
        purpose: what these formats can do, for the error's message.

    Raises:
        NotAcceptableError: no type has a quality above 0.
    """
    if accept is None or not accept.strip():
        return next(iter(mimes))
    ranges = [found for part in accept.split(",") if (found := _parse(part)) is not None]
    best, best_quality = None, 0.0
    for name, mime in mimes.items():
        quality = _quality(mime, ranges)
        if quality > best_quality:
            best, best_quality = name, quality
    if best is None:
        offered = ", ".join(mimes.values())
        raise NotAcceptableError(
            f"no type in Accept can {purpose}; ask for one of {offered}",
            fields={"offered": list(mimes.values())},
        )
    return best


def _parse(part: str) -> tuple[str, float] | None:
    """Returns `("image/webp", 0.8)` for `image/webp;q=0.8`, or None if it is no media range."""
    media, *parameters = (piece.strip().lower() for piece in part.split(";"))
    kind, slash, subtype = media.partition("/")
    if not slash or not kind or not subtype or (kind == "*" and subtype != "*"):
        return None
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return None
            if not 0.0 <= quality <= 1.0:
                return None
    return media, quality


def _quality(mime: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Returns the quality of the most specific range that matches; 0 if none does."""
    for wanted in (mime, mime.partition("/")[0] + "/*", "*/*"):
        matching = [quality for media, quality in ranges if media == wanted]
        if matching:
            return max(matching)
    return 0.0
