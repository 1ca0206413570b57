"""Encodes one photo of a run into an open file, and collects the warnings about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from bbmr_client.batch.file_task import OutputInfo
from bbmr_client.encoding import original
from bbmr_client.encoding.encoder import encode
from bbmr_client.photo import Photo, load_photo
from bbmr_shared.container import Container


def encode_file(data: bytes, name: str, options: Mapping[str, Any], file: BinaryIO) -> OutputInfo:
    """Write the container of the photo `data` to `file`. Raises as `load_photo` and `encode` do.

    options: keyword arguments of `bbmr_client.encode`.
    """
    photo = load_photo(data, name=name)
    container = encode(photo, **options)
    packed = container.to_bytes()
    file.write(packed)
    return OutputInfo(
        container.width, container.height, encoding_warnings(photo, container, len(packed), options)
    )


def encoding_warnings(
    photo: Photo, container: Container, size: int, options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Returns one line for each part of the photo that is lost, and one if its own file is below `size` bytes."""
    asked = bool(options.get("keep_smaller"))
    return photo.notes + original.notes(photo, container, size, options.get("metadata", "all"), asked)


def check_options(options: Mapping[str, Any]) -> None:
    """Encode a tiny picture. This also loads every module before the first photo.

    Raises:
        UsageError: the options are out of range or contradict each other.
    """
    encode(np.zeros((16, 16, 3), np.uint8), **options).to_bytes()
