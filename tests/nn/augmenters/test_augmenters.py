"""Elements stay in the group; masks have the probabilities of the formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from equivariant.actions import Points
from equivariant.errors import EquivariantError
from equivariant.groups import SO3
from equivariant.nn import GroupAugmenter, MaskAndScale


def rotations(most=math.pi):
    torch.manual_seed(0)
    network = nn.Linear(3 + 4, 3)
    return GroupAugmenter(Points(SO3()), network, lambda x: x.mean(1), most=most)


def test_elements_are_rotations_within_the_range_and_move_the_input():
    x = torch.randn(50, 12, 3)
    for most in (0.3, math.pi):
        own = rotations(most)
        g = own.elements(x, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(g @ g.mT, torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)
        assert bool((torch.linalg.det(g) > 0).all())
        angle = ((g.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1).acos()
        assert float(angle.detach().max()) <= most * 3**0.5 + 1e-3
        moved = own(x, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(moved, x @ g.mT)
        u = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
        chosen = most * torch.tanh(own.network(torch.cat([x.mean(1), u], 1)))
        torch.testing.assert_close(g, SO3().exp(chosen))
    own(x).square().sum().backward()
    assert own.network.weight.grad is not None


def constant(logit, scale=0.0):
    network = nn.Linear(3, 2)
    with torch.no_grad():
        network.weight.zero_()
        network.bias.copy_(torch.tensor([logit, scale]))
    return network


@pytest.mark.parametrize("logit", [-2.0, 0.0, 1.5])
def test_masks_open_with_the_probability_of_the_formula(logit):
    own, x = MaskAndScale(constant(logit)), torch.ones(2000, 20, 3)
    h = own.mask(x, generator=torch.Generator().manual_seed(0)).detach()
    opened = float(own.open_probability(x).detach()[0, 0])
    assert float((h > 0).float().mean()) == pytest.approx(opened, abs=0.01)
    assert float(((h == 0) | (h == 1)).float().mean()) > 0.1
    twin = torch.sigmoid(torch.tensor(logit))  # without the stretch
    assert abs(float(twin) - opened) > 0.02
    still = own.eval().mask(x).detach()[0, 0]  # no noise
    expected = (1 / (1 + math.exp(-logit / (2 / 3)))) * 1.1 - 0.05
    assert float(still) == pytest.approx(min(max(expected, 0.0), 1.0), abs=1e-6)


def test_views_are_mask_times_scale_times_series():
    own, x = MaskAndScale(constant(0.3, 0.7)), torch.randn(4, 6, 3)
    source = torch.Generator().manual_seed(2)
    h = own.mask(x, generator=torch.Generator().manual_seed(2))
    expected = (1 + 0.5 * math.tanh(0.7)) * h[:, :, None] * x
    torch.testing.assert_close(own(x, generator=source), expected)
    assert float(MaskAndScale(constant(0.0), stretch=0.0).open_probability(x).min()) == 1.0


def test_refusals():
    for call in (
        lambda: rotations(0.0), lambda: MaskAndScale(constant(0.0), beta=0.0),
        lambda: MaskAndScale(constant(0.0), stretch=-1.0),
        lambda: GroupAugmenter(Points(SO3()), nn.Linear(3, 3), lambda x: x, noise=0),
    ):  # fmt: skip
        with pytest.raises(EquivariantError):
            call()
