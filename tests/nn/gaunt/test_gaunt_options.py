"""Layouts, modes, weights and methods of the layer against e3nn's tensor product."""

from __future__ import annotations

import copy
import pickle
from itertools import product

import pytest
import torch
from e3nn.o3 import Irreps, TensorProduct

from equivariant.errors import ConventionError, ShapeError
from equivariant.measure import declared, equivariance_error
from equivariant.nn import GauntTensorProduct
from equivariant.nn.gaunt import expressivity_report, gaunt_constant, poisson_constant
from equivariant.nn.gaunt.compiled import availability as engine
from equivariant.nn.gaunt.product.path_norm import degree_factors

FIRST, SECOND = "3x2o + 3x0e + 3x1o + 3x1e", "3x0e + 3x1o + 3x2e"
METHODS = ["auto", "grid", "half_grid", "dense", "separable", "sparse", "fft", "fft_real"]
LAYOUTS = ["mul_ir", "ir_mul"]
PARITIES = ["even", "full"]


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def single(irreps):
    return Irreps([(1, irrep) for _, irrep in Irreps(irreps)])


def arranged(x, irreps, layout):
    """A feature in e3nn's layout in another one."""
    if layout == "mul_ir":
        return x
    blocks = zip(irreps, irreps.slices(), strict=True)
    return torch.cat(
        [x[..., rows].unflatten(-1, (count, i.dim)).mT.flatten(-2) for (count, i), rows in blocks],
        -1,
    )


def features(irreps, *batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, Irreps(irreps).dim, generator=generator).requires_grad_()


def clebsch_gordan(layer, *, weighted):
    """e3nn's product over the same couplings in the same order, with the same constants."""
    first, second, out = layer.irreps_in1, layer.irreps_in2, layer.irreps_out
    lists = [[irrep for _, irrep in irreps] for irreps in (first, second, out)]
    instructions = []
    for path in expressivity_report(first, second, out).reachable(layer.parity):
        places = [found.index(one) for found, one in zip(lists, path, strict=True)]
        ls = (path.first.l, path.second.l, path.out.l)
        constant = poisson_constant(*ls) if sum(ls) % 2 else gaunt_constant(*ls)
        instructions.append((*places, layer.mode, weighted, constant**2))
    return TensorProduct(
        first, second, out, sorted(instructions),
        irrep_normalization="none", path_normalization="none", shared_weights=True,
        internal_weights=False,
    )  # fmt: skip


def check_against(layer, peer, weight=None):
    """Values and gradients, for a batch of two axes."""
    x1, x2 = features(layer.irreps_in1, 2, 4), features(layer.irreps_in2, 2, 4, seed=1)
    given = (
        arranged(x1, layer.irreps_in1, layer.layout),
        arranged(x2, layer.irreps_in2, layer.layout),
    )
    z = layer(*given) if weight is None else layer(*given, weight)
    expected = peer(x1, x2) if weight is None else peer(x1, x2, weight)
    expected = arranged(expected, layer.irreps_out, layer.layout)
    torch.testing.assert_close(z, expected, rtol=1e-12, atol=1e-12)
    leaves = (x1, x2) if weight is None else (x1, x2, weight)
    cotangent = features(f"{z.shape[-1]}x0e", 2, 4, seed=2)
    ours = torch.autograd.grad((z * cotangent).sum(), leaves)
    theirs = torch.autograd.grad((expected * cotangent).sum(), leaves)
    for gradient, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("parity", PARITIES)
@pytest.mark.parametrize("mode", ["uuu", "uvu"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_layout_and_mode_is_e3nn_s(method, layout, mode, parity):
    second = SECOND if mode == "uuu" else single(SECOND)
    layer = GauntTensorProduct(
        FIRST, second, method=method, layout=layout, mode=mode, parity=parity
    )
    check_against(layer, clebsch_gordan(layer, weighted=False))


@pytest.mark.parametrize("method", ["auto", "sparse", "dense"])
@pytest.mark.parametrize("mode", ["uuu", "uvu"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("parity", PARITIES)
def test_weights_per_coupling_are_e3nn_s(parity, layout, mode, method):
    second = SECOND if mode == "uuu" else single(SECOND)
    layer = GauntTensorProduct(
        FIRST, second, method=method, layout=layout, mode=mode, parity=parity,
        weights="path", internal_weights=False,
    )  # fmt: skip
    peer = clebsch_gordan(layer, weighted=True)
    assert layer.weight_numel == peer.weight_numel
    weight = features(f"{layer.weight_numel}x0e", seed=3)
    check_against(layer, peer, weight)


def test_channels_of_one_and_degrees_apart():
    for layout, method in product(LAYOUTS, ("sparse", "grid")):
        layer = GauntTensorProduct("1x1o + 1x2e", "1x2e + 1x0e", layout=layout, method=method)
        check_against(layer, clebsch_gordan(layer, weighted=False))


@pytest.mark.parametrize("method", ["sparse", "dense"])
def test_weights_of_every_entry(method):
    options = {"weights": "path", "internal_weights": False, "method": method}
    shared = GauntTensorProduct(FIRST, SECOND, **options)
    layer = GauntTensorProduct(FIRST, SECOND, shared_weights=False, **options)
    x1, x2 = features(FIRST, 4), features(SECOND, 4, seed=1)
    weight = features(f"{layer.weight_numel}x0e", 4, seed=2)
    rows = [shared(a, b, w) for a, b, w in zip(x1, x2, weight, strict=True)]
    torch.testing.assert_close(layer(x1, x2, weight), torch.stack(rows), rtol=0, atol=1e-12)
    (ours,) = torch.autograd.grad(layer(x1, x2, weight).square().sum(), weight)
    (theirs,) = torch.autograd.grad(torch.stack(rows).square().sum(), weight)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)
    first = layer(x1[:1], x2[:1], weight[:1])
    torch.testing.assert_close(first[0], rows[0], rtol=0, atol=1e-12)
    (one,) = torch.autograd.grad(first.sum(), weight)
    assert one[0].abs().max() > 0
    assert one[1:].abs().max() == 0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", ["uuu", "uvu"])
def test_weights_per_degree_scale_irreps(mode, layout):
    second = SECOND if mode == "uuu" else single(SECOND)
    layer = GauntTensorProduct(FIRST, second, weights="degree", layout=layout, mode=mode)
    plain = GauntTensorProduct(FIRST, second, mode=mode)
    torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    x = features(FIRST, 5), features(second, 5, seed=1)
    factors, start = [], 0
    for irreps in (layer.irreps_in1, layer.irreps_in2, layer.irreps_out):
        each = []
        for count, irrep in irreps:
            each.append(layer.weight[start : start + count].repeat_interleave(irrep.dim))
            start += count
        factors.append(torch.cat(each))
    assert start == layer.weight_numel
    expected = factors[2] * plain(factors[0] * x[0], factors[1] * x[1])
    z = layer(
        *(
            arranged(t, i, layout)
            for t, i in zip(x, (layer.irreps_in1, layer.irreps_in2), strict=True)
        )
    )
    torch.testing.assert_close(z, arranged(expected, layer.irreps_out, layout), rtol=0, atol=1e-12)


@pytest.mark.parametrize("parity", PARITIES)
@pytest.mark.parametrize("normalization", ["integral", "component", "norm"])
def test_couplings_count_nearly_alike_when_asked(normalization, parity):
    """Every coupling alone has norm near that of Wigner's symbol, whatever the basis."""
    options = {"parity": parity, "normalization": normalization}
    true = "1x0e + 1x1o + 1x2e + 1x3o"
    layers = [
        GauntTensorProduct(true, true, path_norm="cg-like", method=method, **options)
        for method in ("sparse", "grid", "fft")
    ]
    x1, x2 = features(true, 3), features(true, 3, seed=1)
    for other in layers[1:]:
        torch.testing.assert_close(layers[0](x1, x2), other(x1, x2), rtol=0, atol=1e-12)
    plain = GauntTensorProduct(true, true, **options)
    sizes = {}
    for layer in (layers[0], plain):
        weighted = GauntTensorProduct(
            true, true, weights="path", path_norm=layer.path_norm, internal_weights=False, **options
        )
        found = []
        for path in range(weighted.weight_numel):
            weight = torch.zeros(weighted.weight_numel)
            weight[path] = 1
            eye = torch.eye(16)
            found.append(weighted(eye[:, None], eye, weight).square().sum().sqrt())
        sizes[layer.path_norm] = torch.stack(found)
    assert (sizes["cg-like"] - 1).square().mean().sqrt() < 0.12
    assert (sizes["none"] - 1).square().mean().sqrt() > 0.2


@pytest.mark.parametrize(("degree", "worst"), [(2, 0.05), (3, 0.065), (4, 0.08), (6, 0.1)])
def test_how_well_factors_per_degree_fit(degree, worst):
    """One factor per degree leaves 5 to 10 % of relative error over the couplings up to L."""
    factors = degree_factors(
        degree, degree, degree, kind="even", normalization="integral", path_norm="cg-like"
    )
    errors = [
        (a * b * c * gaunt_constant(i, j, k) - 1) ** 2
        for (i, a), (j, b), (k, c) in product(*(list(enumerate(f)) for f in factors))
        if gaunt_constant(i, j, k)
    ]
    assert (sum(errors) / len(errors)) ** 0.5 < worst


@pytest.mark.parametrize("weights", ["none", "degree", "path"])
@pytest.mark.parametrize("path_norm", ["none", "cg-like"])
@pytest.mark.parametrize("mode", ["uuu", "uvu"])
def test_turns_and_reflects_as_declared(mode, path_norm, weights):
    second = SECOND if mode == "uuu" else single(SECOND)
    options = {"mode": mode, "path_norm": path_norm, "weights": weights, "parity": "full"}
    layer = GauntTensorProduct(FIRST, second, **options)
    for weight in layer.parameters():
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    actions = declared(layer)
    x = features(FIRST, 4).detach(), features(second, 4, seed=1).detach()
    report = equivariance_error(layer, x, act_in=actions.act_in, act_out=actions.act_out, samples=6)
    assert report.value("worst") < 1e-12


@pytest.mark.parametrize("weights", ["none", "path"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_second_and_third_derivatives(layout, weights):
    layer = GauntTensorProduct(
        "2x0e + 2x1o", "2x1o + 2x1e", parity="full", weights=weights, layout=layout
    )
    x1, x2 = features(layer.irreps_in1, 2), features(layer.irreps_in2, 2, seed=1)
    inputs = (x1, x2, *layer.parameters())

    def f(a, b, *weight):
        return torch.func.functional_call(
            layer, dict(zip(["weight"], weight, strict=False)), (a, b)
        )

    assert torch.autograd.gradcheck(f, inputs)
    assert torch.autograd.gradgradcheck(f, inputs)
    energy = layer(x1, layer(x1, x2)[..., : x2.shape[-1]]).square().sum()
    for _ in range(3):
        (gradient,) = torch.autograd.grad(energy, x1, create_graph=True)
        energy = gradient.square().sum()
    assert torch.isfinite(energy)
    assert energy > 0


@pytest.mark.parametrize("weights", ["none", "degree", "path"])
def test_vmap_gives_rows(weights):
    layer = GauntTensorProduct(FIRST, SECOND, weights=weights)
    x1, x2 = features(FIRST, 4).detach(), features(SECOND, 4, seed=1).detach()
    torch.testing.assert_close(torch.vmap(layer)(x1, x2), layer(x1, x2), rtol=0, atol=1e-13)
    jacobian = torch.vmap(torch.func.jacrev(layer))(x1, x2)
    torch.testing.assert_close(
        (jacobian @ x1[..., None])[..., 0], layer(x1, x2), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("weights", ["none", "degree", "path"])
def test_without_a_compiler_nothing_changes(weights, monkeypatch):
    layer = GauntTensorProduct(FIRST, SECOND, weights=weights, parity="full")
    x1, x2 = features(FIRST, 4), features(SECOND, 4, seed=1)
    expected = layer(x1, x2)
    gradients = torch.autograd.grad(expected.square().sum(), (x1, x2, *layer.parameters()))
    monkeypatch.setattr(engine, "compiler_works", lambda: False)
    z = layer(x1, x2)
    torch.testing.assert_close(z, expected, rtol=0, atol=1e-12)
    others = torch.autograd.grad(z.square().sum(), (x1, x2, *layer.parameters()))
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
    with pytest.raises(ConventionError, match="Numba"):
        GauntTensorProduct(FIRST, SECOND, weights=weights, method="sparse")(x1, x2)


@pytest.mark.parametrize("method", ["sparse", "dense"])
def test_half_precision_is_computed_in_single_and_autocast_changes_nothing(method):
    layer = GauntTensorProduct(FIRST, SECOND, weights="path", method=method).float()
    x1, x2 = (features(i, 4).detach().bfloat16() for i in (FIRST, SECOND))
    expected = layer(x1.float(), x2.float()).bfloat16()
    assert torch.equal(layer(x1, x2), expected)
    with torch.autocast("cpu", torch.bfloat16):
        inside = layer(x1.float(), x2.float())
    assert torch.equal(inside, layer(x1.float(), x2.float()))


def test_leading_axes_broadcast_and_may_be_empty():
    for layout, weights in product(LAYOUTS, ("none", "path")):
        layer = GauntTensorProduct(FIRST, SECOND, layout=layout, weights=weights)
        x1, x2 = features(FIRST, 4, 1), features(SECOND, 6, seed=1)
        wide = layer(x1.expand(4, 6, -1), x2.expand(4, 6, -1))
        torch.testing.assert_close(layer(x1, x2), wide, rtol=0, atol=1e-13)
        empty = layer(x1[:0], x2)
        assert empty.shape == (0, 6, layer.irreps_out.dim)
        for gradient in torch.autograd.grad(empty.sum(), (x1, x2)):
            assert gradient.abs().max() == 0
        assert layer(x1[0, 0], x2[0]).shape == (layer.irreps_out.dim,)


@pytest.mark.parametrize("weights", ["none", "degree", "path"])
def test_state_dtype_and_copies(weights):
    layer = GauntTensorProduct(FIRST, SECOND, weights=weights, dtype=torch.float32)
    names = [] if weights == "none" else ["weight"]
    assert list(layer.state_dict()) == names
    assert all(p.dtype == torch.float32 and bool((p == 1).all()) for p in layer.parameters())
    for weight in layer.parameters():
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    x1, x2 = features(FIRST, 4), features(SECOND, 4, seed=1)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):  # noqa: S301
        assert torch.equal(other(x1, x2), layer(x1, x2))
    assert layer.double()(x1, x2).dtype == torch.float64


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"weights": "path", "method": "grid"}, "method"),
        ({"mode": "uvu"}, "irreps_in2"),
        ({"weights": "path", "internal_weights": True, "shared_weights": False}, "shared_weights"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, argument):
    with pytest.raises(ConventionError) as caught:
        GauntTensorProduct(FIRST, SECOND, **options)
    assert caught.value.argument == argument


def test_weights_that_do_not_fit_are_refused():
    x1, x2 = features(FIRST, 4), features(SECOND, 4, seed=1)
    outside = GauntTensorProduct(FIRST, SECOND, weights="path", internal_weights=False)
    good = torch.ones(outside.weight_numel)
    for weight in (None, good[1:], good.expand(4, -1)):
        with pytest.raises(ShapeError) as caught:
            outside(x1, x2, weight)
        assert caught.value.argument == "weight"
    for layer in (
        GauntTensorProduct(FIRST, SECOND),
        GauntTensorProduct(FIRST, SECOND, weights="path"),
    ):
        with pytest.raises(ConventionError, match="internal_weights=False"):
            layer(x1, x2, good)
    apart = GauntTensorProduct(
        FIRST, SECOND, weights="path", internal_weights=False, shared_weights=False
    )
    with pytest.raises(ShapeError):
        apart(x1, x2, good.expand(3, -1))
