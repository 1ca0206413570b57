"""Omni-SR's backbone: results of the published network, any size, gradients."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from bbmr_models.backbones import omnisr
from bbmr_models.backbones.omnisr import OmniSR

from .make_golden_omnisr import CHANNELS, FILE, GROUPS, picture, weights


@pytest.fixture(scope="module")
def golden() -> tuple[dict[str, Tensor], Tensor]:
    """The reference's state dict, and the output of its body for `picture()`."""
    with np.load(FILE) as file:
        return weights(json.loads(str(file["weights"]))), torch.from_numpy(file["output"])


@pytest.fixture
def backbone(golden: tuple[dict[str, Tensor], Tensor]) -> OmniSR:
    network = OmniSR(CHANNELS, GROUPS)
    network.load_state_dict(omnisr.from_reference(golden[0]), strict=True)
    return network


def test_it_computes_what_the_reference_computes(
    backbone: OmniSR, golden: tuple[dict[str, Tensor], Tensor]
) -> None:
    assert golden[1].std() > 0.1
    with torch.inference_mode():
        torch.testing.assert_close(backbone(picture()), golden[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(backbone(picture()).detach(), golden[1], atol=1e-4, rtol=0)


def test_with_gradients_or_without_it_computes_the_same(
    backbone: OmniSR, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bbmr_models.backbones.parts.STRIP", 256
    )  # strips of one row of windows, of several grids
    x = torch.randn(2, CHANNELS, 40, 48)
    with torch.no_grad():
        strips = backbone(x)
    torch.testing.assert_close(strips, backbone(x).detach(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(4, 4), (12, 20), (16, 36), (48, 16)])
def test_any_size_is_padded_with_its_edge_and_cropped(backbone: OmniSR, size: tuple[int, int]) -> None:
    h, w = size
    x = torch.randn(1, CHANNELS, h, w)
    down, right = (max(16, -(-side // 8) * 8) - side for side in size)
    with torch.no_grad():
        padded = backbone(torch.nn.functional.pad(x, (0, right, 0, down), mode="replicate"))
        torch.testing.assert_close(backbone(x), padded[..., :h, :w], atol=1e-4, rtol=0)


def test_the_layout_of_the_input_does_not_matter(backbone: OmniSR) -> None:
    x = torch.randn(2, CHANNELS, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(backbone(x.contiguous(memory_format=torch.channels_last)), backbone(x))


def test_two_pictures_at_once_are_two_pictures(backbone: OmniSR) -> None:
    x = torch.randn(2, CHANNELS, 24, 32)
    with torch.no_grad():
        apart = torch.cat([backbone(x[:1]), backbone(x[1:])])
        torch.testing.assert_close(backbone(x), apart, atol=1e-4, rtol=0)


def test_every_weight_gets_a_gradient(backbone: OmniSR) -> None:
    x = torch.randn(2, CHANNELS, 16, 16, requires_grad=True)
    backbone(x).square().mean().backward()
    for name, value in [*backbone.named_parameters(), ("input", x)]:
        assert value.grad is not None, name
        assert torch.isfinite(value.grad).all(), name
        assert value.grad.abs().max() > 0, name


def test_the_gradient_is_the_slope() -> None:
    """In float64, where linear layers and attention are computed by torch's own operators."""
    network = OmniSR(16, 1).double()
    x = torch.randn(1, 16, 16, 16, dtype=torch.float64, requires_grad=True)
    direction = torch.randn_like(x)
    (gradient,) = torch.autograd.grad(network(x).square().sum(), x)
    step = 1e-6
    with torch.no_grad():
        slope = (
            network(x + step * direction).square().sum() - network(x - step * direction).square().sum()
        ) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-4, atol=1e-6)


def test_a_gradient_in_float32_is_that_in_float64(backbone: OmniSR) -> None:
    """oneDNN's linear layers have a backward of their own."""
    gradients = []
    for dtype in (torch.float32, torch.float64):
        network = OmniSR(CHANNELS, GROUPS).to(dtype)
        network.load_state_dict({name: value.to(dtype) for name, value in backbone.state_dict().items()})
        network(picture().to(dtype)).square().mean().backward()
        gradients.append(
            torch.cat([p.grad.flatten().double() for p in network.parameters() if p.grad is not None])
        )
    assert (gradients[0] - gradients[1]).norm() < 1e-3 * gradients[1].norm()


def test_the_structure_is_read_from_the_weights() -> None:
    assert omnisr.hyperparameters(OmniSR(48, 3).state_dict()) == (48, 3)


def test_a_state_dict_of_another_structure_is_refused(golden: tuple[dict[str, Tensor], Tensor]) -> None:
    with pytest.raises(KeyError):
        omnisr.from_reference({**golden[0], "residual_layer.0.residual_layer.2.weight": torch.zeros(1)})
