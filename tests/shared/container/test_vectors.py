"""Golden containers of version 1 are read for ever, and decode to what they were made of."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bbmr_shared import Container, errors
from bbmr_shared.compositing.composite import composite, preview
from bbmr_shared.container.frame import digest, read_header
from tests.shared.compositing.test_composite_spec import spec_composite
from tests.vectors import make

INDEX: dict[str, Any] = json.loads(make.INDEX.read_text())
PINNED, PINNED_DIGEST = 192, "49ce9049e9cbf25121c7f8ac918f5b89"
"""So many lines of `digests.txt`, and their digest: whoever makes a file anew has to change it here, too."""
SMALL = 25_000
"""Pixels up to which plain Python composites in about a second."""


def vector(folder: str, name: str) -> bytes:
    return (make.FOLDER / folder / f"{name}.bbmr").read_bytes()


@pytest.mark.parametrize("name", INDEX["valid"])
def test_a_vector_is_read_as_promised_and_written_as_it_was(name: str) -> None:
    data = vector("v1", name)
    read = Container.from_bytes(data)

    expected = dict(INDEX["valid"][name])
    canonical = expected.pop("canonical", True)
    found = json.loads(json.dumps(make.describe(read)))
    for means in ("base_means", "alpha_mean"):
        assert np.abs(np.array(found.pop(means, 0)) - np.array(expected.pop(means, 0))).max() <= 1
    assert found == expected

    again = read.to_bytes()
    assert Container.from_bytes(again) == read
    assert (again == data) == canonical, (
        "written byte for byte, unless a writer of another kind made the file"
    )

    header = read_header(data)
    assert (header.width, header.height, header.mode) == (read.width, read.height, preview(read).mode)
    assert read_header(io.BytesIO(data)) == header


@pytest.mark.parametrize(
    "name", [name for name, facts in INDEX["valid"].items() if facts["width"] * facts["height"] <= SMALL]
)
def test_a_vector_composites_as_the_specification_says(name: str) -> None:
    read = Container.from_bytes(vector("v1", name))
    planes = read.decode_planes()
    expected = spec_composite(planes, read.rate_map, read.grid)
    assert composite(planes, read.rate_map, read.grid).tolist() == expected


@pytest.mark.parametrize("name", INDEX["invalid"])
def test_a_broken_vector_is_refused_with_its_error(name: str) -> None:
    kind = getattr(errors, INDEX["invalid"][name])
    with pytest.raises(errors.BbmrError) as caught:
        Container.from_bytes(vector("invalid", name)).decode_planes()
    assert type(caught.value) is kind


def test_the_index_lists_every_file_and_every_recipe() -> None:
    for folder, key, recipes in (
        ("v1", "valid", set(make.valid())),
        ("invalid", "invalid", set(make.invalid())),
    ):
        files = {path.stem for path in (make.FOLDER / folder).glob("*.bbmr")}
        assert files == set(INDEX[key]) == recipes


def test_every_broken_vector_has_its_reason() -> None:
    assert INDEX["why"].keys() == INDEX["invalid"].keys()
    assert all(INDEX["why"].values())


def test_no_file_was_ever_changed() -> None:
    lines = make.DIGESTS.read_text().splitlines()
    pinned = dict(reversed(line.split("  ")) for line in lines)
    files = [path for folder in ("v1", "invalid") for path in (make.FOLDER / folder).glob("*.bbmr")]
    assert {f"{path.parent.name}/{path.name}": digest(path.read_bytes()).hex() for path in files} == pinned
    # Later vectors are added below these; the lines that were there once stay as they are.
    assert digest("\n".join(lines[:PINNED]).encode()).hex() == PINNED_DIGEST


def test_they_are_small() -> None:
    assert sum(path.stat().st_size for path in make.FOLDER.rglob("*.bbmr")) < 700_000


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The maker, pointed at an empty folder."""
    monkeypatch.setattr(make, "FOLDER", tmp_path)
    monkeypatch.setattr(make, "INDEX", tmp_path / "v1.json")
    monkeypatch.setattr(make, "DIGESTS", tmp_path / "digests.txt")
    return tmp_path


def test_the_maker_never_writes_a_vector_again(elsewhere: Path) -> None:
    assert make.main() == len(INDEX["valid"]) + len(INDEX["invalid"])
    kept = elsewhere / "v1" / "one-pixel.bbmr"
    kept.write_bytes(b"kept")
    assert make.main() == 0
    assert kept.read_bytes() == b"kept"
