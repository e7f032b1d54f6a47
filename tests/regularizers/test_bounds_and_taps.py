"""Graded subspaces, relaxation per layer, taps; every bound above what is measured, with a twin."""

import pytest
import torch
from torch import nn

from equivariant.actions import EquivariantMaps, ImageWarp, IrrepsAction, Tensors, Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import O2, O3, SL, SO2, SO3, Embedded, Octahedral
from equivariant.regularizers import (
    FeatureTap,
    GradedMaps,
    LayerRelaxation,
    SoftEquivariance,
    chain_bound,
    soften,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


ACT = Trivial(2, SO3()) + 2 * Tensors(SO3(), 1) + Tensors(SO3(), 2)


def commutator(W, act_in, act_out):
    conditions = EquivariantMaps(act_in, act_out).conditions
    return float(torch.from_numpy(conditions.residuals(W.numpy())).square().sum().sqrt())


def test_graded_subspaces_run_from_exact_to_free():
    W, maps = normal(ACT.dim, ACT.dim), GradedMaps(ACT, ACT)
    nearest = EquivariantMaps(ACT, ACT).projection(W)
    torch.testing.assert_close(maps.projection(W, 0.0), nearest, atol=1e-12, rtol=0)
    torch.testing.assert_close(maps.projection(W, 100.0), W, atol=1e-12, rtol=0)
    kept = []
    for softness in (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0):
        soft = maps.projection(W, softness)
        kept.append(float(soft.norm()))
        torch.testing.assert_close(maps.projection(soft, softness), soft, atol=1e-12, rtol=0)
        assert commutator(soft, ACT, ACT) <= softness * float(soft.norm()) + 1e-9
    assert kept == sorted(kept)
    assert commutator(W, ACT, ACT) > 1.0 * float(W.norm())  # free weights break the bound


def test_the_graded_bound_holds_for_elements():
    """|ρ(g) W - W ρ(g)| <= |t| b |W| for g = exp(t); half of it does not."""
    W, maps, worst = normal(ACT.dim, ACT.dim), GradedMaps(ACT, ACT), 0.0
    softness = 2.0
    soft = maps.projection(W, softness)
    for seed in range(200):
        t = 0.2 * normal(3, seed=seed)
        moved = ACT.matrix(SO3().exp(t))
        error = float((moved @ soft - soft @ moved).norm())
        worst = max(worst, error / float(t.norm() * softness * soft.norm()))
    assert worst <= 1.0
    free = normal(3, 3)  # the twin: weights that were not projected, asked for a small softness
    vector, twin = Tensors(SO3(), 1), []
    for seed in range(50):
        t = 0.2 * normal(3, seed=seed)
        moved = vector.matrix(SO3().exp(t))
        error = float((moved @ free - free @ moved).norm())
        twin.append(error / float(t.norm() * 0.3 * free.norm()))
    assert max(twin) > 1.0


def test_softened_models():
    acts = {"0": (2 * Tensors(SO3(), 1), ACT), "2": (ACT, Tensors(SO3(), 1))}
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, ACT.dim), nn.Identity(), nn.Linear(ACT.dim, 3)).double()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    rows = soften(model, SO3(), 100.0, representations=acts)
    assert [row.kept for row in rows] == pytest.approx([1.0, 1.0])
    torch.testing.assert_close(list(model.parameters()), before)
    rows = soften(model, SO3(), 0.0, representations=acts)
    assert all(0 < row.kept < 1 and row.bound == 0 for row in rows)
    g, x = SO3().sample(8, generator=torch.Generator().manual_seed(0)), normal(8, 6)
    torch.testing.assert_close(
        model(acts["0"][0](g, x)), acts["2"][1](g, model(x)), atol=1e-12, rtol=0
    )
    conv = nn.Conv2d(3, 3, 3).double()
    vector = Tensors(SO3(), 1)
    soften(conv, SO3(), 0.0, representations={"": (vector, vector)})
    torch.testing.assert_close(conv.weight[0, 0], conv.weight[1, 1])
    assert float(conv.weight[0, 1].detach().abs().max()) < 1e-12
    with pytest.raises(ConventionError, match="at least 0"):
        GradedMaps(vector, vector).projection(normal(3, 3), -1.0)
    with pytest.raises(ShapeError, match="weights"):
        GradedMaps(vector, vector).projection(normal(2, 3), 1.0)
    with pytest.raises(ConventionError, match="1024"):
        GradedMaps(Tensors(SO3(), 4), Tensors(SO3(), 4))


class _Shrink(nn.Module):
    """Lengths of vectors, made shorter by a constant: of Lipschitz constant 1, equivariant."""

    def forward(self, x):
        scalars, vectors = x[..., :4].relu(), x[..., 4:].unflatten(-1, (-1, 3))
        length = vectors.norm(dim=-1, keepdim=True)
        shorter = vectors * ((length - 0.1).clamp(min=0.0) / length.clamp(min=1e-12))
        return torch.cat([scalars, shorter.flatten(-2)], -1)


def chain(nonlinearity, broken):
    torch.manual_seed(0)
    group = O3()
    hidden = Trivial(4, group) + 5 * Tensors(group, 1)
    ends = [2 * Tensors(group, 1), hidden, hidden, Tensors(group, 1)]
    layers, acts = [], {}
    for k in range(3):
        linear = nn.Linear(ends[k].dim, ends[k + 1].dim, bias=False).double()
        with torch.no_grad():
            nearest = EquivariantMaps(ends[k], ends[k + 1]).projection(linear.weight)
            linear.weight.copy_(nearest + broken * (linear.weight - nearest))
        acts[str(len(layers))] = (ends[k], ends[k + 1])
        layers += [linear, nonlinearity] if k < 2 else [linear]
    model = nn.Sequential(*layers)
    term = SoftEquivariance(model, {"O(3)": group}, representations=acts)
    g = group.sample(2000, generator=torch.Generator().manual_seed(0))
    x = 100 * normal(6).expand(2000, -1)
    moved = model(ends[0](g, x)) - ends[-1](g, model(x))
    measured = float(moved.detach().square().sum(-1).mean().sqrt() / x[0].norm())
    return measured, float(chain_bound(term)[0])


@pytest.mark.parametrize("broken", [0.0, 0.01, 0.1, 1.0])
def test_the_bound_of_a_chain_holds(broken):
    measured, bound = chain(_Shrink(), broken)
    assert measured <= bound + 1e-12
    if broken:
        assert measured > 1e-3 * bound
    else:  # the twin: vectors rectified entry by entry, which no bound on the weights can see
        assert chain(nn.ReLU(), broken)[0] > bound


def test_chains_that_the_bound_refuses():
    vector = Tensors(SO3(), 1)
    for model, group in ((nn.Linear(3, 3), SO3()), (nn.Conv1d(3, 3, 2, bias=False), SO3())):
        term = SoftEquivariance(model, [group], representations={"": (vector, vector)})
        with pytest.raises(ConventionError, match="chain"):
            chain_bound(term)
    plane = Tensors(SL(2), 1)
    term = SoftEquivariance(nn.Linear(2, 2, bias=False), [SL(2)],
                            representations={"": (plane, plane)})  # fmt: skip
    with pytest.raises(ConventionError, match="compact"):
        chain_bound(term)


@pytest.mark.parametrize("stretch", [0.0, 1.0])
def test_layers_relax_as_far_as_their_data_ask(stretch):
    """Noisy targets that are symmetric end equivariant; others stay free and reach the target."""
    torch.manual_seed(0)
    vector = Tensors(SO3(), 1)
    model = nn.Linear(3, 3, bias=False).double()
    relaxation = LayerRelaxation(model, SO3(), representations={"": (vector, vector)}, decay=0.95)
    term = SoftEquivariance(model, [SO3()], representations={"": (vector, vector)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    target = torch.diag(torch.tensor([1.0, 1.0, 1.0 + stretch])).double()
    for _ in range(400):
        x = torch.randn(16, 3).double()
        optimizer.zero_grad()
        (model(x) - x @ target.T - 0.3 * torch.randn(16, 3)).square().mean().backward()
        optimizer.step()
        relaxation.step()
    level = float(term.relative()[0, 0])
    if stretch:
        assert level > 1e-3
    else:
        assert level < 1e-4
    with pytest.raises(ConventionError, match="gradients"):
        optimizer.zero_grad()
        relaxation.step()


def test_taps_compare_inner_features():
    torch.manual_seed(0)
    act = Vectors(SO3(), 2)
    model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Tanh(), nn.Linear(6, 1)).double()
    g = SO3().sample(8, generator=torch.Generator().manual_seed(0))
    x = normal(8, 6)
    with FeatureTap(model[0], act) as tap:
        model(x), model(act(g, x))
        term = tap(g)
        still, moved = model[0](x), model[0](act(g, x))
        error = (moved - act(g, still)).square().sum(1)
        size = 0.5 * (moved.square().sum(1) + still.square().sum(1))
        torch.testing.assert_close(term, (error / size).mean())
        term.backward()
        assert model[0].weight.grad.norm() > 0
        with torch.no_grad():
            model[0].weight.copy_(EquivariantMaps(act, act).projection(model[0].weight))
        tap._seen.clear()
        model(x), model(act(g, x))
        assert float(tap(g).detach()) < 1e-20
        with pytest.raises(ConventionError, match="two passes"):
            tap(g)
        model(x), model(x[:4])
        with pytest.raises(ShapeError, match="outputs"):
            tap(g)
    model(x)
    assert not tap._seen


def test_taps_of_pictures():
    """A convolution whose kernel is the same in all quarter turns commutes with them."""
    kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, -1.0, 2.0], [1.0, 2.0, 1.0]]).double()
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False).double()
    pictures, quarter = normal(2, 1, 9, 9), torch.full((2, 1), torch.pi / 2).double()
    warp = ImageWarp(SO2(), (9, 9))
    g = SO2().exp(quarter)
    with FeatureTap(conv, warp) as tap:
        conv(pictures), conv(warp(g, pictures))
        assert float(tap(g).detach()) > 0.05
        with torch.no_grad():
            conv.weight.copy_(kernel)
        conv(pictures), conv(warp(g, pictures))
        assert float(tap(g).detach()) < 1e-12


def test_irreps_and_tensors_give_one_term():
    """The same layer in two bases of the same representation."""
    irreps = IrrepsAction("1x0e + 1x1o", O3())
    tensors = Trivial(1) + Tensors(O3(), 1)
    model = nn.Linear(4, 4).double()
    groups = {"cube": Octahedral(), "about z": Embedded(O2(), 3, (0, 1))}
    values = []
    for act in (irreps, tensors):
        try:
            term = SoftEquivariance(model, groups, representations={"": (act, act)})
        except ConventionError:
            continue
        values.append(term.penalties().detach())
    assert len(values) == 2
    torch.testing.assert_close(values[0], values[1])
