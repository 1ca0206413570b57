"""Opening the store: settings in, the store and its cache out, or nothing where it is off.

Nothing of the extra `store` is imported before a setting asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from bbmr_shared.errors import UsageError

from ..settings import Settings

if TYPE_CHECKING:
    from .kept import Store
    from .pictures import PictureCache
    from .watch import StoreWatch


@dataclass(frozen=True)
class Keeping:
    """What a server with a store has: the containers, and perhaps a cache of their pictures."""

    store: Store
    pictures: PictureCache | None

    def close(self) -> None:
        """End the threads."""
        self.store.close()
        if self.pictures is not None:
            self.pictures.close()


def open_store(settings: Settings, registry: CollectorRegistry, keys: int) -> Keeping | None:
    """The store that `settings` ask for, with its metrics in `registry`; None where it is off.

    Args:
        keys: how many API keys the server has.

    Raises:
        UsageError: a directory cannot be used, a package is missing, or anybody in the network could write and delete.
    """
    if not settings.store:
        if settings.picture_cache is not None:
            raise UsageError("BBMR_PICTURE_CACHE keeps pictures of stored containers: set BBMR_STORE as well")
        return None
    if settings.public and not keys:
        raise UsageError(
            f"BBMR_STORE is set and the server would listen on {settings.host} without API keys, so anybody could "
            "store and delete: set BBMR_API_KEYS, or listen on 127.0.0.1"
        )
    from .backend import open_bucket, open_directory
    from .kept import Store
    from .watch import StoreWatch

    timeout = settings.store_timeout_s
    if settings.store.startswith("s3://"):
        bucket, _, prefix = settings.store.removeprefix("s3://").partition("/")
        backend = open_bucket(bucket, prefix.strip("/"), "BBMR_STORE", timeout)
    else:
        backend = open_directory(Path(settings.store), "BBMR_STORE", timeout)
    watch = StoreWatch(registry)
    store = Store(backend, settings.store_max_bytes, watch)
    watch.limit.set(settings.store_max_bytes)
    watch.bytes.set_function(lambda: store.used or 0)
    pictures = None
    if settings.picture_cache is not None:
        pictures = _open_cache(settings.picture_cache, settings, watch)
    return Keeping(store, pictures)


def _open_cache(path: Path, settings: Settings, watch: StoreWatch) -> PictureCache:
    from .backend import open_directory

    try:
        from .pictures import PictureCache
    except ModuleNotFoundError:
        raise UsageError(
            "BBMR_PICTURE_CACHE needs cachetools, which is not installed: pip install 'bbmr[store]'"
        ) from None
    backend = open_directory(path, "BBMR_PICTURE_CACHE", settings.store_timeout_s, durable=False)
    return PictureCache(backend, settings.picture_cache_bytes, watch)
