"""What the fields of a container mean together: the rules that no single field can break.

In: a header as it was read, or a container as it was put together. Out: nothing, or `MalformedContainerError`.
Both are checked by the same code, so that whatever can be made can be read, and the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bbmr_shared.errors import MalformedContainerError
from bbmr_shared.limits import MAX_DPI

ORIGINAL_ONLY = frozenset({"jpeg"})
"""Codecs that only an original may have: they are read and never written."""


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


def check_together(described: Described) -> None:
    """Raise `MalformedContainerError` where fields that are each right do not fit together."""
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
    if dpi is not None and not (len(dpi) == 2 and all(0 < density <= MAX_DPI for density in dpi)):
        raise MalformedContainerError(
            f"the pixels per inch are two numbers above 0 and at most {MAX_DPI:,.0f}"
        )


def _check_original(described: Described) -> None:
    only = described.planes[0]
    if len(described.planes) != 1 or only.rate != 1:
        raise MalformedContainerError("an original is the only plane, of rate 1")
    if only.error:
        raise MalformedContainerError(f"an original has the coding error 0, not {only.error}")
    if described.strength or described.strength_map is not None:
        raise MalformedContainerError("an original has strength 0 and no strength map")
    if described.alpha is not None:
        raise MalformedContainerError("a container with an original has no alpha channel")
