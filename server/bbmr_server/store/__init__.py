"""Containers kept under their digests, and their pictures at addresses that an `<img>` can name. Off by default.

`open_store` is what the rest of the server uses, with the routers of `routes` and `images`; the others are parts.
"""

from __future__ import annotations

from .factory import Keeping, open_store

__all__ = ["Keeping", "open_store"]
