"""Damage to real containers is refused or changes nothing, fast and in little memory (`tests.fuzz.exhaust`)."""

from __future__ import annotations

import pytest

from tests.fuzz.exhaust import KINDS, MEGABYTES, SECONDS, containers, damaged, run

NAMES = ("photo in several rates", "alpha, ICC, EXIF, XMP", "source file (JPEG)")


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return containers()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_damage_is_refused_or_changes_nothing(name: str, kind: str, files: dict[str, bytes]) -> None:
    tally = run(name, files[name], kind, count=200, every=29 if kind == "truncated" else 1)[-1]
    assert tally.outcomes.total() >= 100
    assert not tally.findings
    assert tally.slowest_ms < 1000 * SECONDS
    assert tally.largest_mb < MEGABYTES


def test_every_truncation_is_among_them(files: dict[str, bytes]) -> None:
    data = files[NAMES[0]]
    assert [len(file) for _, file in damaged("truncated", data, 0)] == list(range(len(data)))


def test_the_containers_are_what_they_are_called() -> None:
    assert tuple(containers()) == NAMES
