"""How a photo is encoded by a command: the container into a file, and what there is to say about it.

In: a photo and the keyword arguments of `encode`. Out: a `Product`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from bbmr_client.batch.file_task import Product
from bbmr_client.encoding import original
from bbmr_client.encoding.encoder import encode
from bbmr_client.photo import Photo, load_photo
from bbmr_shared.container import Container


def encode_file(data: bytes, name: str, options: Mapping[str, Any], file: BinaryIO) -> Product:
    """Encode one photo. Raises as `load_photo` and `encode` do."""
    photo = load_photo(data, name=name)
    container = encode(photo, **options)
    packed = container.to_bytes()
    file.write(packed)
    return Product(container.width, container.height, warnings_of(photo, container, len(packed), options))


def warnings_of(photo: Photo, container: Container, size: int, options: Mapping[str, Any]) -> tuple[str, ...]:
    """One line each: what of the photo is not kept, and whether its own file is smaller than the `size` bytes."""
    asked = bool(options.get("keep_smaller"))
    return photo.notes + original.notes(photo, container, size, options.get("metadata", "all"), asked)


def check_options(options: Mapping[str, Any]) -> None:
    """Encode a picture of few pixels, which also has everything loaded for the first photo.

    Raises:
        UsageError: the options make no sense.
    """
    encode(np.zeros((16, 16, 3), np.uint8), **options).to_bytes()
