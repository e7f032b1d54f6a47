"""Projections on intertwiners against null spaces and Schur; substituted layers."""

import pytest
import torch
from torch import nn

from equivariant.actions import Factor, IrrepsAction, Points, Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import O2, O3, SO2, SO3, Permutation, Product, Spin3, Torus
from equivariant.measure import local_equivariance_error, substituted, weight_defect


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense_projection(W, act_in, act_out, elements):
    """Null space of all conditions for many elements, by a singular value decomposition."""
    rows = []
    for g in elements:
        left, right = act_out.matrix(g).contiguous(), act_in.matrix(g).T.contiguous()
        rows.append(
            torch.kron(left, torch.eye(W.shape[1], dtype=W.dtype))
            - torch.kron(torch.eye(W.shape[0], dtype=W.dtype), right)
        )
    _, values, rows = torch.linalg.svd(torch.cat(rows))
    null = rows[values < 1e-9]
    return (null.T @ (null @ W.flatten())).reshape(W.shape)


@pytest.mark.parametrize(
    ("group", "inputs", "outputs"),
    [
        (SO3(), "2x0e + 2x1o + 1x2e", "1x0e + 3x1e + 1x2e"),
        (O3(), "2x0e + 2x1o + 1x1e", "1x0o + 3x1e + 1x1o"),
        (SO3(), "1x5e + 1x0e", "1x5e + 1x6e"),
    ],
    ids=str,
)
def test_projection_against_the_null_space(group, inputs, outputs):
    act_in, act_out = IrrepsAction(inputs, group), IrrepsAction(outputs, group)
    W = draw(act_out.dim, act_in.dim)
    found = weight_defect(W, act_in, act_out)
    elements = group.sample(12, generator=torch.Generator().manual_seed(2))
    expected = dense_projection(W, act_in, act_out, elements)
    torch.testing.assert_close(found.projection, expected, atol=1e-9, rtol=0)
    defect = (W - expected).square().sum() / W.square().sum()
    assert found.defect == pytest.approx(float(defect))
    again = weight_defect(found.projection, act_in, act_out)
    assert again.defect < 1e-18
    assert again.commutators.max() < 1e-9
    assert len(found.jumps) == (1 if group == O3() else 0)


def test_schur():
    vector = IrrepsAction("1x1o", SO3())
    W = draw(3, 3)
    found = weight_defect(W, vector, vector)
    torch.testing.assert_close(found.projection, W.trace() / 3 * torch.eye(3, dtype=W.dtype))
    basis = SO3().basis()
    torch.testing.assert_close(found.commutators, (basis @ W - W @ basis).norm(dim=(1, 2)))
    different = weight_defect(draw(5, 3), vector, IrrepsAction("1x2e", SO3()))
    assert different.defect == pytest.approx(1)
    plane = weight_defect(draw(2, 2), Vectors(SO2()), Vectors(SO2()))
    a, b = draw(2, 2).diagonal().mean(), (draw(2, 2)[1, 0] - draw(2, 2)[0, 1]) / 2
    torch.testing.assert_close(plane.projection, torch.stack([a, -b, b, a]).reshape(2, 2))


def test_error_of_a_linear_map_is_the_defect():
    """Over Haar measure and isotropic x, E |W g x - g W x|² = 2 |W - PW|²."""
    W, x, vector = draw(3, 3), draw(200_000, 3, seed=1), Vectors(SO3())
    g = SO3().sample(len(x), generator=torch.Generator().manual_seed(0))
    error = (vector(g, x) @ W.T - vector(g, x @ W.T)).square().sum(-1)
    expected = 2 * weight_defect(W, vector, vector).defect * W.square().sum()
    assert abs(error.mean() - expected) < 4 * error.std() / len(x) ** 0.5


def test_discrete_elements_and_products():
    vector = Vectors(SO2())
    flip = torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64)).unsqueeze(0)
    reflected = weight_defect(draw(2, 2), vector, vector, elements=flip)
    expected = draw(2, 2).trace() / 2 * torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(reflected.projection, expected)
    product = Product(SO3(), O3())
    pseudo = Factor(IrrepsAction("1x0o", O3()), product, 1)
    assert weight_defect(torch.ones(1, 1), pseudo, Trivial(1)).defect == pytest.approx(1)
    assert weight_defect(torch.ones(1, 1), pseudo, pseudo).defect < 1e-12
    assert weight_defect(torch.zeros(1, 1), pseudo, pseudo).defect == 0


def test_groups_name_the_elements_that_their_algebra_misses():
    """Schur over the whole group: a mirror forbids a - b in the plane, permutations leave two."""
    vector = Vectors(O2())
    W = draw(2, 2)
    expected = W.trace() / 2 * torch.eye(2, dtype=W.dtype)
    torch.testing.assert_close(weight_defect(W, vector, vector).projection, expected)
    found, generators = {(0, 1, 2, 3)}, Permutation(4).discrete_generators().argmax(-1)
    for _ in range(10):
        found |= {tuple(p[i] for i in h) for p in found for h in generators.tolist()}
    assert len(found) == 24


@pytest.mark.parametrize(
    "group",
    [O2(), O3(), SO3(), Spin3(), Torus(2), Permutation(1), Permutation(2), Permutation(5),
     Product(O2(), SO3(), O3())],
    ids=str,
)  # fmt: skip
def test_discrete_generators_are_elements_beyond_the_identity(group):
    found = group.discrete_generators()
    assert found.shape[1:] == (group.matrix_size,) * 2 and found.dtype == torch.float64
    assert bool(group.contains(found).all())
    for g in found:
        assert not torch.equal(g, group.identity())


def test_wrong_arguments():
    vector = Vectors(SO3())
    with pytest.raises(ShapeError, match="weights"):
        weight_defect(draw(2, 3), vector, vector)
    with pytest.raises(ConventionError, match="one group"):
        weight_defect(draw(3, 2), Vectors(SO2()), vector)


def test_substituted_layers_mend_a_model():
    action, hidden = Vectors(SO3(), channels=2), Vectors(SO3(), channels=3)
    model = nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 6)).double()
    x = draw(8, 6)

    def error(f):
        return local_equivariance_error(f, x, act_in=action, act_out=action).overall.lee.sum()

    before, clean = error(model), model(x)
    first = substituted(model, "0", act_in=action, act_out=hidden)
    assert 1e-3 < error(first) < 2 * before
    one = nn.Sequential(nn.Linear(6, 6)).double()
    assert error(one) > 1e-3
    assert error(substituted(one, "0", act_in=action, act_out=action)) < 1e-24
    assert torch.equal(model(x), clean)
    assert not model[0]._forward_hooks


def test_averaged_layers():
    group = SO2()
    angles = torch.arange(4, dtype=torch.float64).unsqueeze(1) * torch.pi / 2
    quarter = group.exp(angles)
    action, model = Vectors(group), nn.Sequential(nn.Linear(2, 2), nn.Tanh()).double()
    mended = substituted(
        nn.Sequential(nn.Tanh()), "0", act_in=action, act_out=action, elements=quarter
    )
    x = draw(8, 2)
    expected = sum((x @ g.T).tanh() @ g for g in quarter) / 4
    torch.testing.assert_close(mended(x), expected)
    for g in quarter:
        torch.testing.assert_close(mended(x @ g.T), mended(x) @ g.T)
    pair = substituted(
        nn.Bilinear(2, 2, 2).double(), "", act_in=(action, action), act_out=action,
        elements=quarter, forward=lambda x: None,
    )  # fmt: skip
    assert pair(x) is None
    layer = nn.Bilinear(2, 2, 2).double()
    two = substituted(
        layer, "", act_in=(action, action), act_out=action, elements=quarter,
        forward=lambda x: layer(*x),
    )  # fmt: skip
    y, g = draw(8, 2, seed=4), quarter[1]
    torch.testing.assert_close(two((x @ g.T, y @ g.T)), two((x, y)) @ g.T)
    with pytest.raises(ConventionError, match="average"):
        substituted(model, "1", act_in=action, act_out=action)
    with pytest.raises(ConventionError, match="named_modules"):
        substituted(model, "7", act_in=action, act_out=action)
    assert Points(group).event_dim == 2
