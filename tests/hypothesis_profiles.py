"""How many random examples a property test takes: few for developers, all of them in CI (`--hypothesis-profile ci`)."""

from __future__ import annotations

from hypothesis import settings

FULL = 100
"""Examples of a test under the profile `ci` that names no number; hypothesis's own default."""


def register() -> None:
    """Makes the profiles known, and takes `dev` until the command line names another one."""
    settings.register_profile("ci", max_examples=FULL, deadline=None)
    settings.register_profile("dev", max_examples=FULL // 5, deadline=None)
    settings.load_profile("dev")


def examples(count: int) -> int:
    """Returns `count` under the profile `ci`, and as much less under another one as its default is less."""
    return max(1, count * settings.default.max_examples // FULL)
