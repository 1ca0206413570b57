"""CRAFT's backbone computes the results of the published network, on every code path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bbmr_models.backbones.craft import Craft, from_reference, hyperparameters

from .make_golden_craft import BLOCKS, CHANNEL_STEP, CHANNELS, GOLDEN, golden_input, published_state


@pytest.fixture(scope="module")
def published() -> Craft:
    """The backbone on the golden weights; loading is strict."""
    backbone = Craft(CHANNELS, BLOCKS)
    backbone.load_state_dict(from_reference(published_state()))
    backbone.eval()
    return backbone


@pytest.fixture
def small() -> Craft:
    torch.manual_seed(0)
    return Craft(12, 1)


def gradients(backbone: Craft, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the gradient of the sum of squares by the input and by every parameter."""
    x = x.clone().requires_grad_()
    out = backbone(x)
    return out, torch.autograd.grad(out.square().sum(), [x, *backbone.parameters()])


def test_the_numbers_of_the_published_network(published: Craft) -> None:
    with torch.no_grad():
        out = published(golden_input())
    golden = torch.from_numpy(np.load(GOLDEN)["out"])
    assert torch.allclose(out[:, ::CHANNEL_STEP], golden, rtol=0, atol=1e-4)


def test_hyperparameters_are_read_from_a_state_dict(published: Craft) -> None:
    assert hyperparameters(published.state_dict()) == (CHANNELS, BLOCKS)


@pytest.mark.parametrize("channels", [0, 20, 64, 66])
def test_other_widths_are_refused(channels: int) -> None:
    with pytest.raises(ValueError, match="below 64"):
        Craft(channels, 1)


@pytest.mark.parametrize(("h", "w"), [(4, 4), (20, 36), (16, 52)])
def test_any_size_is_padded_by_its_last_row_and_column(small: Craft, h: int, w: int) -> None:
    x = torch.randn(1, 12, h, w)
    padded = F.pad(x, (0, -w % 16, 0, -h % 16), mode="replicate")
    out = small(x)
    assert out.shape == x.shape
    assert torch.allclose(out, small(padded)[..., :h, :w], atol=1e-6)


def test_a_batch_is_its_pictures_one_by_one(small: Craft) -> None:
    x = torch.randn(2, 12, 32, 48)
    with torch.no_grad():
        assert torch.allclose(small(x), torch.cat([small(picture[None]) for picture in x]), atol=1e-5)


def test_strips_give_what_the_whole_gives(small: Craft) -> None:
    x = torch.randn(1, 12, 144, 112)
    whole = small(x)
    with torch.no_grad():
        strips = small(x)
    assert torch.allclose(strips, whole, atol=1e-5)


def test_every_parameter_gets_a_gradient(small: Craft) -> None:
    _, found = gradients(small, torch.randn(2, 12, 32, 48))
    assert all(torch.isfinite(gradient).all() and gradient.abs().sum() > 0 for gradient in found)


def test_the_fast_way_has_the_gradients_of_the_plain_one(
    small: Craft, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(2, 12, 32, 48)
    with monkeypatch.context() as patched:
        for module in ("linear", "rectangles"):
            patched.setattr(f"bbmr_models.backbones.{module}.through_onednn", lambda x, weight: False)
        expected, plain = gradients(small, x)
    out, fast = gradients(small, x)
    assert torch.allclose(out, expected, atol=1e-5)
    for ours, theirs in zip(fast, plain, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5 * float(theirs.abs().max()) + 1e-6)


def test_an_inference_before_training_leaves_nothing_behind(small: Craft) -> None:
    x = torch.randn(1, 12, 32, 80)
    with torch.inference_mode():
        before = small(x)
    small(x).square().sum().backward()
    with torch.no_grad():
        for parameter in small.parameters():
            parameter -= 0.1 * parameter.grad
    with torch.inference_mode():
        after = small(x)
    assert torch.allclose(after, small(x), atol=1e-5)
    assert not torch.allclose(after, before, atol=1e-3)


def test_mixed_precision_runs(small: Craft) -> None:
    x = torch.randn(1, 12, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        out = small(x)
    out.float().sum().backward()
    assert torch.allclose(out.float(), small(x), atol=0.1)
