"""Content negotiation: an Accept header in, the format of the answer out (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bbmr_server.errors import NotAcceptableError


def choose_format(accept: str | None, mimes: Mapping[str, str], purpose: str = "be made") -> str:
    """The name of the format that `accept` likes best.

    Args:
        accept: the header, or None where the request has none.
        mimes: format name → media type, the server's own preference first; not empty.
        purpose: what these formats can do, for the message of the error.

    The most specific range that matches a type decides its quality; between equal qualities the server's order
    decides. Ranges that cannot be read are passed over.

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
    """One media range: `image/webp;q=0.8` → `("image/webp", 0.8)`; None where it is no media range."""
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
    """What the most specific range that matches says; 0 where none does."""
    for wanted in (mime, mime.partition("/")[0] + "/*", "*/*"):
        matching = [quality for media, quality in ranges if media == wanted]
        if matching:
            return max(matching)
    return 0.0
