"""The server's settings: environment variables and flags in, one checked and frozen object out.

Every setting is an environment variable, `BBMR_` and its name in capitals. `Settings` holds them in sections:
`settings.http`, `.access`, `.engine`, `.page`, `.store` and `.observability`.
"""

from __future__ import annotations

from .loading import PREFIX, Settings, load_settings, unknown_variables, variables
from .sections import (
    KEY,
    KEY_RULE,
    AccessSettings,
    EngineSettings,
    HttpSettings,
    ObservabilitySettings,
    PageSettings,
    StoreSettings,
)

__all__ = [
    "KEY",
    "KEY_RULE",
    "PREFIX",
    "AccessSettings",
    "EngineSettings",
    "HttpSettings",
    "ObservabilitySettings",
    "PageSettings",
    "Settings",
    "StoreSettings",
    "load_settings",
    "unknown_variables",
    "variables",
]
