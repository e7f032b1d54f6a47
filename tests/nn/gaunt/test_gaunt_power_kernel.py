"""Kernels for powers against the grid and against loops, derived in every way."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from itertools import product

import jaxtyping
import numpy as np
import pytest
import torch
from e3nn.o3 import Irreps

from equivariant.errors import ConventionError
from equivariant.nn import GauntPower
from equivariant.nn.gaunt import gaunt_coefficients
from equivariant.nn.gaunt.compiled import availability as engine
from equivariant.nn.gaunt.compiled import threads
from equivariant.nn.gaunt.compiled.nonzero_coefficients import harmonic_couplings
from equivariant.nn.gaunt.compiled.powers import plans as power_plans
from equivariant.nn.gaunt.methods.fastest import POWERS_UP_TO, prefers_sparse_powers
from equivariant.nn.gaunt.power import sphere_powers

TRUE, PSEUDO, MIXED = "0e + 1o + 2e", "1e + 2o", "2o + 0e + 1o + 1e"
CASES = [
    (TRUE, "0e + 1o + 2e + 3o", 3),
    (TRUE, "1o", 2),
    (TRUE, "5o + 0e", 3),
    (TRUE, "4e + 1o", 2),
    ("3o", "1o + 3o + 2e", 3),
    (TRUE, "0e", 3),
    ("0e", "0e", 3),
    (PSEUDO, "1o + 1e + 2e + 2o + 0e", 3),
    (PSEUDO, "1o + 2e + 1e", 2),
    (MIXED, "1o + 0e + 2o + 3e", 3),
    (MIXED, "1o + 0e + 2o + 3e", 2),
]
ignores_script = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
LAYOUTS = ["mul_ir", "ir_mul"]
CHANNELS = [1, 3, 16, 63, 64, 65, 128]  # parts of, whole, and several blocks of lanes


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def spread(text, channels):
    return Irreps([(channels, irrep) for _, irrep in Irreps(text)])


def built(case, channels=3, *, method="sparse", elements=2, layout="mul_ir"):
    inside, outside, correlation = case
    options = {"num_elements": elements, "layout": layout, "method": method}
    irreps = spread(inside, channels), spread(outside, channels)
    layer = GauntPower(*irreps, correlation, **options).double()
    with torch.no_grad():
        layer.weight.copy_(normal(*layer.weight.shape, seed=5))
    return layer


def twins(case, channels=3, **options):
    return [built(case, channels, method=method, **options) for method in ("sparse", "grid")]


def kinds_of(rows, elements):
    if elements == 1:
        return None
    return torch.randint(elements, (rows,), generator=torch.Generator().manual_seed(rows))


def close(value, expected, tolerance=1e-12):
    assert value.shape == expected.shape
    value, expected = value.detach(), expected.detach()
    if expected.numel():
        scale = max(float(expected.abs().max()), 1e-2)
        assert float((value - expected).abs().max()) <= tolerance * scale


def both(layer, x, kinds, cotangent):
    """Value and gradients."""
    z = layer(x, kinds)
    return [z, *torch.autograd.grad(z, (x, layer.weight), cotangent)]


def differences(layers, rows, elements):
    """Largest relative difference of value and gradients of two layers, one after the other."""
    x = normal(rows, layers[0].irreps_in.dim).requires_grad_()
    kinds = kinds_of(rows, elements)
    cotangent = normal(rows, layers[0].irreps_out.dim, seed=2)
    results = [both(layer, x, kinds, cotangent) for layer in layers]
    return [
        float(((one - other).abs().max() / other.abs().max()).detach())
        for one, other in zip(*results, strict=True)
    ]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_and_gradients_are_those_of_the_grid(case, layout):
    for channels, rows, elements in product(CHANNELS, (1, 7), (1, 3)):
        layers = twins(case, channels, elements=elements, layout=layout)
        assert max(differences(layers, rows, elements)) < 1e-12


@pytest.mark.parametrize("channels", [1, 3, 63])
@pytest.mark.parametrize("elements", [1, 3])
def test_many_rows_of_few_channels(channels, elements):
    """Blocks of lanes that hold many rows, the last of them not full."""
    layers = twins(CASES[0], channels, elements=elements)
    assert max(differences(layers, 70, elements)) < 1e-12


def multiplied(f, g):
    """Degree by degree, nothing cut off, for harmonics whose squares have mean 1."""
    degrees = [range(round(len(x) ** 0.5)) for x in (f, g)]
    z = torch.zeros((len(degrees[0]) + len(degrees[1]) - 1) ** 2, dtype=torch.float64)
    for i, j in product(*degrees):
        for k in range(abs(i - j), i + j + 1):
            table = gaunt_coefficients(i, j, k) * (4 * torch.pi) ** 0.5
            blocks = f[i**2 : (i + 1) ** 2], g[j**2 : (j + 1) ** 2]
            z[k**2 : (k + 1) ** 2] += torch.einsum("abc,a,b->c", table, *blocks)
    return z


def slow(layer, x, kinds):
    """One row, channel, power and coefficient after the other, in e3nn's layout, true parts."""
    channels, degree = layer.irreps_in[0].mul, layer._degree_in
    result = torch.zeros(len(x), layer.irreps_out.dim, dtype=torch.float64)
    for row, channel in product(range(len(x)), range(channels)):
        f = torch.zeros((degree + 1) ** 2, dtype=torch.float64)
        for (_, irrep), rows in zip(layer.irreps_in, layer.irreps_in.slices(), strict=True):
            f[irrep.l**2 : (irrep.l + 1) ** 2] = x[row, rows].view(channels, -1)[channel]
        power, reached = f, degree
        for nu in range(1, layer.correlation + 1):
            if nu > 1:
                power = multiplied(power, f)
                reached += degree
            for place, (_, irrep) in enumerate(layer.irreps_out):
                if irrep.l <= reached:
                    start = layer.irreps_out.slices()[place].start + channel * irrep.dim
                    weight = layer.weight[nu - 1, kinds[row], channel, place]
                    block = power[irrep.l**2 : (irrep.l + 1) ** 2]
                    result[row, start : start + irrep.dim] += weight.detach() * block
    return result


@pytest.mark.parametrize("case", [case for case in CASES[:7] if case[0] == TRUE])
def test_values_are_those_of_loops_over_dense_coefficients(case):
    layer = built(case)
    x, kinds = normal(4, layer.irreps_in.dim), torch.tensor([1, 0, 0, 1])
    close(layer(x, kinds), slow(layer, x, kinds))


def test_gradients_are_differences_of_loops():
    layer = built(CASES[0])
    x, kinds = normal(2, layer.irreps_in.dim).requires_grad_(), torch.tensor([1, 0])
    cotangent, direction = normal(2, layer.irreps_out.dim, seed=2), normal(*x.shape, seed=3)
    z = layer(x, kinds)
    (gradient,) = torch.autograd.grad(z, x, cotangent)
    step = 1.0  # a cubic: the central difference's error is that of its third derivative alone
    values = [slow(layer, x.detach() + t * step * direction, kinds) for t in (-2, -1, 1, 2)]
    slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    close((gradient * direction).sum(), (slope * cotangent).sum(), 1e-11)


BREAKS = {
    "pairs counted once": lambda terms: replace(
        terms, value=terms.value * np.where(terms.first == terms.second, 1.0, 0.5)
    ),
    "a coefficient lost": lambda terms: replace(
        terms, value=np.where(np.arange(len(terms.value)) == len(terms.value) // 2, 0, terms.value)
    ),
    "a sign": lambda terms: replace(
        terms, value=np.where(np.arange(len(terms.value)) == 0, -terms.value, terms.value)
    ),
}


@pytest.mark.parametrize("name", [*BREAKS, None])
def test_broken_lists_are_caught(name, monkeypatch):
    def broken(*arguments):
        terms = harmonic_couplings(*arguments)
        return BREAKS[name](terms) if name else terms

    monkeypatch.setattr(power_plans, "harmonic_couplings", broken)
    layers = twins(CASES[0])
    form = layers[0]._form()
    form._known.clear()
    worst = max(differences(layers, 5, 2))
    form._known.clear()
    assert worst > 1e-3 if name else worst < 1e-12


@pytest.mark.parametrize("case", [CASES[0], CASES[7], CASES[9]])
def test_rows_that_do_not_lie_side_by_side_and_none_at_all(case):
    layer = built(case)
    wide = normal(5, 2 * layer.irreps_in.dim)
    kinds = kinds_of(10, 2)[::2]
    close(layer(wide[:, ::2], kinds), layer(wide[:, ::2].contiguous(), kinds.contiguous()))
    x = wide[:, ::2].requires_grad_()
    turned = normal(layer.irreps_out.dim, 5).T
    expected = both(layer, x, kinds, turned.contiguous())
    for one, other in zip(both(layer, x, kinds, turned), expected, strict=True):
        close(one, other)
    empty = x[:0].detach().requires_grad_()
    found = both(layer, empty, kinds[:0], normal(0, layer.irreps_out.dim))
    assert found[0].shape == (0, layer.irreps_out.dim)
    assert found[1].shape == empty.shape
    assert not found[2].any()


@pytest.mark.parametrize("channels", [3, 64])
@pytest.mark.parametrize("elements", [1, 3])
def test_several_threads_compute_the_same(channels, elements, monkeypatch):
    layers = twins(CASES[9], channels, elements=elements)
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "SMALLEST", 1)
    torch.set_num_threads(2)
    try:
        found = [max(differences(layers, rows, elements)) for rows in (1, 50)]
    finally:
        torch.set_num_threads(before)
    assert max(found) < 1e-12


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("inside", ["0e + 1o", "1e", "1o + 1e"])
def test_derivatives_of_first_to_third_order(inside, layout):
    layer = built((inside, inside, 3), 2, layout=layout)
    x, weight = normal(2, layer.irreps_in.dim), normal(*layer.weight.shape, seed=1)

    def f(x, weight):
        state = {"weight": weight}
        return torch.func.functional_call(layer, state, (x, torch.tensor([1, 0])))

    def slope(x, weight):
        return torch.autograd.grad(f(x, weight).square().sum(), (x, weight), create_graph=True)

    operands = x.requires_grad_(), weight.requires_grad_()
    assert torch.autograd.gradcheck(f, operands)
    assert torch.autograd.gradgradcheck(f, operands)
    if (inside, layout) == ("1o + 1e", "ir_mul"):
        assert torch.autograd.gradgradcheck(slope, operands)


@pytest.mark.parametrize("frozen", ["x", "weight"])
def test_derivatives_by_one_operand_alone(frozen):
    layers = twins(CASES[9])
    kinds, results = kinds_of(4, 2), []
    for layer in layers:
        x = normal(4, layer.irreps_in.dim).requires_grad_(frozen != "x")
        layer.weight.requires_grad_(frozen != "weight")
        leaf = layer.weight if frozen == "x" else x
        z = layer(x, kinds)
        (first,) = torch.autograd.grad(z.square().sum(), leaf, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), leaf)
        results.append([z, first, second])
    for one, other in zip(*results, strict=True):
        close(one, other)


def test_gradients_of_forces():
    """A loss of the gradient by x alone, derived by the weights, as in training on forces."""
    results = []
    for layer in twins(CASES[0]):
        x = normal(4, layer.irreps_in.dim).requires_grad_()
        energy = layer(x, kinds_of(4, 2)).square().sum()
        (force,) = torch.autograd.grad(energy, x, create_graph=True)
        results.append(torch.autograd.grad(force.square().sum(), (x, layer.weight)))
    for one, other in zip(*results, strict=True):
        close(one, other)


def test_derivatives_are_partial_where_operands_come_from_one_another():
    """Norms of gradients of norms of gradients, with weights computed from the features."""
    results = []
    for layer in twins(("0e + 1o + 1e", "0e + 1o + 1e", 3), 1):
        x = (0.3 * normal(2, layer.irreps_in.dim)).requires_grad_()
        weight = layer.weight.detach() * (1 + x.square().sum())

        def f(y, weight=weight, layer=layer):
            state = {"weight": weight}
            return torch.func.functional_call(layer, state, (y, kinds_of(2, 2)))

        derived = [f(f(x))]
        for _ in range(3):
            norm = derived[-1].square().sum()
            derived += torch.autograd.grad(norm, x, create_graph=True)
        results.append(derived)
    for one, other in zip(*results, strict=True):
        close(one, other)


@ignores_script
@pytest.mark.parametrize("case", [CASES[0], CASES[7], CASES[9], (TRUE, TRUE, 1), (TRUE, TRUE, 4)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_forward_mode_is_reverse_mode(case, layout):
    layer = built(case, method="auto", layout=layout)
    x, r = normal(3, layer.irreps_in.dim), normal(3, layer.irreps_in.dim, seed=1)
    kinds, cotangent = kinds_of(3, 2), normal(3, layer.irreps_out.dim, seed=2)
    weight, s = layer.weight.detach(), normal(*layer.weight.shape, seed=3)

    def f(x, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (x, kinds))

    value, found = torch.func.jvp(f, (x, weight), (r, s))
    close(value, f(x, weight))
    leaves = x.clone().requires_grad_(), weight.clone().requires_grad_()
    gradients = torch.autograd.grad(f(*leaves), leaves, cotangent)
    expected = (gradients[0] * r).sum() + (gradients[1] * s).sum()
    close((found * cotangent).sum(), expected)
    with torch.autograd.forward_ad.dual_level():
        make = torch.autograd.forward_ad.make_dual
        dual = layer(make(x.clone().requires_grad_(), r), kinds)
        tangent = torch.autograd.forward_ad.unpack_dual(dual).tangent
    close(tangent, torch.func.jvp(lambda x: f(x, weight), (x,), (r,))[1])


@ignores_script
def test_transformations_compose():
    layer = built(CASES[9], 2)
    x, kinds = normal(2, layer.irreps_in.dim), kinds_of(2, 2)

    def f(x):
        return layer(x, kinds)

    def g(x):
        return f(x).square().sum()

    jacobian = torch.autograd.functional.jacobian(f, x)
    close(torch.func.jacfwd(f)(x), jacobian)
    close(torch.func.jacrev(f)(x), jacobian)
    hessian = torch.autograd.functional.hessian(g, x)
    close(torch.func.hessian(g)(x), hessian, 1e-11)
    close(torch.func.jacrev(torch.func.jacfwd(g))(x), hessian, 1e-11)
    close(torch.func.jacfwd(torch.func.jacfwd(g))(x), hessian, 1e-11)
    many = normal(3, 2, layer.irreps_in.dim)
    close(torch.func.vmap(f)(many), torch.stack([f(one) for one in many]))
    slopes = torch.func.vmap(torch.func.grad(g))(many)
    close(slopes, torch.stack([torch.func.grad(g)(one) for one in many]))


@ignores_script
def test_transformations_of_gradients():
    """torch.func.vmap over gradients of graphs that kernels made, to second order."""
    results = []
    for layer in twins(CASES[9], 2):
        x = normal(2, layer.irreps_in.dim).requires_grad_()
        z, leaves = layer(x, kinds_of(2, 2)), (x, layer.weight)
        first = torch.autograd.grad(z.square().sum(), leaves, create_graph=True)

        def slopes(outputs, seed, leaves=leaves):
            return torch.autograd.grad(outputs, leaves, seed, retain_graph=True)

        many, seeds = normal(3, *z.shape, seed=2), normal(3, *x.shape, seed=3)
        batches = torch.func.vmap(lambda seed, z=z: slopes(z, seed))(many)
        second = torch.func.vmap(lambda seed, first=first: slopes(first[0], seed))(seeds)
        results.append([*batches, *second])
    for one, other in zip(*results, strict=True):
        close(one, other)


def test_kernels_keep_features_weights_and_kinds_alone():
    layer = built(CASES[0], 3)
    x, kept = normal(5, layer.irreps_in.dim).requires_grad_(), []

    def keep(tensor):
        kept.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(x, kinds_of(5, 2))
    assert kept == [tuple(x.shape), tuple(layer.weight.shape), (5,)]


def test_single_and_half_precision_and_autocast():
    layer = built(CASES[9], 64)
    x, kinds = normal(5, layer.irreps_in.dim), kinds_of(5, 2)
    expected = layer(x, kinds)
    single = copy.deepcopy(layer).float()
    found = single(x.float(), kinds)
    assert found.dtype == torch.float32
    assert (found - expected).norm() < 1e-6 * expected.norm()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(single(x.float(), kinds), found)
    half = copy.deepcopy(layer).bfloat16()(x.bfloat16(), kinds)
    assert half.dtype == torch.bfloat16
    assert (half - expected).norm() < 3e-2 * expected.norm()


def test_copies_compute_the_same():
    layer = built(CASES[9])
    x, kinds = normal(5, layer.irreps_in.dim), kinds_of(5, 2)
    expected = layer(x, kinds)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):  # noqa: S301
        assert torch.equal(other(x, kinds), expected)


def test_choice():
    like = torch.ones(1)
    for correlation, most in POWERS_UP_TO.items():
        assert prefers_sparse_powers(most, correlation, like)
        assert not prefers_sparse_powers(most + 1, correlation, like)
        assert not prefers_sparse_powers(most, correlation, like.half())
    assert not prefers_sparse_powers(2, 1, like)


@ignores_script
def test_tables_made_inside_of_a_transformation_serve_outside():
    layer = built(CASES[0], method="grid").float()
    x, kinds = normal(2, layer.irreps_in.dim).float(), kinds_of(2, 2)
    torch.func.jacfwd(lambda x: layer(x, kinds))(x)
    expected = built(CASES[0]).float()(x, kinds)
    assert (layer(x, kinds) - expected).norm() < 1e-6 * expected.norm()


def count_calls(monkeypatch):
    calls = []
    original = sphere_powers.SpherePowers.out

    def counted(self, *arguments):
        calls.append(arguments)
        return original(self, *arguments)

    monkeypatch.setattr(sphere_powers.SpherePowers, "out", counted)
    return calls


@pytest.mark.parametrize(
    ("method", "correlation", "grid"),
    [("auto", 3, False), ("sparse", 2, False), ("grid", 3, True), ("auto", 4, True)],
)
def test_method_is_followed(method, correlation, grid, monkeypatch):
    calls = count_calls(monkeypatch)
    layer = built((TRUE, TRUE, correlation), method=method)
    z = layer(normal(5, layer.irreps_in.dim).requires_grad_(), kinds_of(5, 2))
    z.sum().backward()
    assert bool(calls) == grid


@pytest.fixture
def unchecked():
    """Without the checks of annotations, which come before ours."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_without_the_compiler(monkeypatch, unchecked):
    sparse, auto = built(CASES[0]), built(CASES[0], method="auto")
    x, kinds = normal(5, sparse.irreps_in.dim), kinds_of(5, 2)
    expected = sparse(x, kinds)
    monkeypatch.setattr(engine, "compiler_works", lambda: False)
    calls = count_calls(monkeypatch)
    close(auto(x, kinds), expected)
    assert calls
    with pytest.raises(ConventionError) as caught:
        sparse(x, kinds)
    assert caught.value.argument == "method"
