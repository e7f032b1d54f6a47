"""The fixed head: powers of κ by rank of variance."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import EquivariantError
from equivariant.nn.heads.fixed_reweighting import FixedReweighting


def test_weights_by_loops():
    z = torch.randn(30, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = z * torch.tensor([1.0, 5.0, 2.0, 0.1, 3.0, 4.0], dtype=torch.float64)
    head = FixedReweighting(6, kappa=0.7)
    head.order_by(z)
    spread = [z[:, i].var().item() for i in range(6)]
    weights = [0.7 ** sum(other > own for other in spread) for own in spread]
    torch.testing.assert_close(head(z), z * torch.tensor(weights, dtype=torch.float64))
    twin = [0.7 ** sum(other < own for other in spread) for own in spread]  # the other way round
    assert not torch.allclose(head(z), z * torch.tensor(twin, dtype=torch.float64))


def test_limits_and_state():
    z = torch.randn(4, 3)
    torch.testing.assert_close(FixedReweighting(3, kappa=1.0)(z), z)
    head, other = FixedReweighting(3, kappa=0.5), FixedReweighting(3, kappa=0.5)
    head.order_by(torch.diag(torch.tensor([1.0, 2.0, 3.0])))
    other.load_state_dict(head.state_dict())
    torch.testing.assert_close(other(z), head(z))
    assert not list(head.parameters())
    head.order_by(torch.ones(4, 3))  # all equal: by place
    assert head.rank.tolist() == [0, 1, 2]


def test_refusals():
    for settings in ({"dim": 0, "kappa": 0.5}, {"dim": 3, "kappa": 0.0}, {"dim": 3, "kappa": 1.1}):
        with pytest.raises(EquivariantError):
            FixedReweighting(**settings)
    with pytest.raises((EquivariantError, TypeCheckError)):
        FixedReweighting(3, kappa=0.5).order_by(torch.ones(4, 2))
    with pytest.raises(EquivariantError):
        FixedReweighting(3, kappa=0.5).order_by(torch.ones(1, 3))
