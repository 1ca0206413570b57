"""Checks of the types of arguments, so that a wrong type raises a `BbmrError`, as a wrong value does."""

from __future__ import annotations

from numbers import Integral, Real

from .errors import InvalidArgumentError


def is_whole(value: object) -> bool:
    """Returns whether `value` is a whole number, of Python or numpy; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Returns whether `value` is a real number, of Python or numpy; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_type(name: str, value: object, *kinds: type) -> None:
    """Raises InvalidArgumentError if `value` is of none of the `kinds`; `name` is what the message calls it."""
    if not isinstance(value, kinds):
        wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
        raise InvalidArgumentError(f"{name} must be {wanted}, not {type(value).__name__}")
