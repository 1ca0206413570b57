"""The source file as a plane: a photo that is already smaller than its container would be stays as it is.

In: a photo and what of its metadata is kept. Out: the plane that is the file itself, byte for byte, or the reason
why there is none.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bbmr_client.photo import Photo
from bbmr_shared.container import Container, Plane
from bbmr_shared.errors import BbmrError
from bbmr_shared.images.codecs import check_plane, decode
from bbmr_shared.limits import DEFAULT_LIMITS


def smaller(photo: Photo, container: Container, metadata: str = "all") -> Container:
    """`container`, or one that carries the file of `photo` as it is where that has fewer bytes."""
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
    if len(kept.to_bytes()) >= len(container.to_bytes()) or not _shows(plane, photo.rgb):
        return container
    return kept


def notes(
    photo: Photo, container: Container, size: int, metadata: str = "all", asked: bool = True
) -> tuple[str, ...]:
    """That the file of `photo` has fewer than the `size` bytes of its container, and why it was not kept.

    Empty where it was kept, or is larger. asked: encoded with `keep_smaller`; the other arguments are those of
    `smaller`.
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
    """The plane that is the source file of `photo`, or in words why it cannot be kept.

    metadata: "all", or less, and then there is none: what a file holds beside its picture cannot be told for certain.
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


def _shows(plane: Plane, rgb: NDArray[np.uint8]) -> bool:
    """Whether readers of the container will see the photo: they open less than `load_photo` does."""
    try:
        return np.array_equal(decode(plane.data, plane.codec, (rgb.shape[1], rgb.shape[0])), rgb)
    except BbmrError:
        return False
