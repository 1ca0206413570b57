"""Makes the store and its picture cache from the settings.

The packages of the extra `store` are imported only if a setting asks for them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from bbmr_server.settings import Settings, StoreSettings
from bbmr_shared.errors import UsageError

from .backend import Backend

if TYPE_CHECKING:
    from .container_store import ContainerStore
    from .metrics import StoreMetrics
    from .picture_cache import PictureCache

RETRIES = 2


@dataclass(frozen=True)
class StoreServices:
    """The containers of a server with a store, and the cache of their pictures if there is one."""

    containers: ContainerStore
    pictures: PictureCache | None

    def begin(self) -> None:
        """Starts counting in the background, so that the first write need not wait and a store that fails is logged."""
        self.containers.usage.begin_count()
        if self.pictures is not None:
            self.pictures.begin()

    def close(self) -> None:
        """Ends the threads."""
        self.containers.close()
        if self.pictures is not None:
            self.pictures.close()


def open_store(settings: Settings, registry: CollectorRegistry, keys: int) -> StoreServices | None:
    """Returns the store that `settings` ask for, with its metrics in `registry`, or None if it is off.

    Args:
        keys: how many API keys the server has.

    Raises:
        UsageError if a directory cannot be used, a package is missing, or the server is public and has no keys.
    """
    if not settings.store.location:
        if settings.store.picture_cache is not None:
            raise UsageError("BBMR_PICTURE_CACHE keeps pictures of stored containers: set BBMR_STORE as well")
        return None
    if settings.http.public and not keys:
        raise UsageError(
            f"BBMR_STORE is set and the server would listen on {settings.http.host} without API keys, so anybody could "
            "store and delete: set BBMR_API_KEYS, or listen on 127.0.0.1"
        )
    return _open(settings.store, settings.store.location, registry)


def _open(settings: StoreSettings, location: str, registry: CollectorRegistry) -> StoreServices:
    from .container_store import ContainerStore
    from .metrics import StoreMetrics

    if location.startswith("s3://"):
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        backend = open_bucket(bucket, prefix.strip("/"), "BBMR_STORE", settings.timeout_s)
    else:
        backend = open_directory(Path(location), "BBMR_STORE", settings.timeout_s)
    metrics = StoreMetrics(registry)
    containers = ContainerStore(backend, settings.max_bytes, metrics)
    metrics.limit.set(settings.max_bytes)
    metrics.bytes.set_function(lambda: containers.usage.used or 0)
    pictures = None
    if settings.picture_cache is not None:
        pictures = _open_cache(settings.picture_cache, settings, metrics)
    return StoreServices(containers, pictures)


def open_directory(path: Path, setting: str, timeout: float, cache: bool = False) -> Backend:
    """Returns the directory `path` as a backend. A directory that does not exist is made, with mode 0700.

    Raises:
        UsageError if it cannot be made or written to, or obstore is not installed. The message names `setting`.
    """
    obstore_store = _import(setting)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{setting}: {path} is not a directory")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = path.resolve()
    except OSError as error:
        raise UsageError(f"{setting}: cannot write to {path}: {error.strerror or error}") from None
    # Checked without writing a file: a store on a full disk can still be read.
    if not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(f"{setting}: cannot write to {path}: not allowed")
    return Backend(obstore_store.LocalStore(path), f"the directory {path}", timeout, path, cache)


def open_bucket(bucket: str, prefix: str, setting: str, timeout: float) -> Backend:
    """Returns a bucket of S3 or a compatible service as a backend. Does not connect yet.

    The AWS_… variables say where it is. Plain HTTP is only used if AWS_ENDPOINT_URL begins with http://.

    Raises:
        UsageError if a variable is wrong or obstore is not installed.
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
    except Exception as error:  # obstore raises several unrelated classes
        raise UsageError(f"{setting}: {str(error).partition(chr(10))[0][:200]}") from None
    return Backend(objects, f"s3://{bucket}/{prefix}", timeout)


def _open_cache(path: Path, settings: StoreSettings, metrics: StoreMetrics) -> PictureCache:
    try:
        from .picture_cache import PictureCache
    except ModuleNotFoundError:
        raise UsageError(
            "BBMR_PICTURE_CACHE needs cachetools, which is not installed: pip install '.[store]' in a checkout"
        ) from None
    backend = open_directory(path, "BBMR_PICTURE_CACHE", settings.timeout_s, cache=True)
    return PictureCache(backend, settings.picture_cache_bytes, metrics)


def _import(setting: str) -> Any:
    try:
        import obstore.store
    except ModuleNotFoundError:
        raise UsageError(
            f"{setting} needs obstore, which is not installed: pip install '.[store]' in a checkout"
        ) from None
    return obstore.store
