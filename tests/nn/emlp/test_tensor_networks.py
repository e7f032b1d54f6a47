"""Networks on matrix groups commute with them; free ones do where every layer was projected."""

import pytest
import torch
from torch import nn

from equivariant.actions import EquivariantMaps, IrrepsAction, Tensors, Trivial, uniform_tensors
from equivariant.errors import ConventionError
from equivariant.groups import (
    O3,
    SE3,
    SL,
    SO2,
    SO3,
    Embedded,
    Lorentz,
    Octahedral,
    Permutation,
    ScaledRotations,
)  # fmt: skip
from equivariant.nn.emlp import (
    DeclaredLinear,
    EquivariantLinear,
    PlainNetwork,
    ResidualLinear,
    TensorBilinear,
    TensorFrameAverage,
    TensorGate,
    TensorNetwork,
)
from equivariant.regularizers import SoftEquivariance
from equivariant.testing import assert_equivariant


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def elements(group, count=8):
    return group.sample(count, generator=torch.Generator().manual_seed(0), scale=0.3)


def commutes(model, act_in, act_out, group, *, tolerance=1e-9):
    g, x = elements(group), normal(8, act_in.dim)
    there, back = model(act_in(g, x)), act_out(g, model(x))
    return float((there - back).detach().abs().max() / back.detach().abs().max()) < tolerance


@pytest.mark.parametrize(
    ("group", "most"),
    [(O3(), 2), (SO3(), 3), (SE3(), 1), (ScaledRotations(3), 2), (Lorentz(), 2), (SL(2), 2),
     (Permutation(4), 2), (Octahedral(), 2)],
    ids=str,
)  # fmt: skip
def test_exact_networks_commute_with_their_group(group, most):
    torch.manual_seed(0)
    act_in = Tensors(group, 0) * 2 + 3 * Tensors(group, 1)
    act_out = 2 * Tensors(group, 1)
    model = TensorNetwork(act_in, act_out, width=60, layers=3, most=most).double()
    assert commutes(model, act_in, act_out, group)
    assert model(normal(3, 2, act_in.dim)).shape == (3, 2, act_out.dim)
    assert model(normal(0, act_in.dim)).shape == (0, act_out.dim)
    free = TensorNetwork(act_in, act_out, width=60, layers=3, most=most, weights="free").double()
    assert not commutes(free, act_in, act_out, group, tolerance=1e-3)


def test_networks_declare_themselves():
    group = O3()
    act_in, act_out = 4 * Tensors(group, 1), Tensors(group, 2)
    model = TensorNetwork(act_in, act_out, width=32, layers=2).double()
    assert_equivariant(model, normal(4, 12))
    with pytest.raises(AssertionError):
        assert_equivariant(
            TensorNetwork(act_in, act_out, width=32, layers=2, weights="free").double(),
            normal(4, 12),
        )


def test_products_by_hand():
    """Kinds 0, 1, 2 of O(3): every contraction written out."""
    act = 2 * Tensors(O3(), 0) + 2 * Tensors(O3(), 1) + Tensors(O3(), 2)
    product = TensorBilinear(act, scale=1.0).double()
    x = normal(5, act.dim)
    s, v, t = x[:, :2], x[:, 2:8].unflatten(-1, (2, 3)), x[:, 8:].unflatten(-1, (1, 3, 3))
    expected = {0: 0.0, 1: 0.0, 2: 0.0}
    forms = {
        (1, 0, 1): ("oki,zkc,zic->zo", v, v), (2, 0, 2): ("oki,zkcd,zicd->zo", t, t),
        (1, 1, 0): ("oki,zkb,zi->zob", v, s), (2, 1, 1): ("oki,zkbc,zic->zob", t, v),
        (2, 2, 0): ("oki,zkbc,zi->zobc", t, s), (1, 2, 1): ("oki,zkb,zic->zobc", v, v),
    }  # fmt: skip
    assert len(product.paths) == len(forms)
    for weight, path in zip(product.weights, product.paths, strict=True):
        b = path.b
        form, left, right = forms[path.a.p, b.p, path.c.p]
        expected[b.p] = expected[b.p] + torch.einsum(form, weight, left, right)
    flat = torch.cat([expected[k].flatten(1) for k in range(3)], -1)
    torch.testing.assert_close(product(x), flat)


def test_products_pair_each_index_with_its_dual():
    """Of groups that are not orthogonal vectors have no inner product with vectors."""
    group = SL(2)
    act = Tensors(group, 0) + Tensors(group, 1) + Tensors(group, 0, 1) + Tensors(group, 1, 1)
    product = TensorBilinear(act).double()
    kinds = {tuple((k.p, k.q) for k in (path.a, path.b, path.c)) for path in product.paths}
    assert ((0, 1), (0, 0), (1, 0)) in kinds
    assert ((1, 1), (1, 0), (1, 0)) in kinds
    assert (
        (0, 1),
        (1, 1),
        (1, 0),
    ) in kinds  # a tensor product, its indices in the order of T(1, 1)
    assert ((1, 0), (0, 0), (1, 0)) not in kinds
    g, x = elements(group), normal(8, act.dim)
    torch.testing.assert_close(product(act(g, x)), act(g, product(x)), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("leak", [False, True])
def test_gates_commute_unless_they_leak(leak):
    act = 2 * Tensors(O3(), 0) + 2 * Tensors(O3(), 1) + Tensors(O3(), 2)
    gate = TensorGate(act, leak=leak).double()
    assert gate.act_in.dim == act.dim + 3
    x = normal(8, gate.act_in.dim)
    torch.testing.assert_close(
        gate(x)[:, :2], nn.functional.silu(x[:, :2]) * (1.001 if leak else 1)
    )
    assert commutes(gate, gate.act_in, act, O3()) != leak
    if leak:
        with torch.no_grad():
            gate.leak.zero_()
        assert commutes(gate, gate.act_in, act, O3())


def test_a_free_network_of_projected_layers():
    """The term is zero, and then the network commutes with pure gates and not with leaks."""
    group, about_z = O3(), Embedded(SO2(), 3, (0, 1))
    act_in, act_out = 3 * Tensors(group, 1), Tensors(group, 2)
    for leak in (False, True):
        torch.manual_seed(0)
        model = TensorNetwork(
            act_in, act_out, width=30, layers=3, weights="free", leak=leak
        ).double()
        with torch.no_grad():
            for layer in (m for m in model.modules() if isinstance(m, DeclaredLinear)):
                into, out = layer.act_in.under(about_z), layer.act_out.under(about_z)
                layer.weight.copy_(EquivariantMaps(into, out).projection(layer.weight))
                bias = EquivariantMaps(Trivial(1, about_z), out).projection(layer.bias[:, None])
                layer.bias.copy_(bias[:, 0])
        term = SoftEquivariance(model, {"z": about_z, "all": group})
        assert len(term.layers) == 3
        table = term.penalties().detach().sum(0)
        assert float(table[0]) < 1e-20 < 1e-3 < float(table[1])
        moved = commutes(model, act_in.under(about_z), act_out.under(about_z), about_z)
        assert moved != leak
        assert not commutes(model, act_in, act_out, group, tolerance=1e-3)


def test_linear_layers():
    act_in, act_out = 2 * Tensors(SO3(), 1) + Trivial(3), Tensors(SO3(), 2) + Trivial(2)
    exact = EquivariantLinear(act_in, act_out).double()
    assert commutes(exact, act_in, act_out, SO3())
    assert exact.coefficients.shape == (2 + 3 + 6,)
    sizes = [float(EquivariantLinear(act_in, act_out).weight.norm().detach()) for _ in range(20)]
    assert 0.3 < sum(sizes) / 20 / act_in.dim**0.5 < 3  # as long as a free orthogonal start
    residual = ResidualLinear(act_in, act_out).double()
    assert not commutes(residual, act_in, act_out, SO3(), tolerance=1e-6)
    with torch.no_grad():
        residual.rest.weight.zero_()
        residual.rest.bias.zero_()
    assert commutes(residual, act_in, act_out, SO3())
    about_z = Embedded(SO2(), 3, (0, 1))
    mixed = ResidualLinear(act_in, act_out, rest_group=about_z).double()
    with torch.no_grad():
        mixed.rest.weight.normal_()
    assert commutes(mixed, act_in.under(about_z), act_out.under(about_z), about_z)
    assert not commutes(mixed, act_in, act_out, SO3(), tolerance=1e-2)
    expected = 1e-5 * (mixed.exact.coefficients.square().sum()
                       + mixed.exact.bias_coefficients.square().sum())  # fmt: skip
    expected = expected + mixed.rest.weight.square().sum() + mixed.rest.bias.square().sum()
    torch.testing.assert_close(mixed.prior(), expected)
    nearly = DeclaredLinear(act_in, act_out, start="nearly").double()
    half = DeclaredLinear(act_in, act_out, start="half").double()
    maps = EquivariantMaps(act_in, act_out)
    scaled = DeclaredLinear(act_in, act_out, start="scaled").double()
    assert float(scaled.weight.detach().norm()) > 2 * float(nearly.weight.detach().norm())
    for layer, share in ((nearly, 1e-3), (half, 0.5), (scaled, 1e-3)):
        rest = layer.weight - maps.projection(layer.weight)
        assert float(rest.norm().detach()) < 3 * share


def test_layers_without_equivariant_maps_have_no_empty_parameters():
    none = EquivariantLinear(Trivial(2, SO3()), Tensors(SO3(), 1))
    assert list(none.parameters()) == []
    assert float(none(torch.ones(4, 2)).abs().max()) == 0
    vector = EquivariantLinear(Tensors(SO3(), 1), Tensors(SO3(), 1)).double()
    assert [parameter.numel() for parameter in vector.parameters()] == [1]
    assert vector(normal(4, 3)).dtype == torch.float64
    ResidualLinear(Tensors(SO3(), 1), Tensors(SO3(), 1)).prior().backward()


def test_priors_of_networks():
    act_in, act_out = Tensors(O3(), 1), Tensors(O3(), 1)
    free = TensorNetwork(act_in, act_out, width=8, layers=3, weights="free")
    assert float(free.prior().detach()) == pytest.approx(2e-6)
    residual = TensorNetwork(act_in, act_out, width=8, layers=2, weights="residual")
    residual.prior().backward()
    assert float(residual.last.rest.weight.grad.norm()) > 0
    assert float(TensorNetwork(act_in, act_out, width=8).prior()) == 0


def test_frame_averages_of_any_network():
    torch.manual_seed(0)
    act_in, act_out = Trivial(2) + 5 * Tensors(O3(), 1), Tensors(O3(), 2) + Trivial(1)
    plain = PlainNetwork(act_in, act_out, width=16, layers=3).double()
    model = TensorFrameAverage(plain, act_in, act_out)
    assert commutes(model, act_in, act_out, O3(), tolerance=1e-7)
    assert not commutes(plain, act_in, act_out, O3(), tolerance=1e-2)
    with pytest.raises(ConventionError, match="vectors"):
        TensorFrameAverage(plain, Trivial(3, O3()), act_out)


def test_uniform_representations():
    for group in (O3(), SL(2), Lorentz(), Permutation(5)):
        for width in (1, 7, 40, 128):
            assert uniform_tensors(group, width, most=2).dim == width
    kinds = [(piece.p, piece.q) for piece, _ in uniform_tensors(SL(2), 40).pieces()]
    assert (1, 0) in kinds
    assert (0, 1) in kinds
    with pytest.raises(ConventionError, match="width"):
        uniform_tensors(O3(), 0)


def test_refusals_of_tensor_networks():
    with pytest.raises(ConventionError, match="sum of Tensors"):
        TensorGate(IrrepsAction("1x1o", SO3()))
    with pytest.raises(ConventionError, match="group"):
        TensorNetwork(Trivial(3), Trivial(2))
