"""Convolution with filters on the sphere, against e3nn, sums over coefficients, and under O(3)."""

from __future__ import annotations

import copy
import math
import pickle
from itertools import product

import jaxtyping
import pytest
import torch
from e3nn.o3 import Irreps, TensorProduct, rand_matrix, spherical_harmonics
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn import GauntConvolution, GauntTensorProduct
from equivariant.nn.gaunt import (
    gaunt_coefficients,
    gaunt_constant,
    poisson_coefficients,
    poisson_constant,
)
from equivariant.nn.gaunt.convolution.filter_matrices import FilterMatrices

TRUE, PSEUDO = "3x0e + 3x1o + 3x2e", "3x0o + 3x1e + 3x2o"
MIXED, SPARSE = "3x2o + 3x0e + 3x1o + 3x1e", "3x3o + 3x1e"
INPUTS = [TRUE, PSEUDO, MIXED, SPARSE]
PARITIES, LAYOUTS, KINDS = ["even", "full"], ["mul_ir", "ir_mul"], ["degree", "path"]
EDGES = torch.tensor([[0, 1, 2, 3, 3, 0, 2], [1, 1, 0, 4, 1, 0, 4]])
SCALE = {"integral": 1.0, "component": math.sqrt(4 * math.pi)}


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def inputs(layer, kind="degree", nodes=5, edges=7):
    weights = layer.lmax + 1 if kind == "degree" else len(layer.paths)
    x = normal(nodes, layer.irreps_in.dim)
    return x, normal(edges, 3, seed=1), normal(edges, weights, seed=2)


def per_path(layer, radial):
    """Weights per coupling, whichever were given."""
    if radial.shape[1] == layer.lmax + 1:
        radial = radial[:, [path.second.l for path in layer.paths]]
    return radial


def constant(path):
    degrees = [irrep.l for irrep in path]
    return poisson_constant(*degrees) if sum(degrees) % 2 else gaunt_constant(*degrees)


def by_e3nn(layer, x, vectors, radial, edges=None):
    """e3nn's product 'uvu' over the same couplings, one weight per edge and coupling."""
    irreps = layer.irreps_in, layer.irreps_filter, layer.irreps_out
    instructions = []
    for path in layer.paths:
        places = [
            [irrep for _, irrep in each].index(one) for each, one in zip(irreps, path, strict=True)
        ]
        squared = (constant(path) * SCALE[layer.normalization]) ** 2
        instructions.append((*places, "uvu", True, squared))
    peer = TensorProduct(
        *irreps,
        instructions,
        irrep_normalization="none",
        path_normalization="none",
        shared_weights=False,
    )
    degrees = list(range(layer.lmax + 1))
    y = spherical_harmonics(degrees, vectors, True, layer.normalization)
    weight = per_path(layer, radial).repeat_interleave(layer.irreps_in[0].mul, 1)
    if edges is None:
        return peer(x, y, weight)
    messages = peer(x[edges[0]], y, weight)
    return torch.zeros(len(x), messages.shape[1], dtype=x.dtype).index_add(0, edges[1], messages)


@pytest.fixture
def unchecked():
    """Without the checks of annotations, which come before ours."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def close(value, expected, tolerance=1e-12):
    scale = float(expected.detach().abs().max()) if expected.numel() else 1.0
    torch.testing.assert_close(value, expected, rtol=0, atol=tolerance * max(scale, 1e-2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parity", PARITIES)
@pytest.mark.parametrize("irreps", INPUTS)
def test_values_and_gradients_are_those_of_e3nn(irreps, parity, kind, double):
    layer = GauntConvolution(irreps, 2, parity=parity)
    operands = [x.requires_grad_() for x in inputs(layer, kind)]
    z, expected = layer(*operands, edge_index=EDGES), by_e3nn(layer, *operands, EDGES)
    close(z, expected)
    weight = normal(*z.shape, seed=3)
    ours = torch.autograd.grad((z * weight).sum(), operands)
    theirs = torch.autograd.grad((expected * weight).sum(), operands)
    for gradient, other in zip(ours, theirs, strict=True):
        close(gradient, other, 1e-11)


@pytest.mark.parametrize("normalization", ["integral", "component"])
@pytest.mark.parametrize("out", ["3x1o + 3x0e", "3x3o", "3x2e + 3x1e"])
def test_parts_of_the_result_in_any_order(out, normalization, double):
    layer = GauntConvolution(MIXED, 3, out, parity="full", normalization=normalization)
    for kind in KINDS:
        operands = inputs(layer, kind, nodes=7)
        close(layer(*operands), by_e3nn(layer, *operands))


@pytest.mark.parametrize("parity", PARITIES)
def test_against_sums_over_coefficients(parity):
    """Edge by edge, coupling by coupling, channel by channel."""
    layer = GauntConvolution(MIXED, 2, parity=parity, normalization="integral")
    x, vectors, radial = inputs(layer, "path")
    y = spherical_harmonics([0, 1, 2], vectors, True, "integral")
    outs = [irrep for _, irrep in layer.irreps_out]
    ins = [irrep for _, irrep in layer.irreps_in]
    expected = torch.zeros(5, layer.irreps_out.dim, dtype=torch.float64)
    for e, (source, target) in enumerate(EDGES.T.tolist()):
        for p, (first, second, out) in enumerate(layer.paths):
            table = poisson_coefficients if (first.l + second.l + out.l) % 2 else gaunt_coefficients
            one = x[source, layer.irreps_in.slices()[ins.index(first)]].view(3, -1)
            other = y[e, second.l**2 : (second.l + 1) ** 2]
            z = torch.einsum("ua,b,abc->uc", one, other, table(first.l, second.l, out.l))
            place = layer.irreps_out.slices()[outs.index(out)]
            expected[target, place] += radial[e, p] * z.flatten()
    close(layer(x, vectors, radial, edge_index=EDGES), expected)


@pytest.mark.parametrize("normalization", ["integral", "component", "norm"])
@pytest.mark.parametrize("parity", PARITIES)
@pytest.mark.parametrize("irreps", INPUTS)
def test_filter_first_is_the_product_on_the_grid(irreps, parity, normalization):
    """Both methods, and a product of the features with a filter that every channel has."""
    options = {"parity": parity, "normalization": normalization}
    layer = GauntConvolution(irreps, 2, **options)
    grid = GauntConvolution(irreps, 2, method="grid", **options)
    x, vectors, radial = inputs(layer)
    z = layer(x, vectors, radial, edge_index=EDGES)
    close(grid(x, vectors, radial, edge_index=EDGES), z)
    irreps_filter = Irreps([(3, irrep) for _, irrep in layer.irreps_filter])
    binary = GauntTensorProduct(irreps, irreps_filter, layer.irreps_out, **options)
    y = layer.harmonics(vectors)
    blocks = [(radial[:, n, None] * y[:, n * n : (n + 1) ** 2]).repeat(1, 3) for n in range(3)]
    messages = binary(x[EDGES[0]], torch.cat(blocks, 1))
    close(z, torch.zeros(5, z.shape[1]).double().index_add(0, EDGES[1], messages))


@pytest.mark.parametrize("method", ["auto", "grid"])
def test_layouts_are_orders_of_one_result(method):
    """A feature in one layout is that in the other with channels and components swapped."""

    def swapped(x, irreps):
        parts = [
            x[:, s].view(len(x), m.mul, -1) for m, s in zip(irreps, irreps.slices(), strict=True)
        ]
        return torch.cat([part.mT.flatten(1) for part in parts], 1)

    options = {"parity": "full", "weights": "degree", "method": method}
    one = GauntConvolution(MIXED, 2, **options).double()
    other = GauntConvolution(MIXED, 2, layout="ir_mul", **options).double()
    torch.nn.init.normal_(one.weight_in)
    torch.nn.init.normal_(one.weight_out)
    other.load_state_dict(one.state_dict())
    x, vectors, radial = inputs(one)
    z = other(swapped(x, one.irreps_in), vectors, radial, edge_index=EDGES)
    close(z, swapped(one(x, vectors, radial, edge_index=EDGES), one.irreps_out))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_one_factor_per_channel_and_irrep(layout, double):
    layer = GauntConvolution(MIXED, 2, parity="full", weights="degree", layout=layout)
    plain = GauntConvolution(MIXED, 2, parity="full", layout=layout)
    operands = inputs(layer)
    assert torch.equal(layer(*operands, edge_index=EDGES), plain(*operands, edge_index=EDGES))
    for weight in layer.parameters():
        torch.nn.init.normal_(weight)
    factors = []
    for irreps, weight in (
        (layer.irreps_in, layer.weight_in),
        (layer.irreps_out, layer.weight_out),
    ):
        each = [
            row.repeat_interleave(n.dim) if layout == "mul_ir" else row.repeat(n.dim)
            for row, (_, n) in zip(weight, irreps, strict=True)
        ]
        factors.append(torch.cat(each))
    x, *rest = operands
    expected = factors[1] * plain(factors[0] * x, *rest, edge_index=EDGES)
    close(layer(*operands, edge_index=EDGES), expected)


@torch.no_grad()
def worst_error(layer, kind="degree", edges_move=True):
    """Largest relative error over rotations, and rotations with inversion."""
    x, vectors, radial = inputs(layer, kind)
    z = layer(x, vectors, radial, edge_index=EDGES)
    torch.manual_seed(0)
    worst = 0.0
    for sign in (1, -1) * 4:
        matrix = sign * rand_matrix(dtype=torch.float64)
        moved = [irreps.D_from_matrix(matrix) for irreps in (layer.irreps_in, layer.irreps_out)]
        turned = vectors @ matrix.T if edges_move else vectors
        left = layer(x @ moved[0].T, turned, radial, edge_index=EDGES)
        right = z @ moved[1].T
        worst = max(worst, float((left - right).norm() / right.norm()))
    return worst


@pytest.mark.parametrize("method", ["auto", "grid"])
@pytest.mark.parametrize("parity", PARITIES)
@pytest.mark.parametrize("irreps", INPUTS)
def test_turns_and_reflects_as_declared(irreps, parity, method, double):
    layer = GauntConvolution(irreps, 3, parity=parity, weights="degree", method=method)
    for weight in layer.parameters():
        torch.nn.init.normal_(weight)
    assert worst_error(layer) < 1e-12
    if method == "auto":
        assert worst_error(layer, "path") < 1e-12


@pytest.mark.parametrize("degree", [6, 10])
def test_large_degrees_turn(degree, double):
    irreps = "+".join(f"1x{n}{'eo'[n % 2]}" for n in range(degree + 1))
    assert worst_error(GauntConvolution(irreps, degree, irreps)) < 1e-12


class Misnamed(torch.nn.Module):
    """A layer that calls its true result pseudo."""

    def __init__(self):
        super().__init__()
        self.layer = GauntConvolution(TRUE, 2, TRUE)
        self.irreps_in, self.irreps_out = Irreps(TRUE), Irreps(PSEUDO)
        self.lmax = 2

    def forward(self, *operands, **options):
        return self.layer(*operands, **options)


class Mirrored(torch.nn.Module):
    """A layer that reads its vectors in another order of axes."""

    def __init__(self):
        super().__init__()
        self.layer = GauntConvolution(TRUE, 2, TRUE)
        self.irreps_in, self.irreps_out, self.lmax = Irreps(TRUE), Irreps(TRUE), 2

    def forward(self, x, vectors, *operands, **options):
        return self.layer(x, vectors[:, [1, 2, 0]], *operands, **options)


def test_broken_twins_are_caught(double):
    assert worst_error(Misnamed()) > 0.1
    assert worst_error(Mirrored()) > 0.1
    assert worst_error(GauntConvolution(TRUE, 2), edges_move=False) > 0.1


@pytest.mark.parametrize("method", ["auto", "grid"])
def test_order_of_nodes_and_edges_does_not_matter(method):
    layer = GauntConvolution(MIXED, 2, parity="full", method=method)
    x, vectors, radial = inputs(layer)
    z = layer(x, vectors, radial, edge_index=EDGES)
    order = torch.tensor([3, 0, 6, 5, 1, 2, 4])
    close(layer(x, vectors[order], radial[order], edge_index=EDGES[:, order]), z)
    nodes = torch.tensor([2, 4, 0, 1, 3])
    renamed = nodes.argsort()[EDGES]
    close(layer(x[nodes], vectors, radial, edge_index=renamed), z[nodes])


@pytest.mark.parametrize("method", ["auto", "grid"])
@pytest.mark.parametrize("edges", [0, 1, 7])
def test_few_edges_and_nodes_without_any(method, edges):
    layer = GauntConvolution(TRUE, 2, method=method)
    x, vectors, radial = (a.requires_grad_() for a in inputs(layer, edges=edges))
    index = EDGES[:, :edges]
    z = layer(x, vectors, radial, edge_index=index, num_nodes=6)
    expected = torch.zeros(6, layer.irreps_out.dim, dtype=torch.float64)
    for e, (source, target) in enumerate(index.T.tolist()):
        part = slice(e, e + 1)
        expected[target] += layer(x[source, None], vectors[part], radial[part])[0]
    close(z, expected)
    assert z[5].abs().max() == 0
    z.sum().backward()
    assert x.grad.shape == x.shape
    assert x.grad[4].abs().max() == 0
    assert layer(x[:0], vectors[:0], radial[:0]).shape == (0, layer.irreps_out.dim)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [1, 3 * 9 * 35 * 8, 1 << 26])
def test_matrices_stay_within_their_memory(kind, limit, monkeypatch):
    """In the value, the gradient and the gradient of the gradient, which do not change."""
    seen = []
    original = FilterMatrices.matrices

    def watched(form, filters):
        made = original(form, filters)
        seen.append(made.numel() * made.element_size())
        return made

    def evaluate(bytes_):
        layer = GauntConvolution(TRUE, 2, filter_bytes=bytes_, method="dense")
        x, vectors, radial = (a.requires_grad_() for a in inputs(layer, kind))
        z = layer(x, vectors, radial, edge_index=EDGES)
        first = torch.autograd.grad(z.pow(3).sum(), (x, vectors, radial), create_graph=True)
        second = torch.autograd.grad(sum(g.pow(2).sum() for g in first), (x, vectors, radial))
        return layer, [z, *first, *second]

    _, expected = evaluate(1 << 30)
    monkeypatch.setattr(FilterMatrices, "matrices", watched)
    layer, results = evaluate(limit)
    for result, other in zip(results, expected, strict=True):
        close(result, other, 1e-11)
    one = 8 * (layer.irreps_in.dim // 3) * (layer.irreps_out.dim // 3)
    assert max(seen) <= max(limit, one)
    assert (len(seen) >= 7 * 5) == (limit == 1)


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr():
                self.bytes = max(self.bytes, tensor.numel() * tensor.element_size())
        return result


@pytest.mark.parametrize("kind", KINDS)
def test_messages_of_all_edges_never_exist_together(kind):
    """In value and gradient, where a few edges of many fit into the memory allowed."""
    irreps, edges = "64x0e + 64x1o", 600
    found = {}
    for limit in (1 << 15, 1 << 30):
        layer = GauntConvolution(irreps, 1, irreps, filter_bytes=limit, method="dense")
        x, vectors, radial = (a.requires_grad_() for a in inputs(layer, kind, edges=edges))
        index = torch.arange(2 * edges).view(2, edges) % 5
        with Largest() as largest:
            z = layer(x, vectors, radial, edge_index=index)
            torch.autograd.grad(z.square().sum(), (x, vectors, radial))
        found[limit] = largest.bytes
    whole = edges * 4 * 64 * 8
    assert found[1 << 15] < whole / 8
    assert found[1 << 30] >= whole


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [1, 1 << 20])
def test_derivatives_of_first_and_second_order(layout, kind, limit, double):
    layer = GauntConvolution(
        "2x0e + 2x1o + 2x1e", 1, "2x0e + 2x1o + 2x1e", parity="full", layout=layout,
        weights="degree", filter_bytes=limit,
    )  # fmt: skip
    x, vectors, radial = inputs(layer, kind, nodes=3, edges=3)
    with torch.no_grad():
        vectors[0] = torch.tensor([0.0, 1.5, 0.0])
    index = torch.tensor([[0, 0, 1], [1, 2, 2]])
    names = [name for name, _ in layer.named_parameters()]
    weights = [normal(*p.shape, seed=4) for p in layer.parameters()]
    operands = tuple(a.requires_grad_() for a in (x, vectors, radial, *weights))

    def f(x, vectors, radial, *weights):
        state = dict(zip(names, weights, strict=True))
        call = (x, vectors, radial), {"edge_index": index}
        return torch.func.functional_call(layer, state, *call)

    assert torch.autograd.gradcheck(f, operands)
    assert torch.autograd.gradgradcheck(f, operands)


def energy(layer, positions, features, index):
    """Of two layers, with weights that depend on length: twice differentiable."""
    vectors = positions[index[1]] - positions[index[0]]
    length = vectors.norm(dim=1, keepdim=True)
    radial = torch.cat([(-length).exp(), (-2 * length).exp(), 1 / (1 + length)], 1)
    y = layer(features, vectors, radial, edge_index=index)
    return layer(y, vectors, radial, edge_index=index).square().sum()


def test_forces_and_the_gradient_of_a_loss_of_forces(double):
    """Against differences of energies, and of losses."""
    layer = GauntConvolution("2x0e + 2x1o", 2, "2x0e + 2x1o", weights="degree")
    index = torch.tensor([[0, 1, 0, 2, 1, 2], [1, 0, 2, 0, 2, 1]])
    positions, features = normal(3, 3).requires_grad_(), normal(3, 8, seed=1)

    def forces(create=False):
        total = energy(layer, positions, features, index)
        return torch.autograd.grad(total, positions, create_graph=create)[0]

    loss = forces(True).square().sum()
    (gradient,) = torch.autograd.grad(loss, layer.weight_in)
    step = 1e-5
    with torch.no_grad():
        near = [positions.detach().clone() for _ in range(2)]
        near[0][1, 2] += step
        near[1][1, 2] -= step
        values = [energy(layer, p, features, index) for p in near]
    close((values[0] - values[1]) / (2 * step), forces()[1, 2], 1e-7)
    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            layer.weight_in[1, 0] += sign * step
        losses.append(forces().square().sum())
        with torch.no_grad():
            layer.weight_in[1, 0] -= sign * step
    close((losses[0] - losses[1]) / (2 * step), gradient[1, 0], 1e-7)


def test_a_third_derivative():
    layer = GauntConvolution(TRUE, 2, TRUE)
    x, vectors, radial = (a.requires_grad_() for a in inputs(layer))
    derived = layer(x, vectors, radial, edge_index=EDGES).square().sum()
    for _ in range(3):
        (gradient,) = torch.autograd.grad(derived, vectors, create_graph=True)
        derived = gradient.square().sum()
    assert torch.isfinite(derived)
    assert derived > 0


@pytest.mark.parametrize("method", ["auto", "grid"])
def test_an_edge_without_length_counts_by_degree_0_alone(method):
    layer = GauntConvolution(TRUE, 2, method=method)
    x, vectors, radial = inputs(layer, nodes=7)
    with torch.no_grad():
        vectors[3] = 0.0
    vectors.requires_grad_()
    z = layer(x, vectors, radial)
    larger = radial.clone()
    larger[3, 1:] = 100.0
    close(layer(x, vectors, larger)[3], z[3])
    close(z[3, :27], radial[3, 0] * x[3])
    z.square().sum().backward()
    assert torch.isfinite(vectors.grad).all()
    assert vectors.grad[3].abs().max() == 0
    assert vectors.grad[2].abs().max() > 0


@pytest.mark.parametrize("method", ["auto", "grid"])
def test_single_and_half_precision(method):
    layer = GauntConvolution(TRUE, 2, parity="full", method=method)
    operands = inputs(layer)
    expected = layer(*operands, edge_index=EDGES)
    single = layer(*(a.float() for a in operands), edge_index=EDGES)
    assert single.dtype == torch.float32
    assert (single - expected).norm() < 1e-6 * expected.norm()
    half = layer(*(a.bfloat16() for a in operands), edge_index=EDGES)
    assert half.dtype == torch.bfloat16
    assert (half - expected).norm() < 2e-2 * expected.norm()
    x, vectors, radial = operands
    assert layer(x.float(), vectors.float(), radial, edge_index=EDGES).dtype == torch.float64


@pytest.mark.parametrize("method", ["auto", "grid"])
def test_autocast_changes_nothing(method):
    layer = GauntConvolution(TRUE, 2, method=method, weights="degree")
    x, vectors, radial = (a.float().requires_grad_() for a in inputs(layer))
    plain = layer(x, vectors, radial, edge_index=EDGES)
    expected = torch.autograd.grad(plain.square().sum(), (x, vectors, radial))
    with torch.autocast("cpu", torch.bfloat16):
        inside = layer(x, vectors, radial, edge_index=EDGES)
    gradients = torch.autograd.grad(inside.square().sum(), (x, vectors, radial))
    assert torch.equal(inside, plain)
    for gradient, other in zip(gradients, expected, strict=True):
        assert torch.equal(gradient, other)


def test_functional_gradients():
    layer = GauntConvolution(TRUE, 2)
    x, vectors, radial = inputs(layer)

    def f(vectors):
        return layer(x, vectors, radial, edge_index=EDGES).square().sum()

    gradient = torch.func.grad(f)(vectors)
    close(gradient, torch.autograd.grad(f(vectors.requires_grad_()), vectors)[0])
    hessian = torch.func.jacrev(torch.func.grad(f))(vectors.detach())
    close(hessian, torch.autograd.functional.hessian(f, vectors.detach()), 1e-11)


def test_layers_can_share_harmonics():
    one, other = GauntConvolution(TRUE, 2), GauntConvolution(PSEUDO, 2, parity="full")
    for layer in (one, other):
        x, vectors, radial = inputs(layer)
        y = one.harmonics(vectors)
        shared = layer(x, None, radial, edge_index=EDGES, harmonics=y)
        assert torch.equal(shared, layer(x, vectors, radial, edge_index=EDGES))


def test_state_survives():
    layer = GauntConvolution(MIXED, 2, parity="full", weights="degree")
    assert list(layer.state_dict()) == ["weight_in", "weight_out"]
    assert not GauntConvolution(TRUE, 2).state_dict()
    operands = inputs(layer)
    expected = layer(*operands, edge_index=EDGES)
    there_and_back = copy.deepcopy(layer).half().double()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), there_and_back):  # noqa: S301
        assert torch.equal(other(*operands, edge_index=EDGES), expected)


def test_tables_served_in_inference_mode_serve_training():
    layer = GauntConvolution(TRUE, 2)
    operands = inputs(layer)
    with torch.inference_mode():
        expected = layer(*operands, edge_index=EDGES)
    z = layer(*(a.requires_grad_() for a in operands), edge_index=EDGES)
    z.sum().backward()
    assert torch.equal(z, expected)


def test_paths_are_ordered_and_complete():
    layer = GauntConvolution(MIXED, 2, parity="full")
    ins, outs = ([irrep for _, irrep in i] for i in (layer.irreps_in, layer.irreps_out))
    expected = [
        (first, second, out)
        for first, out, (_, second) in product(ins, outs, layer.irreps_filter)
        if out in first * second
    ]
    assert [tuple(path) for path in layer.paths] == expected


@pytest.mark.parametrize(
    ("arguments", "options", "argument"),
    [
        (("3x0e + 2x1o", 2), {}, "irreps_in"),
        (("", 2), {}, "irreps_in"),
        ((TRUE, -1), {}, "lmax"),
        ((TRUE, 2, "2x0e"), {}, "irreps_out"),
        ((TRUE, 2, "3x1e"), {}, "irreps_out"),
        ((TRUE, 2, "3x7o"), {"parity": "full"}, "irreps_out"),
        ((TRUE, 2), {"parity": "odd"}, "parity"),
        ((TRUE, 2), {"layout": "channels"}, "layout"),
        ((TRUE, 2), {"method": "fft"}, "method"),
        ((TRUE, 2), {"weights": "path"}, "weights"),
        ((TRUE, 2), {"normalization": "unit"}, "normalization"),
        ((TRUE, 2), {"filter_bytes": 0}, "filter_bytes"),
    ],
)
def test_settings_that_do_not_fit_are_refused(arguments, options, argument, unchecked):
    with pytest.raises(ConventionError) as caught:
        GauntConvolution(*arguments, **options)
    assert caught.value.argument == argument


def test_inputs_that_do_not_fit_are_refused(unchecked):
    layer = GauntConvolution(TRUE, 2)
    x, vectors, radial = inputs(layer)
    grid = GauntConvolution(TRUE, 2, method="grid")
    edges = {"edge_index": EDGES}
    for error, argument, call, options in (
        (ShapeError, "x", lambda **o: layer(x[:, 1:], vectors, radial, **o), edges),
        (ShapeError, "x", lambda **o: layer(x[None], vectors, radial, **o), edges),
        (ConventionError, "x", lambda **o: layer(x.long(), vectors, radial, **o), edges),
        (ShapeError, "x", lambda **o: layer(x, vectors, radial, **o), {}),
        (ShapeError, "x", lambda **o: layer(x[EDGES[0]], vectors, radial, **o), {"num_nodes": 7}),
        (ShapeError, "vectors", lambda **o: layer(x, vectors[:, :2], radial, **o), edges),
        (ShapeError, "edge_vectors", lambda **o: layer(x, None, radial, **o), edges),
        (ShapeError, "radial_weights", lambda **o: layer(x, vectors, radial[1:], **o), edges),
        (ShapeError, "radial_weights", lambda **o: layer(x, vectors, radial[:, 1:], **o), edges),
        (
            ShapeError,
            "radial_weights",
            lambda **o: grid(x, vectors, normal(7, len(grid.paths)), **o),
            edges,
        ),
        (
            ConventionError,
            "radial_weights",
            lambda **o: layer(x, vectors, radial.long(), **o),
            edges,
        ),
        (
            ShapeError,
            "edge_index",
            lambda **o: layer(x, vectors, radial, **o),
            {"edge_index": EDGES[:, 1:]},
        ),
        (
            ConventionError,
            "edge_index",
            lambda **o: layer(x, vectors, radial, **o),
            {"edge_index": EDGES.int()},
        ),
        (
            ConventionError,
            "edge_index",
            lambda **o: layer(x, vectors, radial, **o),
            {"edge_index": EDGES, "num_nodes": 4},
        ),
        (
            ConventionError,
            "edge_index",
            lambda **o: layer(x, vectors, radial, **o),
            {"edge_index": EDGES - 1},
        ),
    ):
        with pytest.raises(error) as caught:
            call(**options)
        assert caught.value.argument == argument


@pytest.mark.parametrize(("former", "present"), [("filter", "auto"), ("matrices", "dense")])
def test_former_names_of_methods_work_with_a_warning(former, present):
    with pytest.warns(DeprecationWarning, match=present):
        layer = GauntConvolution(TRUE, 1, method=former)
    assert layer.method == present
