"""The store: containers kept under their digests, and their pictures at addresses for `<img>`. Off by default.

`open_store` makes it from the settings; `routes` and `images` are its HTTP routes. The other modules are its parts.
"""

from __future__ import annotations

from .factory import StoreServices, open_store

__all__ = ["StoreServices", "open_store"]
