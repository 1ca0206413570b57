"""The server on a Ray cluster (extra `cluster`): `app` for Ray Serve, and `bbmr-server bulk` over Ray Data.

`serve run bbmr_server.cluster:app` and Serve config files name `app`. Importing this package needs neither Ray nor
torch. See docs/cluster.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve import Application

__all__ = ["app"]


def app(args: Mapping[str, Any]) -> Application:
    """Builds the application for Ray Serve.

    Args:
        args: settings by their names (`device`, `queue_length`, …). They win over BBMR_* environment variables.

    Raises:
        UsageError if a setting is invalid, or does not work in a cluster.
    """
    from bbmr_server.settings import load_settings

    from .serve_app import build

    return build(load_settings(**args))
