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


def __getattr__(name: str) -> str:
    """Returns `__version__` when it is asked for: reading the metadata would slow down the start of every command."""
    if name == "__version__":
        return release()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
