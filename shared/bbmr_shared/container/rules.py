"""The rules for the fields of a container together.

Headers that were read and containers that were put together are checked by the same code: so what can be written can be
read, and the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Protocol

from bbmr_shared.arguments import is_number
from bbmr_shared.errors import MalformedContainerError
from bbmr_shared.limits import MAX_DPI

ORIGINAL_ONLY = frozenset({"jpeg"})
"""Codecs that only an original may have: they are read and never written."""
NEVER_ORIGINAL = frozenset({"av1"})
"""Codecs of planes that are no files."""


ALPHA_TYPES: Mapping[str, tuple[type, ...]] = {"codec": (str,), "data": (bytes,), "extra": (Mapping,)}
PLANE_TYPES: Mapping[str, tuple[type, ...]] = {**ALPHA_TYPES, "rate": (int,), "error": (int,)}
CONTAINER_TYPES: Mapping[str, tuple[type, ...]] = {
    "planes": (tuple, list),
    "icc": (bytes, NoneType),
    "exif": (bytes, NoneType),
    "xmp": (bytes, NoneType),
    "downscaler": (str,),
    "downscaler_version": (int,),
    "model": (str, NoneType),
    "strength": (int,),
    "channels": (int,),
    "dpi": (tuple, list, NoneType),
    "original": (bool,),
    "extra": (Mapping,),
}
"""The types of the fields; those of the maps and of the size are checked with the grid."""


class Coded(Protocol):
    """A coded picture: `Plane`, `AlphaPlane`, or its entry in a header."""

    @property
    def codec(self) -> str: ...


class CodedPlane(Coded, Protocol):
    """A plane, or its entry."""

    @property
    def rate(self) -> int: ...
    @property
    def error(self) -> int: ...


class Described(Protocol):
    """A container, or its header."""

    @property
    def planes(self) -> Sequence[CodedPlane]: ...
    @property
    def alpha(self) -> Coded | None: ...
    @property
    def strength(self) -> int: ...
    @property
    def strength_map(self) -> object | None: ...
    @property
    def channels(self) -> int | None: ...
    @property
    def icc(self) -> bytes | None: ...
    @property
    def dpi(self) -> Sequence[float] | None: ...
    @property
    def original(self) -> bool | None: ...


def check_types(container: Described) -> None:
    """Raise `MalformedContainerError` if a field of a container that was put together has the wrong type."""
    _check_fields(container, CONTAINER_TYPES, "the container")
    for plane in container.planes:
        _check_fields(plane, PLANE_TYPES, "a plane")
    if container.alpha is not None:
        _check_fields(container.alpha, ALPHA_TYPES, "the alpha channel")


def _check_fields(part: object, types: Mapping[str, tuple[type, ...]], what: str) -> None:
    for name, allowed in types.items():
        value = getattr(part, name, None)
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise MalformedContainerError(f"{name} of {what} cannot be {type(value).__name__}")


def check_together(described: Described) -> None:
    """Raise `MalformedContainerError` if fields do not fit together."""
    _check_picture(described)
    if described.original:
        _check_original(described)
        return
    for picture in (*described.planes, described.alpha):
        if picture is not None and picture.codec in ORIGINAL_ONLY:
            raise MalformedContainerError(
                f"{picture.codec} is for originals, not for planes or alpha channels"
            )


def _check_picture(described: Described) -> None:
    if described.channels not in (None, 1, 3):
        raise MalformedContainerError(f"a picture has 1 or 3 channels, not {described.channels}")
    if described.channels == 1 and described.icc is not None:
        raise MalformedContainerError("a grey picture has no ICC profile: profiles are those of RGB pictures")
    dpi = described.dpi
    if dpi is not None and not (
        len(dpi) == 2 and all(is_number(value) and 0 < value <= MAX_DPI for value in dpi)
    ):
        raise MalformedContainerError(
            f"the pixels per inch are two numbers above 0 and at most {MAX_DPI:,.0f}"
        )


def _check_original(described: Described) -> None:
    only = described.planes[0]
    if len(described.planes) != 1 or only.rate != 1:
        raise MalformedContainerError("an original is the only plane, of rate 1")
    if only.codec in NEVER_ORIGINAL:
        raise MalformedContainerError(f"an original is a file, as {only.codec} planes are not")
    if only.error:
        raise MalformedContainerError(f"an original has the coding error 0, not {only.error}")
    if described.strength or described.strength_map is not None:
        raise MalformedContainerError("an original has strength 0 and no strength map")
    if described.alpha is not None:
        raise MalformedContainerError("a container with an original has no alpha channel")
