"""The server on a cluster, by Ray (extra `cluster`): `app` for Ray Serve, and `bbmr-server bulk` over Ray Data.

`app` is what `serve run bbmr_server.cluster:app` and a Serve config file name. Importing this package alone needs
neither Ray nor torch. docs/cluster.md describes both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve import Application

__all__ = ["app"]


def app(args: Mapping[str, Any]) -> Application:
    """The application builder for Ray Serve.

    Args:
        args: settings by their names (`device`, `queue_length`, …); they win over the environment's BBMR_* variables.

    Raises:
        UsageError: a setting is bad, or makes no sense in a cluster.
    """
    from bbmr_server.settings import load_settings

    from .serve_app import build

    return build(load_settings(**args))
