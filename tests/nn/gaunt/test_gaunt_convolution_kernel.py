"""The compiled convolution over edges: against sums edge by edge, and against matrix products."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from e3nn.o3 import rand_matrix
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from equivariant.errors import ConventionError
from equivariant.harmonics.sphere_grid import dense_table
from equivariant.nn import GauntConvolution
from equivariant.nn.gaunt.compiled import availability as engine
from equivariant.nn.gaunt.compiled.edges.kernel import EdgeKernel
from equivariant.nn.gaunt.compiled.edges.nonzero_couplings import EdgeTerms
from equivariant.nn.gaunt.compiled.edges.visiting_order import ROWS, matrices, pairs
from equivariant.nn.gaunt.compiled.row_layout import RowLayout
from equivariant.nn.gaunt.convolution.incidence import Incidence
from equivariant.nn.gaunt.methods.fastest import prefers_edges

pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script`:DeprecationWarning"  # torch's own, in forward mode
)

EDGES = torch.tensor([[0, 1, 2, 3, 3, 0, 2], [1, 1, 0, 4, 1, 0, 4]])  # no edge ends at 2 or 3
CHANNELS, LAYOUTS = [1, 3, 16, 63, 64, 65, 128], ["mul_ir", "ir_mul"]
MIXED = "3x2o + 3x0e + 3x1o + 3x1e"


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def irreps(channels, degree):
    return " + ".join(f"{channels}x{n}{'eo'[n % 2]}" for n in range(degree + 1))


def operands(layer, nodes=5, edges=7, *, per_path=False):
    width = len(layer.paths) if per_path else layer.lmax + 1
    x = normal(nodes, layer.irreps_in.dim)
    return x, normal(edges, 3, seed=1), normal(edges, width, seed=2)


def twins(*arguments, **options):
    """The same layer by the kernel and by matrix products."""
    return tuple(
        GauntConvolution(*arguments, method=method, **options) for method in ("sparse", "dense")
    )


def close(value, expected, tolerance=1e-12):
    assert value.shape == expected.shape
    scale = float(expected.detach().abs().max()) if expected.numel() else 1.0
    torch.testing.assert_close(value, expected, rtol=0, atol=tolerance * max(scale, 1e-3))


def gradients(layer, inputs, **options):
    """Values, and gradients by everything, of a sum with random weights."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    z = layer(*leaves, **options)
    weight = normal(*z.shape, seed=9).to(z.dtype)
    return [z, *torch.autograd.grad((z * weight).sum(), [*leaves, *layer.parameters()])]


def loop(degrees, channels, layout, inputs, edges):
    """Edge by edge, over every coefficient."""
    x, harmonics, radial = inputs
    table = dense_table(degrees, "even", "component", torch.float64, torch.device("cpu"))
    table = table.unflatten(0, ((degrees[0] + 1) ** 2, -1))
    y = torch.zeros(len(x), channels, table.shape[2], dtype=x.dtype)
    for edge, (source, target) in enumerate(edges.T.tolist()):
        filters = harmonics[edge] * torch.cat(
            [radial[edge, n].expand(2 * n + 1) for n in range(degrees[1] + 1)]
        )
        row = by_channel(x[source], channels, degrees[0], layout)
        y = y.index_add(
            0, torch.tensor([target]), torch.einsum("ca,b,abd->cd", row, filters, table)[None]
        )
    return torch.stack([from_channels(row, layout) for row in y])


def by_channel(row, channels, degree, layout):
    if layout == "ir_mul":
        return row.view(-1, channels).T
    parts = row.split([channels * (2 * n + 1) for n in range(degree + 1)])
    return torch.cat([part.view(channels, -1) for part in parts], 1)


def from_channels(values, layout):
    if layout == "ir_mul":
        return values.T.flatten()
    degree = round(values.shape[1] ** 0.5) - 1
    return torch.cat([values[:, n * n : (n + 1) ** 2].flatten() for n in range(degree + 1)])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", CHANNELS)
def test_values_and_gradients_are_those_of_a_loop(channels, layout):
    """Three different degrees; repeated targets, and nodes where no edge ends."""
    layer = GauntConvolution(
        irreps(channels, 2), 1, irreps(channels, 3), layout=layout, method="sparse"
    )
    x, vectors, radial = operands(layer)
    leaves = [t.requires_grad_() for t in (x, layer.harmonics(vectors), radial)]
    z = layer(x, None, radial, harmonics=leaves[1], edge_index=EDGES)
    expected = loop((2, 1, 3), channels, layout, leaves, EDGES)
    close(z, expected)
    assert z[2:4].abs().max() == 0
    weight = normal(*z.shape, seed=3)
    ours = torch.autograd.grad((z * weight).sum(), leaves)
    theirs = torch.autograd.grad((expected * weight).sum(), leaves)
    for one, other in zip(ours, theirs, strict=True):
        close(one, other)


@pytest.mark.parametrize("per_path", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", CHANNELS)
def test_values_and_gradients_are_those_of_matrices(channels, layout, per_path):
    """With and without numbers of nodes, in double and single precision."""
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        one, other = twins(irreps(channels, 2), 3, irreps(channels, 1), layout=layout)
        for edges, index in ((7, EDGES), (37, None)):
            inputs = operands(one, 5 if edges == 7 else 37, edges, per_path=per_path)
            inputs = [t.to(dtype) for t in inputs]
            found, expected = (gradients(each, inputs, edge_index=index) for each in (one, other))
            for value, reference in zip(found, expected, strict=True):
                close(value, reference, tolerance)


@pytest.mark.parametrize("per_path", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("parity", ["even", "full"])
def test_true_and_pseudo_parts_and_weights(parity, layout, per_path):
    one, other = twins(MIXED, 2, parity=parity, layout=layout, weights="degree")
    for weight in one.parameters():
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    other.load_state_dict(one.state_dict())
    one, other = one.double(), other.double()
    inputs = operands(one, per_path=per_path)
    found, expected = (gradients(each, inputs, edge_index=EDGES) for each in (one, other))
    for value, reference in zip(found, expected, strict=True):
        close(value, reference)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("edges", [0, 1, 8, 16, 17])
def test_few_edges(edges, layout):
    one, other = twins(irreps(16, 1), 1, layout=layout)
    inputs = operands(one, edges=edges)
    index = torch.arange(2 * edges).view(2, edges) % 5
    found, expected = (
        gradients(each, inputs, edge_index=index, num_nodes=6) for each in (one, other)
    )
    for value, reference in zip(found, expected, strict=True):
        close(value, reference)
    assert found[0][5].abs().max() == 0
    alone = operands(one, nodes=edges, edges=edges)
    for value, reference in zip(gradients(one, alone), gradients(other, alone), strict=True):
        close(value, reference)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_that_do_not_lie_row_after_row(layout):
    layer = GauntConvolution(irreps(16, 1), 1, layout=layout, method="sparse")
    x, vectors, radial = operands(layer)
    expected = layer(x, vectors, radial, edge_index=EDGES)
    scattered = x.T.contiguous().T, vectors.T.contiguous().T, radial.T.contiguous().T
    index = EDGES.T.contiguous().T
    assert torch.equal(layer(*scattered, edge_index=index), expected)
    negative = torch.complex(x, -x).conj().imag
    assert negative.is_neg()
    close(layer(negative, vectors, radial, edge_index=EDGES), expected)
    leaf = x.clone().requires_grad_()
    layer(leaf, vectors, radial, edge_index=EDGES).sum().backward()
    ones = torch.ones_like(expected)
    again = x.clone().requires_grad_()
    layer(again, vectors, radial, edge_index=EDGES).backward(ones)
    assert torch.equal(leaf.grad, again.grad)


@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_gradients_that_are_asked_for_alone(which):
    one, other = twins(irreps(16, 1), 1)
    inputs = operands(one)
    found = []
    for layer in (one, other):
        leaves = [t.clone().requires_grad_(place in which) for place, t in enumerate(inputs)]
        z = layer(*leaves, edge_index=EDGES)
        found.append(torch.autograd.grad(z.square().sum(), [leaves[place] for place in which]))
    for value, reference in zip(*found, strict=True):
        close(value, reference)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("per_path", [False, True])
def test_derivatives_of_higher_order_and_in_forward_mode(per_path, layout):
    layer = GauntConvolution("2x0e + 2x1o", 1, layout=layout, method="sparse")
    inputs = operands(layer, 3, 3, per_path=per_path)
    index = torch.tensor([[0, 0, 1], [1, 2, 2]])

    def f(*leaves):
        return layer(*leaves, edge_index=index)

    leaves = tuple(t.requires_grad_() for t in inputs)
    options = {"check_forward_ad": True, "check_batched_grad": True}
    assert torch.autograd.gradcheck(f, leaves, check_batched_forward_grad=True, **options)
    assert torch.autograd.gradgradcheck(f, leaves, check_fwd_over_rev=True)

    def third(*leaves):
        (first,) = torch.autograd.grad(f(*leaves).pow(3).sum(), leaves[1], create_graph=True)
        return first

    assert torch.autograd.gradgradcheck(third, leaves, atol=1e-4)


@pytest.mark.parametrize("method", ["sparse", "dense", "grid"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_forward_mode_is_reverse_mode(layout, method):
    layer = GauntConvolution(irreps(3, 2), 2, irreps(3, 1), layout=layout, method=method)
    inputs = operands(layer)
    tangents = [normal(*t.shape, seed=5) for t in inputs]

    def f(*leaves):
        return layer(*leaves, edge_index=EDGES)

    backward = torch.func.jacrev(f, (0, 1, 2))(*inputs)
    forward = torch.func.jacfwd(f, (0, 1, 2))(*inputs)
    for one, other in zip(forward, backward, strict=True):
        close(one, other)
    expected = sum(
        torch.einsum("ndij,ij->nd", jacobian, tangent)
        for jacobian, tangent in zip(backward, tangents, strict=True)
    )
    value, change = torch.func.jvp(f, tuple(inputs), tuple(tangents))
    close(value, f(*inputs))
    close(change, expected)
    for wanted in (False, True):
        with forward_ad.dual_level():
            duals = [
                forward_ad.make_dual(t.clone().requires_grad_(wanted), tangent)
                for t, tangent in zip(inputs, tangents, strict=True)
            ]
            close(forward_ad.unpack_dual(f(*duals)).tangent, expected)


@pytest.mark.parametrize("method", ["sparse", "dense"])
def test_batches_of_everything(method):
    """Maps over features, vectors and weights, and of derivatives."""
    layer = GauntConvolution(irreps(3, 2), 2, irreps(3, 1), method=method)
    inputs = operands(layer)
    many = [torch.stack([t, -2 * t, t.flip(0)]) for t in inputs]

    def f(*leaves):
        return layer(*leaves, edge_index=EDGES)

    def energy(vectors, x=inputs[0]):
        return f(x, vectors, inputs[2]).square().sum()

    for batched in product((False, True), repeat=3):
        if not any(batched):
            continue
        chosen = [m if b else t for m, t, b in zip(many, inputs, batched, strict=True)]
        places = tuple(0 if b else None for b in batched)
        found = torch.func.vmap(f, places)(*chosen)
        for n in range(3):
            single = [t[n] if b else t for t, b in zip(chosen, batched, strict=True)]
            close(found[n], f(*single))
    forces = torch.func.vmap(torch.func.grad(energy))(many[1])
    for n in range(3):
        close(forces[n], torch.func.grad(energy)(many[1][n]))
    twice = torch.func.hessian(energy)(inputs[1])
    close(twice, torch.autograd.functional.hessian(energy, inputs[1]), 1e-11)
    alone = GauntConvolution(irreps(3, 1), 1, method=method)
    x, vectors, radial = (torch.stack([t, 2 * t]) for t in operands(alone, 7))
    close(torch.func.vmap(alone)(x, vectors, radial)[1], alone(x[1], vectors[1], radial[1]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", ["sparse", "dense"])
def test_batches_of_gradients_by_the_older_way(method, layout):
    """The one of ``is_grads_batched``, and of vectorized Jacobians and Hessians."""
    layer = GauntConvolution(irreps(3, 2), 2, irreps(3, 1), method=method, layout=layout)
    leaves = [t.requires_grad_() for t in operands(layer)]
    z = layer(*leaves, edge_index=EDGES)
    many = normal(4, *z.shape, seed=7)
    found = torch.autograd.grad(z, leaves, many, is_grads_batched=True, retain_graph=True)
    for n in range(4):
        single = torch.autograd.grad(z, leaves, many[n], retain_graph=True)
        for one, other in zip(found, single, strict=True):
            close(one[n], other)

    def energy(vectors):
        return layer(leaves[0], vectors, leaves[2], edge_index=EDGES).square().sum()

    plain = torch.autograd.functional.hessian(energy, leaves[1])
    close(torch.autograd.functional.hessian(energy, leaves[1], vectorize=True), plain, 1e-11)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [3, 64, 128])
def test_results_do_not_depend_on_threads(channels, layout, monkeypatch):
    monkeypatch.setattr("equivariant.nn.gaunt.compiled.edges.kernel.SMALLEST", 1)
    layer = GauntConvolution(irreps(channels, 2), 2, layout=layout, method="sparse")
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            inputs = operands(layer, 50, 50)
            index = torch.arange(100).view(2, 50) * 7 % 50
            found.append(gradients(layer, inputs, edge_index=index) + gradients(layer, inputs))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


@pytest.fixture
def double():
    """The ruler in double precision too: e3nn's matrices follow the default."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("method", ["sparse", "dense"])
@pytest.mark.parametrize("degree", [3, 10])
def test_single_precision_turns_to_six_digits(degree, method, double):
    layer = GauntConvolution(irreps(4, degree), degree, irreps(4, degree), method=method)
    x, vectors, radial = operands(layer, 10, 10)
    torch.manual_seed(0)
    matrix = rand_matrix()
    turned = layer.irreps_in.D_from_matrix(matrix).T

    def single(*inputs):
        return layer(*(t.float() for t in inputs)).double()

    left = single(x @ turned, vectors @ matrix.T, radial)
    right = single(x, vectors, radial) @ turned
    assert (left - right).norm() < 6e-7 * right.norm()


def test_two_calls_give_the_same_bits():
    layer = GauntConvolution(irreps(64, 3), 3)
    inputs = [t.float() for t in operands(layer)]
    first, second = (gradients(layer, inputs, edge_index=EDGES) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def kernel_of(terms, channels=4):
    kind = RowLayout((1, 3), channels, "ir_mul")
    return EdgeKernel(terms, (kind, kind))


def drawn_terms():
    """A form without any symmetry: ten coefficients of 4 · 3 · 4."""
    generator = np.random.default_rng(0)
    code = np.sort(generator.choice(48, 10, replace=False))
    row, number, column = np.unravel_index(code, (4, 3, 4))
    harmonic, weight = np.array([0, 1, 1]), np.array([0, 0, 1])
    value = generator.normal(size=10)
    return EdgeTerms(row, number, column, value, (4, 3, 4), harmonic, weight, (2, 2))


def sums(terms, x, harmonics, weights, ends):
    """The convolution of a form by its list of coefficients."""
    filters = harmonics[:, terms.harmonic] * weights[:, terms.weight]
    values = x.view(len(x), 4, -1)[ends.source]
    y = torch.zeros(ends.rows_out, 4, values.shape[2], dtype=x.dtype)
    for row, number, column, value in zip(
        terms.row, terms.filter, terms.column, terms.value, strict=True
    ):
        part = value * values[:, row] * filters[:, number, None]
        y[:, column] = y[:, column].index_add(0, ends.target, part)
    return y.flatten(1)


def test_any_form_and_a_broken_twin():
    terms = drawn_terms()
    x, harmonics, weights = normal(5, 16), normal(7, 2, seed=1), normal(7, 2, seed=2)
    ends = Incidence(EDGES[0], EDGES[1], 5, 6)
    expected = sums(terms, x, harmonics, weights, ends)
    close(kernel_of(terms).convolve(x, harmonics, weights, ends, transposed=False), expected)
    back = kernel_of(terms.transposed()).convolve(x, harmonics, weights, ends, transposed=True)
    close(back, expected)
    for place in range(len(terms.value)):
        wrong = terms.value.copy()
        wrong[place] += 1e-6
        broken = kernel_of(replace(terms, value=wrong))
        with pytest.raises(AssertionError):
            close(broken.convolve(x, harmonics, weights, ends, transposed=False), expected)


def test_gradients_of_any_form_and_a_broken_twin():
    terms = drawn_terms()
    x, harmonics, weights = (
        t.requires_grad_() for t in (normal(5, 16), normal(7, 2, seed=1), normal(7, 2, seed=2))
    )
    ends = Incidence(EDGES[0], EDGES[1], 5, 6)
    g = normal(6, 16, seed=3)
    expected = torch.autograd.grad(
        (sums(terms, x, harmonics, weights, ends) * g).sum(), (x, harmonics, weights)
    )
    leaves = (x.detach(), g), harmonics.detach(), weights.detach(), ends
    found = kernel_of(terms).derive(*leaves, (True, True, True))
    for one, other in zip(found, expected, strict=True):
        close(one, other)
    broken = kernel_of(replace(terms, value=terms.value * (1 + 1e-9 * (terms.row == terms.row[0]))))
    for one, other in zip(broken.derive(*leaves, (True, True, True)), expected, strict=True):
        with pytest.raises(AssertionError):
            close(one, other)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lists_have_every_coefficient_once(dtype):
    terms = drawn_terms()
    plan, (blocks, rows, ends, numbers, values) = matrices(terms, np.dtype(dtype))
    assert plan.blocks_in_all == len(blocks)
    assert (blocks[:, 0] <= ROWS).all()
    assert blocks[:, 0].sum() == 4
    found = []
    for height, first, start, length, entry in blocks:
        for k, r in product(range(length), range(height)):
            place = entry + k * height + r
            found += [
                (int(rows[start + k]), int(numbers[n]) // 64, int(first + r), float(values[n]))
                for n in range(ends[place], ends[place + 1])
            ]
    value = terms.value.astype(dtype)
    expected = zip(terms.row, terms.filter, terms.column, value, strict=True)
    assert sorted(found) == sorted((int(a), int(b), int(c), float(v)) for a, b, c, v in expected)
    _, (tiles, ends, places, values) = pairs(terms, np.dtype(dtype))
    lanes = 64 // np.dtype(dtype).itemsize
    assert tiles.shape[1] == 4 + lanes // 4
    found = []
    for number in range(3):
        for n in range(ends[number], ends[number + 1]):
            tile, lane = divmod(int(places[n]) // 64, lanes)
            row, column = tiles[tile, lane % 4], tiles[tile, 4 + lane // 4]
            found.append((int(row), number, int(column), float(values[n])))
    expected = zip(terms.row, terms.filter, terms.column, value, strict=True)
    assert sorted(found) == sorted((int(a), int(b), int(c), float(v)) for a, b, c, v in expected)


def test_layers_survive_copies_after_use():
    layer = GauntConvolution(irreps(16, 2), 2, method="sparse")
    inputs = operands(layer)
    expected = layer(*inputs, edge_index=EDGES)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):  # noqa: S301
        assert torch.equal(other(*inputs, edge_index=EDGES), expected)


def test_without_a_compiler_matrices_are_taken(monkeypatch):
    layer = GauntConvolution(irreps(16, 1), 1)
    inputs = operands(layer)
    expected = layer(*inputs, edge_index=EDGES)
    monkeypatch.setattr(engine, "compiler_works", lambda: False)
    plain = GauntConvolution(irreps(16, 1), 1)
    monkeypatch.setattr(EdgeKernel, "convolve", None)
    close(plain(*inputs, edge_index=EDGES), expected)
    with pytest.raises(ConventionError) as caught:
        GauntConvolution(irreps(16, 1), 1, method="sparse")(*inputs, edge_index=EDGES)
    assert caught.value.argument == "method"
    assert "absent" in str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_without_numbers_take_matrices(layout):
    """Shapes alone, in a mode and after it; and graphs that are exported."""
    layer = GauntConvolution("4x0e + 4x1o", 1, layout=layout)
    inputs = [t.float() for t in operands(layer, 7)]
    expected = layer(*inputs)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = [mode.from_tensor(t) for t in inputs]
        assert layer(*fakes).shape == expected.shape
        assert layer(*inputs).shape == expected.shape
    assert layer(*fakes).shape == expected.shape
    graph = make_fx(layer)(*inputs)
    close(graph(*(2 * t for t in inputs)), layer(*(2 * t for t in inputs)), 1e-6)


def test_tensors_of_another_device_are_refused():
    layer = GauntConvolution(irreps(16, 1), 1)
    x, vectors, radial = operands(layer)
    for place, index in ((radial.to("meta"), EDGES), (radial, EDGES.to("meta"))):
        with pytest.raises(ConventionError):
            layer(x, vectors, place, edge_index=index)


def test_the_rule_for_the_kernel():
    assert prefers_edges(torch.ones(1))
    assert not prefers_edges(torch.ones(1, dtype=torch.float16))
    assert not prefers_edges(torch.ones(1, device="meta"))
