"""The console script `bbmr-train`: says what to install where torch is missing, and runs `cli` otherwise."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `bbmr-train`; exits with status 1 if a package that training needs is not installed."""
    try:
        from .cli import app
    except ModuleNotFoundError as error:
        print(
            f"error: training needs {error.name}, which is not installed: pip install '.[train]' in a checkout",
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    app()
