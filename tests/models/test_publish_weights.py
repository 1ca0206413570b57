"""Publishing: weights, digest and the card's account of the run are replaced together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bbmr_models import publish_weights
from bbmr_models.cards import available, read
from bbmr_models.publish_weights import BEGIN, END, publish, read_logs
from bbmr_models.weights import build, save_weights

from .conftest import small_network

NOTES = {"steps": 200, "crops": 1600, "minutes": 90.0}


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of published weights with a card."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "own.md").write_text(f"# own\n{BEGIN}\nold text\n{END}\nthe rest\n")
    monkeypatch.setattr(publish_weights, "WEIGHTS", folder)
    monkeypatch.setattr(publish_weights, "DIGESTS", folder / "digests.json")
    monkeypatch.setattr(publish_weights, "digests", lambda: {"other": "0"})
    return folder


def log_of(path: Path, steps: range) -> Path:
    rows = [{"step": n, "minutes": n / 2, "gain_db": {"r2": [n / 1000, 0.2, 0.3]}} for n in steps]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_card_tells_of_the_run(weights: Path, tmp_path: Path) -> None:
    source = tmp_path / "model.safetensors"
    save_weights(small_network(), source, NOTES)
    logs = [log_of(tmp_path / "a", range(0, 100, 10)), log_of(tmp_path / "b", range(90, 260, 10))]
    publish(source, "own", log=logs)
    assert (weights / "own.safetensors").read_bytes() == source.read_bytes()
    recorded = json.loads((weights / "digests.json").read_text())
    assert recorded == {"other": "0", "own": read(str(source))[1].sha256}
    card = (weights / "own.md").read_text()
    assert "old text" not in card
    assert "200 steps of 8 crops (1,600 crops), 1.5 hours" in card
    assert "| 200 | 1.7 | 0.20 / 0.20 / 0.30 |" in card
    assert "| 210 |" not in card  # later than the weights
    assert 5 <= card.count("\n| ") - 1 <= 12
    assert card.endswith(f"{END}\nthe rest\n")
    assert [row["step"] for row in read_logs(logs)] == list(range(10, 260, 10))


def test_weights_with_the_metadata_of_an_early_trainer_are_completed(weights: Path, tmp_path: Path) -> None:
    model, source = small_network(), tmp_path / "early.safetensors"
    tensors = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    config = json.dumps({"widths": model.config.channels, "blocks": model.config.blocks})
    save_file(tensors, source, {"config": config, "notes": json.dumps(NOTES)})
    publish(source, "own")
    again = build("own", (weights / "own.safetensors").read_bytes())
    assert (again.config.channels, again.config.blocks, again.config.lossy) == ((8, 12, 16), 1, True)
    assert all((value == again.state_dict()[name].half()).all() for name, value in tensors.items())


def test_weights_for_restoration_are_joined(weights: Path, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("others", "restoration", "wider")]
    models = [small_network(seed, channels=(8, 12, 16 + seed // 2)) for seed in range(3)]
    for path, model in zip(paths, models, strict=True):
        save_weights(model, path, NOTES)
    publish(paths[0], "own", paths[1])
    again = build("own", (weights / "own.safetensors").read_bytes())
    assert again.config == replace(models[0].config, restoration=True)
    assert torch.equal(again.head.weight, models[0].head.weight.half().float())
    assert torch.equal(again.restoration.head.weight, models[1].head.weight.half().float())
    assert "Restoration: 200 steps" in (weights / "own.md").read_text()
    with pytest.raises(ValueError, match="different configurations"):
        publish(paths[0], "own", paths[2])


def test_weights_that_are_too_large_are_not_published(weights: Path, tmp_path: Path) -> None:
    source = tmp_path / "large.safetensors"
    save_weights(small_network(channels=(256, 256, 256)), source, NOTES)
    with pytest.raises(ValueError, match="at most"):
        publish(source, "own")
    assert not (weights / "own.safetensors").exists()


def test_the_run_in_a_shipped_card_is_that_of_its_weights() -> None:
    for name, card in available().items():
        page = (publish_weights.WEIGHTS / f"{name}.md").read_text("utf-8")
        if BEGIN in page:
            assert f"{card.notes['steps']:,} steps" in page
            assert f"{card.parameters:,} parameters" in page
