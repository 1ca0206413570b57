"""Tells whether an argument is a number: so that a wrong type is a `BbmrError`, as a wrong value is."""

from __future__ import annotations

from numbers import Integral, Real


def is_whole(value: object) -> bool:
    """Returns whether `value` is a whole number, of Python or numpy; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Returns whether `value` is a real number, of Python or numpy; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)
