"""Which release this is. In: nothing. Out: the version of the installed package."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def release() -> str:
    """The version as text; "(not installed)" where the sources are used without being installed."""
    try:
        return version("bbmr")
    except PackageNotFoundError:
        return "(not installed)"
