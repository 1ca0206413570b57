"""The network: untrained it is close to the composite, and its field of view is bounded."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import torch

from bbmr_models.backbones import BACKBONES
from bbmr_models.jointsr import Canvas, JointSR, JointSRConfig, structure
from bbmr_models.training.config import read_config

from .conftest import small_network


def canvas(side: int = 128, rate: int = 4, seed: int = 1) -> Canvas:
    generator = torch.Generator().manual_seed(seed)
    picture = torch.rand((1, 3, side, side), generator=generator)
    pool = torch.nn.functional.avg_pool2d
    rates = torch.full((1, 1, side // 4, side // 4), rate)
    return Canvas(picture, pool(picture, 2), pool(picture, 4), rates, torch.zeros(rates.shape))


def test_an_untrained_network_is_close_to_the_composite() -> None:
    torch.manual_seed(0)
    model = JointSR(JointSRConfig())
    with torch.inference_mode():
        assert model.correction(canvas()).abs().mean() < 0.05


def test_the_radius_bounds_what_a_pixel_depends_on() -> None:
    model = small_network(blocks=2)
    assert model.radius is not None
    seen = canvas(rate=2)
    for tensor in (seen.base, seen.half, seen.quarter):
        tensor.requires_grad_()
    model.correction(seen)[0, :, 64, 64].sum().backward()
    for tensor, scale in ((seen.base, 1), (seen.half, 2), (seen.quarter, 4)):
        assert tensor.grad is not None
        touched = tensor.grad[0].abs().sum(0).nonzero() * scale
        assert (touched - 64).abs().max() <= model.radius


def test_the_deblock_branch_is_a_switch() -> None:
    without = JointSR(JointSRConfig(deblock=0))
    assert without.deblock is None
    assert without.correction(canvas()).shape == (1, 3, 128, 128)


def test_rate_and_coding_error_are_inputs() -> None:
    model, seen = small_network(), canvas()
    with torch.no_grad():
        model.stem.weight[:, -1] = 0.1  # zero until it is trained
        plain = model.correction(seen)
        assert not torch.equal(plain, model.correction(seen._replace(rate=seen.rate * 2)))
        assert not torch.equal(plain, model.correction(seen._replace(error=seen.error + 100)))


@pytest.mark.parametrize("name", sorted(BACKBONES))
@pytest.mark.parametrize("deblock", [0, 16])
def test_the_structure_is_read_from_the_weights(name: str, deblock: int) -> None:
    channels = {"craft": 48}.get(name, 64)
    state = JointSR(JointSRConfig(name, channels, 2, deblock)).state_dict()
    assert structure(state) == (name, channels, 2, deblock)


def test_the_structure_of_other_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="fit no known backbone"):
        structure({"backbone.conv.weight": torch.zeros(1)})


def test_a_configuration_survives_its_dictionary() -> None:
    config = JointSRConfig(rates=(2, 4, 8), block=64, lossy=True)
    assert JointSRConfig.from_dict(config.to_dict()) == config
    assert JointSRConfig.from_dict({}) == JointSRConfig()


@pytest.mark.parametrize(
    "wrong",
    [
        {"backbone": "vgg"},
        {"channels": 0},
        {"blocks": 0},
        {"deblock": -1},
        {"tile": 100},
        {"halo": 10},
        {"rates": (3,)},
        {"rates": ()},
        {"block": 100},
        {"depth": 4},
    ],
)
def test_impossible_configurations_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        JointSRConfig.from_dict(wrong)


@pytest.mark.parametrize(
    "path", sorted(files("bbmr_models").joinpath("configs").iterdir(), key=str), ids=lambda path: path.stem
)
def test_the_halo_of_every_configuration_is_as_wide_as_what_a_pixel_sees(path: Path) -> None:
    """Then reconstruction in tiles equals one pass over the whole picture, where the backbone allows it."""
    config, _ = read_config(path.stem, {}, {})
    radius = JointSR(config).radius
    assert radius is None or radius <= config.halo < radius + 16
    assert config.radius == radius  # as it is told without torch
