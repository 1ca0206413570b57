"""The networks: untrained they are close to the composite, and their field of view is bounded."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from bbmr_models.config import LOG_ERRORS
from bbmr_models.jointsr import Canvas, JointSR, JointSRConfig
from bbmr_models.networks import make_network, structure
from bbmr_models.training.config import read_config
from bbmr_shared.images.codecs import coding_error_byte

from .conftest import small_backbone, small_network

NETWORKS = [small_network, small_backbone]


def canvas(side: int = 128, rate: int = 4, error: int = 0, seed: int = 1) -> Canvas:
    generator = torch.Generator().manual_seed(seed)
    picture = torch.rand((1, 3, side, side), generator=generator)
    pool = torch.nn.functional.avg_pool2d
    rates = torch.full((1, side // 16, side // 16), rate)
    errors = torch.full(rates.shape, error)
    return Canvas(picture, rates, errors, None, pool(picture, 2), pool(picture, 4))


@pytest.mark.parametrize("backbone", ["light", "omnisr"])
def test_an_untrained_network_is_close_to_the_composite(backbone: str) -> None:
    torch.manual_seed(0)
    model = make_network(JointSRConfig(backbone, (32, 48, 64) if backbone == "light" else 32))
    with torch.inference_mode():
        assert model.correction(canvas()).abs().mean() < 0.05


@pytest.mark.parametrize("blocks", [1, 2])
def test_the_radius_bounds_what_a_pixel_depends_on(blocks: int) -> None:
    model = small_network(blocks=blocks)
    radius = model.config.radius
    assert radius is not None
    seen = canvas(256, rate=2)
    seen.base.requires_grad_()
    model.correction(seen)[0, :, 128, 128].sum().backward()
    assert seen.base.grad is not None
    farthest = (seen.base.grad[0].abs().sum(0).nonzero() - 128).abs().max()
    assert radius - 8 <= farthest <= radius


def test_the_deblock_branch_is_a_switch() -> None:
    without = small_backbone(deblock=0)
    assert without.deblock is None
    assert without.correction(canvas()).shape == (1, 3, 128, 128)


@pytest.mark.parametrize("make", NETWORKS)
def test_rate_and_coding_error_are_inputs(make: type[JointSR]) -> None:
    model, seen = make(), canvas()
    with torch.no_grad():
        model.stem.weight[:, -1] = 0.1  # zero in a published backbone until it is trained
        plain = model.correction(seen)
        assert not torch.equal(plain, model.correction(seen._replace(rate=seen.rate * 2)))
        assert not torch.equal(plain, model.correction(seen._replace(error=seen.error + 100)))


@pytest.mark.parametrize("make", NETWORKS)
def test_known_samples_stay_as_they_are(make: type[JointSR]) -> None:
    model = make(gain=5)
    exact = canvas(64, rate=1)
    assert torch.equal(model(exact), exact.base)
    coded = canvas(64, rate=1, error=50)
    assert not torch.equal(model(coded), coded.base)


def test_coded_blocks_at_rate_1_have_weights_of_their_own() -> None:
    model = small_network(restoration=True)
    assert model.restoration is not None
    for rate, error, own in ((1, 80, False), (2, 80, True), (2, 0, True)):
        seen = canvas(64, rate, error)
        before = model.correction(seen)
        with torch.no_grad():
            model.restoration.head.bias.add_(0.1)
        assert torch.equal(before, model.correction(seen)) == own


def test_error_bytes_are_read_as_mean_squared_errors() -> None:
    for mse in (0.5, 7.0, 900.0):
        assert LOG_ERRORS[coding_error_byte(mse)] == pytest.approx(np.log2(1 + mse) / 8, abs=0.01)
    assert LOG_ERRORS[0] == 0
    assert LOG_ERRORS.shape == (256,)


@pytest.mark.parametrize(
    "config",
    [
        JointSRConfig(),
        JointSRConfig("light", (16, 24, 40), 3),
        JointSRConfig("light", (8, 12, 16), 1, restoration=True),
        JointSRConfig("omnisr", 64, 2, 0),
        JointSRConfig("omnisr", 64, 2, 16),
        JointSRConfig("craft", 48, 2, 16),
    ],
)
def test_the_structure_is_read_from_the_weights(config: JointSRConfig) -> None:
    state = make_network(config).state_dict()
    expected = config.backbone, config.widths, config.blocks, config.deblock, config.restoration
    assert structure(state) == expected


def test_the_structure_of_other_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="fit no known backbone"):
        structure({"backbone.conv.weight": torch.zeros(1)})


def test_a_configuration_survives_its_dictionary() -> None:
    config = JointSRConfig(channels=(4, 8, 12), rates=(2, 4, 8), block=64, lossy=True)
    assert JointSRConfig.from_dict(config.to_dict()) == config
    assert JointSRConfig.from_dict({}) == JointSRConfig()
    assert JointSRConfig.from_dict({"backbone": "craft", "channels": 48}).widths == (48,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"backbone": "vgg"},
        {"channels": (0, 8, 8)},
        {"channels": 48},
        {"backbone": "omnisr"},
        {"blocks": 0},
        {"deblock": -1},
        {"deblock": 8},
        {"backbone": "omnisr", "channels": 16, "restoration": True},
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
    assert config.radius is None or config.radius <= config.halo < config.radius + 16
