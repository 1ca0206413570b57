"""The tree of errors, and the limits: stable names, statuses and one-line messages."""

from __future__ import annotations

import pickle
from dataclasses import fields

import pytest

from bbmr_shared import errors
from bbmr_shared.limits import DEFAULT_LIMITS, Limits

ALL = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.BbmrError) and kind is not errors.BbmrError
]
SLUGS = {
    "UsageError": ("usage", 422),
    "InvalidArgumentError": ("usage", 422),
    "PictureError": ("unreadable-picture", 400),
    "LimitExceededError": ("too-large", 413),
    "ContainerError": ("unreadable-container", 400),
    "NotAContainerError": ("unreadable-container", 400),
    "TruncatedContainerError": ("unreadable-container", 400),
    "DigestMismatchError": ("unreadable-container", 400),
    "MalformedContainerError": ("unreadable-container", 400),
    "PlaneError": ("unreadable-container", 400),
    "UnsupportedContainerError": ("unsupported-container", 422),
    "ModelError": ("model", 500),
    "UnknownModelError": ("unknown-model", 422),
    "IncompatibleModelError": ("incompatible-model", 422),
    "WeightsError": ("weights", 422),
    "ServiceError": ("service", 502),
    "ServerUnreachableError": ("server-unreachable", 502),
    "ServerTimeoutError": ("server-timeout", 504),
    "BadAnswerError": ("bad-answer", 502),
    "ServerRefusedError": ("server-refused", 502),
}


def test_slugs_and_statuses_are_what_was_released() -> None:
    assert {kind.__name__: (kind.slug, kind.status) for kind in ALL} == SLUGS


def test_the_drawn_tree_lists_every_error_under_its_parent() -> None:
    lines = (errors.__doc__ or "").splitlines()
    drawn: dict[int, str] = {}
    parents = {}
    for line in lines:
        name = next((word for word in line.split() if word.endswith("Error")), None)
        if name is None or not line.startswith("    "):
            continue
        depth = line.index(name)
        drawn[depth] = name
        above = [level for level in drawn if level < depth]
        parents[name] = drawn[max(above)] if above else "Exception"
    assert parents == {kind.__name__: kind.__mro__[1].__name__ for kind in (errors.BbmrError, *ALL)}


@pytest.mark.parametrize("kind", ALL)
def test_an_error_survives_a_process_boundary(kind: type[errors.BbmrError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what is wrong")))
    assert type(error) is kind
    assert str(error) == "what is wrong"
    assert error.problem_type == "urn:bbmr:problem:" + kind.slug


def test_a_refusal_carries_the_server_s_problem() -> None:
    error = errors.ServerRefusedError("no", problem={"type": "urn:x"}, status_code=413)
    again = pickle.loads(pickle.dumps(error))
    assert (again.problem, again.status_code) == ({"type": "urn:x"}, 413)


def test_foreign_messages_become_one_line() -> None:
    assert errors.one_line(ValueError("a\n  b\tc")) == "a b c"
    assert errors.one_line(KeyError()) == "KeyError"
    assert len(errors.one_line(ValueError("x" * 5000))) == 160


@pytest.mark.parametrize(
    ("width", "height", "fits"),
    [(1, 1, True), (65_535, 1, True), (65_536, 1, False), (16_384, 8_192, True), (16_384, 8_193, False)],
)
def test_dimensions(width: int, height: int, fits: bool) -> None:
    if fits:
        DEFAULT_LIMITS.check_dimensions(width, height)
        DEFAULT_LIMITS.check_dimensions(height, width)
        return
    with pytest.raises(errors.LimitExceededError, match=f"{width}×{height}"):
        DEFAULT_LIMITS.check_dimensions(width, height)


def test_every_limit_is_positive_and_the_header_holds_its_metadata() -> None:
    assert all(getattr(DEFAULT_LIMITS, field.name) > 0 for field in fields(Limits))
    metadata = DEFAULT_LIMITS.max_icc_bytes + DEFAULT_LIMITS.max_exif_bytes + DEFAULT_LIMITS.max_xmp_bytes
    blocks = DEFAULT_LIMITS.max_pixels // 16**2
    maps = 2 * (7 * blocks // 3 // 8 + 1)
    assert metadata + maps < DEFAULT_LIMITS.max_header_bytes
