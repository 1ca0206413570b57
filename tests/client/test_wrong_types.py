"""An argument of a wrong type raises a `BbmrError` with one line, like a wrong value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bbmr_client
import bbmr_models
from bbmr_client.local import reconstruct_local
from bbmr_shared import preview, thumbnail

URL = "http://127.0.0.1:1"
CONTAINER = bbmr_client.encode(np.zeros((16, 16, 3), np.uint8))
CALLS: dict[str, Callable[[Any], object]] = {
    "address": lambda wrong: bbmr_client.Client(wrong),
    "addresses": lambda wrong: bbmr_client.Client([wrong]),
    "key": lambda wrong: bbmr_client.Client(URL, api_key=wrong),
    "tls": lambda wrong: bbmr_client.Client(URL, tls=wrong),
    "limits of a client": lambda wrong: bbmr_client.Client(URL, limits=wrong),
    "certificate": lambda wrong: bbmr_client.Tls(ca_file=wrong),
    "limits of a photo": lambda wrong: bbmr_client.load_photo(np.zeros((2, 2, 3), np.uint8), limits=wrong),
    "limits of a container": lambda wrong: bbmr_client.Container.from_bytes(b"", limits=wrong),
    "container of a preview": preview,
    "container of a thumbnail": lambda wrong: thumbnail(wrong, 10),
    "container": reconstruct_local,
    "threads": lambda wrong: reconstruct_local(CONTAINER, threads=str(wrong)),
    "weights": bbmr_models.load,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_wrong_type_is_a_declared_error(call: Callable[[Any], object]) -> None:
    with pytest.raises(bbmr_client.BbmrError) as caught:
        call(3)
    assert "\n" not in str(caught.value)
    assert "3" in str(caught.value) or "int" in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: bbmr_client.Client(URL, timeout=True),
        lambda: bbmr_client.Client(URL, retries=True),
        lambda: bbmr_client.encode(np.zeros((16, 16, 3), np.uint8), rate=True),
        lambda: bbmr_client.encode(np.zeros((16, 16, 3), np.uint8), alpha_quality=True),
        lambda: bbmr_client.encode(np.zeros((16, 16, 3), np.uint8), effort=True),
        lambda: reconstruct_local(CONTAINER, threads=True),
        lambda: reconstruct_local(CONTAINER, threads=0),
        lambda: bbmr_client.Client(b"http://127.0.0.1:1"),  # type: ignore[arg-type]
    ],
)
def test_booleans_bytes_and_zero_are_not_taken_for_numbers_and_text(call: Callable[[], object]) -> None:
    with pytest.raises(bbmr_client.UsageError):
        call()


def test_targets_and_progress_are_checked_before_anything_is_sent(tmp_path: Path) -> None:
    with bbmr_client.Client(URL, retries=0) as client:
        with pytest.raises(bbmr_client.UsageError, match="the target must be str or PathLike, not int"):
            client.reconstruct_to(CONTAINER, 3)  # type: ignore[arg-type]
        with pytest.raises(bbmr_client.UsageError, match="progress must be callable, not int"):
            client.reconstruct(CONTAINER, progress=3)  # type: ignore[arg-type]
        with pytest.raises(bbmr_client.InvalidArgumentError, match="a region begins at 0 or more"):
            client.reconstruct(CONTAINER, region=(-1, 0, 5, 5))
