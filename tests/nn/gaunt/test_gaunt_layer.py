"""The layer against e3nn's tensor product, under O(3), and what couplings it has."""

from __future__ import annotations

import copy
import pickle
from itertools import product

import pytest
import torch
from e3nn.o3 import Irrep, Irreps, TensorProduct, wigner_3j

from equivariant.errors import ConventionError, ShapeError
from equivariant.measure import declared, equivariance_error
from equivariant.nn import GauntTensorProduct
from equivariant.nn.gaunt import expressivity_report, gaunt_constant, poisson_constant

TRUE, PSEUDO = "3x0e + 3x1o + 3x2e", "3x0o + 3x1e + 3x2o"
MIXED = "3x2o + 3x0e + 3x1o + 3x1e + 3x3o"
SPARSE = "3x3o + 3x1e"
OPERANDS = list(product([TRUE, PSEUDO, MIXED, SPARSE], repeat=2))
PARITIES = ["even", "full"]


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def features(irreps, *batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, Irreps(irreps).dim, generator=generator, dtype=torch.float64)


def operands(layer, *batch):
    return features(layer.irreps_in1, *batch), features(layer.irreps_in2, *batch, seed=1)


def constant(l1, l2, l3):
    return poisson_constant(l1, l2, l3) if (l1 + l2 + l3) % 2 else gaunt_constant(l1, l2, l3)


def clebsch_gordan(layer):
    """e3nn's product over the same couplings with the same coefficients."""
    first, second, out = layer.irreps_in1, layer.irreps_in2, layer.irreps_out
    instructions = []
    for path in expressivity_report(first, second, out).reachable(layer.parity):
        places = [
            [irrep for _, irrep in irreps].index(one)
            for irreps, one in zip((first, second, out), path, strict=True)
        ]
        squared = constant(path.first.l, path.second.l, path.out.l) ** 2
        instructions.append((*places, "uuu", False, squared))
    return TensorProduct(
        first, second, out, instructions, irrep_normalization="none", path_normalization="none"
    )


def worst_error(layer):
    declaration = declared(layer)
    report = equivariance_error(
        layer,
        operands(layer, 4),
        act_in=declaration.act_in,
        act_out=declaration.act_out,
        samples=8,
    )
    return report.value("worst")


@pytest.mark.parametrize("parity", PARITIES)
@pytest.mark.parametrize(("first", "second"), OPERANDS)
def test_values_and_gradients_are_those_of_e3nn(first, second, parity, double):
    layer = GauntTensorProduct(first, second, parity=parity)
    peer = clebsch_gordan(layer)
    x1, x2 = (x.requires_grad_() for x in operands(layer, 5))
    z, expected = layer(x1, x2), peer(x1, x2)
    torch.testing.assert_close(z, expected, rtol=1e-12, atol=1e-12)
    weight = features(layer.irreps_out, 5, seed=2)
    ours = torch.autograd.grad((z * weight).sum(), (x1, x2))
    theirs = torch.autograd.grad((expected * weight).sum(), (x1, x2))
    for gradient, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("parity", PARITIES)
@pytest.mark.parametrize("out", ["3x1o + 3x0e", "3x3o", "3x2e + 3x1e"])
def test_parts_of_the_result_in_any_order(out, parity, double):
    layer = GauntTensorProduct(MIXED, TRUE, out, parity=parity)
    x1, x2 = operands(layer, 5)
    torch.testing.assert_close(layer(x1, x2), clebsch_gordan(layer)(x1, x2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("weights", ["none", "degree"])
@pytest.mark.parametrize("parity", PARITIES)
@pytest.mark.parametrize(("first", "second"), OPERANDS)
def test_turns_and_reflects_as_declared(first, second, parity, weights):
    torch.manual_seed(0)
    layer = GauntTensorProduct(first, second, parity=parity, weights=weights).double()
    for weight in layer.parameters():
        torch.nn.init.normal_(weight)
    assert worst_error(layer) < 1e-12


class Misnamed(torch.nn.Module):
    """A layer that calls its true result pseudo."""

    def __init__(self):
        super().__init__()
        self.layer = GauntTensorProduct(TRUE, TRUE, TRUE)
        self.irreps_in1, self.irreps_in2, self.irreps_out = (
            Irreps(s) for s in (TRUE, TRUE, PSEUDO)
        )

    def forward(self, x1, x2):
        return self.layer(x1, x2)


def test_a_layer_that_confuses_true_and_pseudo_is_caught():
    assert worst_error(Misnamed().layer) < 1e-12
    assert worst_error(Misnamed()) > 0.1


def test_normalizations_and_methods(double):
    """In the norm basis the coefficient is |3j(l1 l2 l3; 0 0 0)| and nothing else."""
    for method in ("grid", "dense"):
        layer = GauntTensorProduct("1x1o", "1x2e", normalization="norm", method=method)
        x1, x2 = operands(layer, 4)
        symbol = wigner_3j(1, 2, 3, dtype=torch.float64)
        expected = float(symbol[1, 2, 3]) * torch.einsum("na,nb,abc->nc", x1, x2, symbol)
        z = layer(x1, x2)[:, layer.irreps_out.slices()[1]]
        torch.testing.assert_close(z, expected, rtol=0, atol=1e-13)


def test_weights_are_one_factor_per_channel_and_irrep(double):
    layer = GauntTensorProduct(TRUE, MIXED, weights="degree", parity="full")
    plain = GauntTensorProduct(TRUE, MIXED, parity="full")
    x1, x2 = operands(layer, 2, 5)
    torch.testing.assert_close(layer(x1, x2), plain(x1, x2), rtol=0, atol=0)
    torch.nn.init.normal_(layer.weight)
    factors, start = [], 0
    for irreps in (layer.irreps_in1, layer.irreps_in2, layer.irreps_out):
        each = []
        for count, irrep in irreps:
            each.append(layer.weight[start : start + count].repeat_interleave(irrep.dim))
            start += count
        factors.append(torch.cat(each))
    assert start == layer.weight_numel == layer.weight.numel()
    expected = factors[2] * plain(factors[0] * x1, factors[1] * x2)
    torch.testing.assert_close(layer(x1, x2), expected, rtol=0, atol=1e-12)
    layer(x1, x2).sum().backward()
    assert bool((layer.weight.grad != 0).all())


def irreps_up_to(degree):
    return [Irrep(n, p) for n in range(degree + 1) for p in (1, -1)]


@pytest.mark.parametrize("first", irreps_up_to(3), ids=str)
def test_full_parity_has_every_coupling_and_even_parity_its_half(first, double):
    """One irrep in, one out: the layer is that coupling alone, and is not zero."""
    for second in irreps_up_to(3):
        for out in first * second:
            full = GauntTensorProduct(f"1x{first}", f"1x{second}", f"1x{out}", parity="full")
            x1, x2 = operands(full, 3)
            symbol = wigner_3j(first.l, second.l, out.l, dtype=torch.float64)
            factor = constant(first.l, second.l, out.l)
            assert factor > 0.05
            expected = factor * torch.einsum("na,nb,abc->nc", x1, x2, symbol)
            torch.testing.assert_close(full(x1, x2), expected, rtol=0, atol=1e-12)
            if (first.l + second.l + out.l) % 2:
                with pytest.raises(ConventionError, match="full"):
                    GauntTensorProduct(f"1x{first}", f"1x{second}", f"1x{out}")
            else:
                even = GauntTensorProduct(f"1x{first}", f"1x{second}", f"1x{out}")
                torch.testing.assert_close(even(x1, x2), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("degree", range(1, 9))
def test_numbers_of_couplings(degree):
    """(L+1)(L+2)(2L+3)/6 couplings of true irreps are even, into 2L+1 irreps."""
    true = "+".join(f"1x{n}{'eo'[n % 2]}" for n in range(degree + 1))
    report = expressivity_report(true, true)
    assert len(report.even) == (degree + 1) * (degree + 2) * (2 * degree + 3) // 6
    assert len(report.outputs("even")) == 2 * degree + 1
    assert report.missing("even") == report.odd
    assert report.missing("full") == ()
    assert len(report.paths) == sum(
        1 for a, b in product(Irreps(true), repeat=2) for _ in a[1] * b[1]
    )


def test_leading_axes_broadcast():
    layer = GauntTensorProduct(TRUE, MIXED, parity="full")
    x1, x2 = features(TRUE, 4, 1), features(MIXED, 6, seed=1)
    expected = layer(x1.expand(4, 6, -1), x2.expand(4, 6, -1))
    torch.testing.assert_close(layer(x1, x2), expected, rtol=0, atol=1e-12)
    assert layer(x1[:0], x2).shape == (0, 6, layer.irreps_out.dim)


def test_second_derivatives():
    layer = GauntTensorProduct(
        "2x0e + 2x1o", "2x1o + 2x1e", parity="full", weights="degree"
    ).double()
    x1, x2 = (x.requires_grad_() for x in operands(layer, 2))
    assert torch.autograd.gradcheck(layer, (x1, x2))
    assert torch.autograd.gradgradcheck(layer, (x1, x2))


def test_state_survives():
    layer = GauntTensorProduct(TRUE, TRUE, parity="full", weights="degree")
    torch.nn.init.normal_(layer.weight)
    twin = GauntTensorProduct(TRUE, TRUE, parity="full", weights="degree")
    twin.load_state_dict(layer.state_dict())
    assert list(layer.state_dict()) == ["weight"]
    assert not GauntTensorProduct(TRUE, TRUE).state_dict()
    x1, x2 = (x.float() for x in operands(layer, 4))
    for other in (twin, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):  # noqa: S301
        assert torch.equal(other(x1, x2), layer(x1, x2))


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        (("3x0e + 3x1x", TRUE), "irreps_in1"),
        (("3x0e + 2x1o", TRUE), "irreps_in1"),
        ((TRUE, "3x0e + 3x1o + 3x0e"), "irreps_in2"),
        ((TRUE, "2x0e"), "irreps_in2"),
        ((TRUE, ""), "irreps_in2"),
        ((TRUE, TRUE, "2x0e"), "irreps_out"),
        ((TRUE, TRUE, "3x1e"), "irreps_out"),
        ((TRUE, TRUE, "3x7o"), "irreps_out"),
    ],
)
def test_irreps_that_do_not_fit_are_refused(arguments, argument):
    with pytest.raises(ConventionError) as caught:
        GauntTensorProduct(*arguments)
    assert caught.value.argument == argument


def test_features_that_do_not_fit_are_refused():
    layer = GauntTensorProduct(TRUE, PSEUDO)
    x1, x2 = operands(layer, 4)
    for inputs, argument in (((x1[:, 1:], x2), "x1"), ((x1, x2[:, 1:]), "x2")):
        with pytest.raises(ShapeError) as caught:
            layer(*inputs)
        assert caught.value.argument == argument
    with pytest.raises(ShapeError):
        layer(x1, x2[:3])
