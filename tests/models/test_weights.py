"""Weights: errors in a file are named, and a loaded model equals the saved one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bbmr_models import available, cards, load
from bbmr_models.weights import SHIPPED, save_weights
from bbmr_shared.errors import UnknownModelError, UsageError, WeightsError

from .conftest import small_network


def test_shipped_weights_are_small_and_have_a_card() -> None:
    cards = available()
    assert "light" in cards
    for name, card in cards.items():
        assert card.bytes <= 4 * 2**20
        assert card.parameters == sum(tensor.numel() for tensor in load(name).state_dict().values())
        assert (Path(str(SHIPPED)) / f"{name}.md").is_file(), f"{name} has no model card"


def test_a_saved_model_comes_back(tmp_path: Path) -> None:
    model = small_network(channels=(8, 12, 12))
    path = tmp_path / "x.safetensors"
    save_weights(model, path, {"steps": 3}, torch.float32)
    again = load(str(path))
    assert again.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_every_truncation_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_weights(small_network(), path, {})
    data = path.read_bytes()
    for length in (0, 3, 8, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(WeightsError, match="cut short") as caught:
            load(str(path))
        assert f" {length} " in str(caught.value)


def test_other_files_and_architectures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"not weights at all" * 10)
    with pytest.raises(WeightsError, match="not a bbmr weights file"):
        load(str(path))
    save_weights(small_network(), path, {})
    path.write_bytes(path.read_bytes().replace(b'\\"channels\\": [8', b'\\"channels\\": [9'))
    with pytest.raises(WeightsError, match="its configuration says"):
        load(str(path))
    with pytest.raises(WeightsError, match="cannot be read"):
        load(str(tmp_path / "missing.safetensors"))


def test_a_changed_shipped_file_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "digests", lambda: {"light": "0" * 64})
    with pytest.raises(WeightsError, match="damaged"):
        load("light")


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UnknownModelError, match="light"):
        load("huge")


@pytest.mark.parametrize(
    "error", [AssertionError("Torch not compiled with CUDA enabled"), RuntimeError("no\nGPU")]
)
def test_a_device_that_is_not_there_is_one_clear_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(self: torch.nn.Module, device: str) -> torch.nn.Module:
        raise error

    monkeypatch.setattr(torch.nn.Module, "to", absent)
    with pytest.raises(UsageError, match=r"cannot be put on the device 'cuda'.*try cpu") as caught:
        load("light", "cuda")
    assert "\n" not in str(caught.value)


def test_a_device_that_is_no_device() -> None:
    with pytest.raises(UsageError, match="device 'toaster'"):
        load("light", "toaster")
