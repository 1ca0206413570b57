"""The Accept header chooses the format as RFC 9110 says."""

from __future__ import annotations

import pytest

from bbmr_server.errors import NotAcceptableError
from bbmr_server.http.negotiation import choose_format

MIMES = {"png": "image/png", "webp": "image/webp", "avif": "image/avif", "jpeg": "image/jpeg"}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "png"),
        ("", "png"),
        ("*/*", "png"),
        ("image/*", "png"),
        ("image/webp", "webp"),
        ("IMAGE/AVIF", "avif"),
        ("image/jpeg;q=0.5, image/webp;q=0.9", "webp"),
        ("image/avif;q=0.1, */*;q=0.05", "avif"),
        ("text/html, image/jpeg;q=0.2", "jpeg"),
        ("image/png;q=0, image/*", "webp"),  # the more specific range wins, even to forbid
        ("image/*;q=0.5, image/avif", "avif"),
        ("image/webp, image/avif", "webp"),  # a tie: the server's own order
        ("image/jpeg; charset=x; q=1.0 , image/png;q=0.9", "jpeg"),
        ("nonsense, image/webp;q=high, image/jpeg;q=0.3", "jpeg"),  # malformed ranges are ignored
        ("image/avif,image/webp,image/apng,*/*;q=0.8", "webp"),  # a browser's
    ],
)
def test_the_best_type_is_chosen(accept: str | None, expected: str) -> None:
    assert choose_format(accept, MIMES) == expected


@pytest.mark.parametrize(
    "accept", ["text/html", "image/png;q=0", "*/*;q=0", "image/*;q=0", "image/gif", "*/png", "png"]
)
def test_types_that_cannot_be_made_are_refused_with_a_list_of_those_that_can(accept: str) -> None:
    with pytest.raises(NotAcceptableError, match="image/png, image/webp, image/avif, image/jpeg") as caught:
        choose_format(accept, MIMES)
    assert caught.value.fields["offered"] == list(MIMES.values())
