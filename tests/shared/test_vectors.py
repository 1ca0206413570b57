"""Golden containers of version 1 are read for ever, and decode to what they were made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bbmr_shared import Container, errors
from bbmr_shared.composite import composite
from tests.shared.test_composite_spec import spec_composite
from tests.vectors import make

INDEX: dict[str, Any] = json.loads(make.INDEX.read_text())
SMALL = 25_000
"""Pixels up to which plain Python composites in about a second."""


def vector(folder: str, name: str) -> bytes:
    return (make.FOLDER / folder / f"{name}.bbmr").read_bytes()


@pytest.mark.parametrize("name", INDEX["valid"])
def test_a_vector_decodes_to_what_is_promised(name: str) -> None:
    expected = INDEX["valid"][name]
    found = json.loads(json.dumps(make.describe(Container.from_bytes(vector("v1", name)))))
    means = np.array(found.pop("base_means")), np.array(expected["base_means"])
    assert np.abs(means[0] - means[1]).max() <= 1
    assert found == {key: value for key, value in expected.items() if key != "base_means"}


@pytest.mark.parametrize("name", INDEX["valid"])
def test_a_vector_is_written_again_as_it_was(name: str) -> None:
    data = vector("v1", name)
    again = Container.from_bytes(data).to_bytes()
    assert Container.from_bytes(again) == Container.from_bytes(data)
    assert again == data


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
    for folder, key, recipes in (("v1", "valid", make.valid()), ("invalid", "invalid", make.invalid())):
        files = {path.stem for path in (make.FOLDER / folder).glob("*.bbmr")}
        assert files == set(INDEX[key]) == set(recipes)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The maker, pointed at an empty folder."""
    monkeypatch.setattr(make, "FOLDER", tmp_path)
    monkeypatch.setattr(make, "INDEX", tmp_path / "v1.json")
    return tmp_path


def test_the_maker_never_writes_a_vector_again(elsewhere: Path) -> None:
    assert make.main() == len(INDEX["valid"]) + len(INDEX["invalid"])
    kept = elsewhere / "v1" / "one-pixel.bbmr"
    kept.write_bytes(b"kept")
    assert make.main() == 0
    assert kept.read_bytes() == b"kept"
