"""Opening the store: settings in, the store and its cache out, or nothing where it is off.

Nothing of the extra `store` is imported before a setting asks for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from bbmr_server.settings import Settings
from bbmr_shared.errors import UsageError

from .backend import Backend

if TYPE_CHECKING:
    from .container_store import Store
    from .metrics import StoreWatch
    from .picture_cache import PictureCache

RETRIES = 2


@dataclass(frozen=True)
class Keeping:
    """What a server with a store has: the containers, and perhaps a cache of their pictures."""

    store: Store
    pictures: PictureCache | None

    def begin(self) -> None:
        """Count what is kept, in the background: the first to write does not wait, and a store that fails is logged."""
        self.store.begin_count()
        if self.pictures is not None:
            self.pictures.begin()

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
    from .container_store import Store
    from .metrics import StoreWatch

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


def open_directory(path: Path, setting: str, timeout: float, cache: bool = False) -> Backend:
    """The directory `path`, made where it is not there (for its owner alone).

    Raises:
        UsageError: it cannot be made or written to, or obstore is not installed; `setting` is the variable to name.
    """
    obstore_store = _import(setting)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{setting}: {path} is no directory")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = path.resolve()
    except OSError as error:
        raise UsageError(f"{setting}: cannot write to {path}: {error.strerror or error}") from None
    # Without writing a file: the disk may be full, and what is kept can be read all the same.
    if not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(f"{setting}: cannot write to {path}: not allowed")
    return Backend(obstore_store.LocalStore(path), f"the directory {path}", timeout, path, cache)


def open_bucket(bucket: str, prefix: str, setting: str, timeout: float) -> Backend:
    """A bucket of S3 or a compatible service, as the AWS_… variables say. Nothing is asked of it yet.

    Plain HTTP is used where AWS_ENDPOINT_URL says http://, and nowhere else.

    Raises:
        UsageError: a variable is wrong, or obstore is not installed.
    """
    obstore_store = _import(setting)
    endpoints = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    endpoint = next((os.environ[name] for name in endpoints if os.environ.get(name)), "")
    try:
        objects = obstore_store.S3Store(
            bucket,
            prefix=prefix or None,
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=min(5.0, timeout)),
                "timeout": timedelta(seconds=timeout),
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=timeout)},
        )
    except Exception as error:  # obstore's own errors, of several kinds
        raise UsageError(f"{setting}: {str(error).partition(chr(10))[0][:200]}") from None
    return Backend(objects, f"s3://{bucket}/{prefix}", timeout)


def _open_cache(path: Path, settings: Settings, watch: StoreWatch) -> PictureCache:
    try:
        from .picture_cache import PictureCache
    except ModuleNotFoundError:
        raise UsageError(
            "BBMR_PICTURE_CACHE needs cachetools, which is not installed: pip install 'bbmr[store]'"
        ) from None
    backend = open_directory(path, "BBMR_PICTURE_CACHE", settings.store_timeout_s, cache=True)
    return PictureCache(backend, settings.picture_cache_bytes, watch)


def _import(setting: str) -> Any:
    try:
        import obstore.store
    except ModuleNotFoundError:
        raise UsageError(
            f"{setting} needs obstore, which is not installed: pip install 'bbmr[store]'"
        ) from None
    return obstore.store
