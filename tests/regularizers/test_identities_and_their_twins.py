"""What the theory says of the projection penalty, each beside a case in which it must fail."""

import pytest
import torch
from torch import nn

from equivariant.actions import Dual, EquivariantMaps, SpectralMaps, Tensors, Trivial
from equivariant.actions.base import Action
from equivariant.groups import O2, O3, SE2, SO2, SO3, Embedded, Octahedral, Scaling
from equivariant.regularizers import OneShot, SoftEquivariance


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Skewed(Action):
    """Turns of the plane in a basis that is not orthonormal: S ρ(g) S⁻¹."""

    S = torch.tensor([[1.0, 0.8], [0.0, 1.0]], dtype=torch.float64)

    def __init__(self):
        super().__init__(SO2(), 2)

    def forward(self, g, z):
        moved = self.S @ g.double() @ torch.linalg.inv(self.S)
        return (moved.to(z) @ z.unsqueeze(-1)).squeeze(-1)


def mean_commutator(act, W):
    """Mean over all turns, by 64 equal steps: exact, for entries are of low degree."""
    steps = torch.arange(64, dtype=torch.float64)[:, None] * (2 * torch.pi / 64)
    moved = act.matrix(SO2().exp(steps))
    return (moved @ W - W @ moved).square().sum((-2, -1)).mean()


def test_a_quarter_of_the_mean_commutator_is_the_penalty():
    """E |ρ W - W ρ|² = 2 |W - P W|² in an orthonormal basis, and not in a skewed one."""
    for act, holds in ((Tensors(SO2(), 2), True), (Skewed(), False)):
        W = normal(act.dim, act.dim)
        broken = 2 * (W - EquivariantMaps(act, act).projection(W)).square().sum()
        assert bool((mean_commutator(act, W) - broken).abs() < 1e-10) == holds


def test_the_mean_over_a_group_is_the_projection_only_of_orthogonal_actions():
    steps = torch.arange(64, dtype=torch.float64)[:, None] * (2 * torch.pi / 64)
    for act, holds in ((Tensors(SO2(), 2), True), (Skewed(), False)):
        W, moved = normal(act.dim, act.dim), act.matrix(SO2().exp(steps))
        mean = (torch.linalg.inv(moved) @ W @ moved).mean(0)
        nearest = EquivariantMaps(act, act).projection(W)
        assert bool((mean - nearest).abs().max() < 1e-10) == holds
        torch.testing.assert_close(mean_commutator(act, mean), torch.zeros(()).double())


def penalties(groups, seed):
    torch.manual_seed(seed)
    acts = (2 * Tensors(O3(), 1) + Trivial(2), Tensors(O3(), 2))
    model = nn.Linear(acts[0].dim, acts[1].dim).double()
    term = SoftEquivariance(model, groups, representations={"": acts})
    return term.penalties().detach()[0].tolist()


def test_penalties_are_ordered_where_groups_are_nested_and_only_there():
    axes = [Embedded(O2(), 3, pair) for pair in ((0, 1), (1, 2))]
    for seed in range(5):
        chain = penalties([Embedded(SO2(), 3, (0, 1)), axes[0], O3()], seed)
        assert chain == sorted(chain)
        assert penalties([Octahedral(), SO3()], seed) == sorted(
            penalties([Octahedral(), SO3()], seed)
        )
    # Turns about two axes hold neither each other: which is larger depends on the weights.
    first = [penalties(axes, seed) for seed in range(12)]
    assert len({a < b for a, b in first}) == 2


def test_the_gradient_leads_to_the_nearest_equivariant_layer():
    """One step of length 1 along W - P W ends there; along another group's it does not."""
    act = 2 * Tensors(O3(), 1)
    model = nn.Linear(6, 6, bias=False).double()
    for group, arrives in ((O3(), True), (Scaling(3), False)):
        term = SoftEquivariance(model, [group], representations={"": (act, act)})
        (slope,) = torch.autograd.grad(term(), model.weight)
        with torch.no_grad():
            moved = model.weight - slope
        nearest = SpectralMaps(act, act).projection(model.weight.detach())
        assert bool((moved - nearest).abs().max() < 1e-12) == arrives


def test_homogeneous_vectors_have_no_orthogonal_projection_by_means():
    """Shifts are unipotent: P is orthogonal all the same, and P W commutes with them."""
    act_in, act_out = Tensors(SE2(), 1), Dual(Tensors(SE2(), 1))
    for act in (act_in, act_out):
        maps, W = EquivariantMaps(act, act), normal(3, 3)
        P = maps.basis().flatten(0, 1)
        P = P @ P.T
        torch.testing.assert_close(P @ P, P)
        torch.testing.assert_close(P, P.T)
        nearest = maps.projection(W)
        moved = act.matrix(SE2().sample(20, generator=torch.Generator().manual_seed(0)))
        torch.testing.assert_close(moved @ nearest, nearest @ moved, atol=1e-10, rtol=0)
        assert float((moved @ W - W @ moved).abs().max()) > 0.1


def test_equal_penalties_keep_strengths_and_unequal_ones_do_not():
    for table, kept in (([[0.4, 0.4]], True), ([[0.4, 0.5]], False)):
        rule = OneShot(3.0, at=2, window=2, warm_up=0)
        rule.start(layers=1, groups=2)
        for _ in range(2):
            rule.update(torch.tensor(table, dtype=torch.float64))
        assert (rule.values.tolist() == pytest.approx([3.0, 3.0])) == kept
