"""Encodes one photo of a run into an open file, and collects the warnings about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

from bbmr_client.batch.file_task import OutputInfo
from bbmr_client.encoding import original
from bbmr_client.encoding.encoder import Encoded, encode, encode_photo
from bbmr_client.encoding.options import EncodeOptions
from bbmr_client.photo import Photo, load_photo

_LIMITS_OF_BYTES = ("bpp", "max_bytes")


def encode_file(data: bytes, name: str, options: Mapping[str, Any], file: BinaryIO) -> OutputInfo:
    """Write the container of the photo `data` to `file`. Raises as `load_photo` and `encode` do.

    options: keyword arguments of `bbmr_client.encode`.
    """
    photo = load_photo(data, name=name)
    encoded = encode_with(photo, options)
    packed = encoded.container.to_bytes()
    file.write(packed)
    return OutputInfo(photo.width, photo.height, encoding_warnings(photo, encoded, len(packed), options))


def encode_with(
    photo: Photo, options: Mapping[str, Any], step: Callable[[], object] = lambda: None
) -> Encoded:
    """Encode a photo. Raises as `encode`.

    Args:
        photo: the photo.
        options: keyword arguments of `bbmr_client.encode` but `limits` and `step`.
        step: called before each step that takes long.
    """
    checked = {name: value for name, value in options.items() if name != "keep_smaller"}
    return encode_photo(photo, EncodeOptions(**checked), bool(options.get("keep_smaller")), step)


def encoding_warnings(
    photo: Photo, encoded: Encoded, size: int, options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Returns a line for each part of the photo that is lost, for a PSNR that is not reached, and for a larger file.

    size: bytes of the container.
    """
    notes = list(photo.notes)
    target = options.get("target_psnr")
    if target is not None and encoded.psnr is not None and encoded.psnr < target:
        notes.append(f"{target:g} dB are not reached: quality {encoded.quality} has {encoded.psnr:.2f} dB")
    asked = bool(options.get("keep_smaller"))
    metadata = options.get("metadata", "all")
    return (*notes, *original.notes(photo, encoded.container, size, metadata, asked))


def check_options(options: Mapping[str, Any]) -> None:
    """Encode a tiny picture. This also loads every module before the first photo.

    Raises:
        UsageError: the options are out of range or contradict each other.
    """
    EncodeOptions(**{name: value for name, value in options.items() if name != "keep_smaller"})
    # A tiny picture may not fit into bytes that are enough for a photo.
    without_limits = {name: value for name, value in options.items() if name not in _LIMITS_OF_BYTES}
    encode(np.zeros((16, 16, 3), np.uint8), **without_limits).to_bytes()
