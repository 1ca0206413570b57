"""Keeps the photo's own file in the container, byte for byte, if that is smaller than the coded planes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bbmr_client.photo import Photo
from bbmr_shared.container import Container, Plane
from bbmr_shared.errors import BbmrError
from bbmr_shared.images.codecs import check_plane, decode
from bbmr_shared.limits import DEFAULT_LIMITS


def original_if_smaller(photo: Photo, container: Container, metadata: str = "all") -> Container:
    """Returns `container`, or one that carries the file of `photo` as it is if that has fewer bytes."""
    plane = original_plane(photo, metadata)
    if isinstance(plane, str):
        return container
    kept = replace(
        container,
        rate_map=np.ones_like(container.rate_map),
        planes=(plane,),
        strength=0,
        strength_map=None,
        model=None,
        original=True,
    )
    if len(kept.to_bytes()) >= len(container.to_bytes()) or not _decodes_to(plane, photo.rgb):
        return container
    return kept


def notes(
    photo: Photo, container: Container, size: int, metadata: str = "all", asked: bool = True
) -> tuple[str, ...]:
    """Returns a note if the file of `photo` is smaller than its container of `size` bytes but was not kept.

    asked: it was encoded with `keep_smaller`; the other arguments are those of `original_if_smaller`.
    """
    source = photo.source
    if (
        container.original
        or source is None
        or len(source.data) >= size
        or (not asked and source.codec == "png")
    ):
        return ()
    plane = original_plane(photo, metadata)
    if asked:
        why = plane if isinstance(plane, str) else "a container with it would not be smaller"
        return (f"the photo's file has only {len(source.data)} bytes and is not kept: {why}",)
    hint = "" if isinstance(plane, str) else ": --keep-smaller keeps such a file as it is"
    return (f"the photo's file has only {len(source.data)} bytes, the container {size}{hint}",)


def original_plane(photo: Photo, metadata: str) -> Plane | str:
    """Returns the source file of `photo` as a plane, or the reason why it cannot be one.

    metadata: if it is not "all", there is no plane, because the file may have metadata that cannot be detected.
    """
    source = photo.source
    if source is None:
        return "it was not read from a file"
    if source.obstacle is not None:
        return source.obstacle
    if source.codec is None:
        return "its format is not one that planes have"
    if metadata != "all":
        return f"it may carry more than metadata={metadata} allows"
    if len(source.data) > DEFAULT_LIMITS.max_plane_bytes:
        return "it is too large for a plane"
    try:
        check_plane(source.data, source.codec, (photo.width, photo.height))
    except BbmrError as error:
        return str(error)
    return Plane(1, source.codec, source.data)


def _decodes_to(plane: Plane, rgb: NDArray[np.uint8]) -> bool:
    """Whether a reader of the container gets the photo: its decoders accept fewer files than `load_photo` does."""
    try:
        return np.array_equal(decode(plane.data, plane.codec, (rgb.shape[1], rgb.shape[0])), rgb)
    except BbmrError:
        return False
