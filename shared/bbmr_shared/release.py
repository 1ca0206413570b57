"""The version of the installed package."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def release() -> str:
    """Returns the version, or "(not installed)" if the sources are used without installing them."""
    try:
        return version("bbmr")
    except PackageNotFoundError:
        return "(not installed)"


__version__ = release()
