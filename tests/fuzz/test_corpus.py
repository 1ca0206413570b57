"""The corpus: every malformed file has a reason, and becomes what its line in the manifest says."""

from __future__ import annotations

import json
import time
from hashlib import blake2b

import pytest

from bbmr_shared.limits import DEFAULT_LIMITS
from tests.fuzz.damage import CORPUS
from tests.fuzz.promises import check_preview, check_read
from tests.fuzz.recipes import MANIFEST, recipes

ENTRIES = json.loads(MANIFEST.read_text())
MAX_BYTES = 500_000
SECONDS = 0.2


@pytest.mark.parametrize("name", ENTRIES)
def test_a_file_becomes_what_the_manifest_says(name: str) -> None:
    data = (CORPUS / f"{name}.bbmr").read_bytes()
    began = time.process_time()
    assert check_preview(data, DEFAULT_LIMITS, verify=True) == ENTRIES[name]["outcome"]
    assert time.process_time() - began < SECONDS
    check_read(data)


def test_every_file_is_in_the_manifest_with_a_reason() -> None:
    assert {path.name for path in CORPUS.iterdir()} == {f"{name}.bbmr" for name in ENTRIES} | {MANIFEST.name}
    assert list(ENTRIES) == sorted(ENTRIES)
    for name, entry in ENTRIES.items():
        assert set(entry) == {"outcome", "why"}, name
        assert entry["why"].isprintable(), name
        assert 5 < len(entry["why"]) < 100, name


def test_every_recipe_is_there() -> None:
    assert {name: why for name, (why, _) in recipes().items()}.items() <= {
        name: entry["why"] for name, entry in ENTRIES.items()
    }.items()


def test_the_corpus_is_small_and_has_nothing_twice() -> None:
    digests = {}
    for path in CORPUS.glob("*.bbmr"):
        twin = digests.setdefault(blake2b(path.read_bytes()).digest(), path)
        assert twin is path, f"{path.name} is {twin.name}"
    assert sum(path.stat().st_size for path in CORPUS.iterdir()) < MAX_BYTES
