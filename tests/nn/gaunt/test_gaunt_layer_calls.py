"""How the layer may be called: derivatives, symmetry, batches, dtypes, threads, copies."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from wigner_products import close, draw, expected

from equivariant.measure import declared, equivariance_error
from equivariant.nn import GauntTensorProduct
from equivariant.nn.gaunt.compiled import availability as engine
from equivariant.nn.gaunt.compiled import threads
from equivariant.nn.gaunt.compiled.product import sparse

FIRST, SECOND = "2x0e + 2x1o + 2x1e", "2x1o + 2x0e + 2x2e"
MODES = ["uuu", "uvu"]
LAYOUTS = ["mul_ir", "ir_mul"]
ENGINES = ["sparse", "dense"]


def build(**options):
    """A small layer with weights for each entry, in double precision."""
    second = SECOND.replace("2x", "1x") if options.get("mode") == "uvu" else SECOND
    settings = {"weights": "path", "parity": "full", "shared_weights": False}
    return GauntTensorProduct(FIRST, second, "2x0e + 2x1e + 2x2o", **{**settings, **options})


def inputs(layer, first=(3,), second=(3,), weights=(3,), dtype=torch.float64):
    sizes = (layer.irreps_in1.dim, layer.irreps_in2.dim, layer.weight_numel)
    rows = zip((first, second, weights), sizes, strict=True)
    return [
        draw(*lead, size, seed=seed, dtype=dtype).requires_grad_()
        for seed, (lead, size) in enumerate(rows)
    ]


def with_gradients(z, leaves):
    weight = torch.linspace(-1, 2, z.numel(), dtype=z.dtype).reshape(z.shape)
    return z, *torch.autograd.grad((z * weight).sum(), leaves)


def agrees(layer, rows):
    """Value and gradients are those of e3nn."""
    close(with_gradients(layer(*rows), rows), with_gradients(expected(layer, *rows), rows))


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("method", ENGINES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lead", [(2,), ()])
def test_derivatives_of_first_and_second_order(lead, mode, method):
    """Of both operands and of the weights, which each entry has or all share."""
    second = "2x1o" if mode == "uuu" else "1x1o"
    options = {"mode": mode, "parity": "full", "weights": "path", "shared_weights": False}
    layer = GauntTensorProduct("2x0e + 2x1o", second, method=method, **options)
    rows = inputs(layer, (2,), (2,), lead)
    assert torch.autograd.gradcheck(layer, tuple(rows), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(layer, tuple(rows))


@pytest.mark.parametrize("method", ENGINES)
def test_a_third_derivative_by_weights(method):
    """The squared result is of degree 2 in each operand: mixed derivatives agree with e3nn's."""
    layer = build(method=method)
    found = []
    for f in (layer, lambda *rows: expected(layer, *rows)):
        x1, x2, weight = inputs(layer)
        derived = f(x1, x2, weight).square().sum()
        for one in (weight, x1, x2):
            (gradient,) = torch.autograd.grad(derived, one, create_graph=True)
            derived = gradient.square().sum()
        found.append(derived)
    close(*found, 1e-11)


def worst_error(layer):
    declaration = declared(layer)
    report = equivariance_error(
        layer,
        tuple(inputs(layer, (4,), (4,))[:2]),
        act_in=declaration.act_in,
        act_out=declaration.act_out,
        samples=6,
    )
    return report.value("worst")


@pytest.mark.parametrize("method", ENGINES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("parity", ["even", "full"])
def test_turns_and_reflects_with_any_weights(parity, mode, method):
    second = "3x0e + 3x1e + 3x2e + 3x2o".replace("3x", "3x" if mode == "uuu" else "1x")
    layer = GauntTensorProduct(
        "3x2o + 3x0e + 3x1o + 3x3o", second, mode=mode, parity=parity, weights="path", method=method
    ).double()
    torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    assert worst_error(layer) < 1e-12


@pytest.mark.parametrize("method", ["sparse", "dense", "grid", "separable"])
def test_turns_and_reflects_up_to_degree_10(method):
    irreps = "+".join(f"1x{n}{'eo'[n % 2]}" for n in (0, 1, 5, 10))
    weights = "path" if method in ENGINES else "degree"
    layer = GauntTensorProduct(
        irreps, irreps, irreps, parity="even", weights=weights, method=method
    ).double()
    torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    assert worst_error(layer) < 1e-12


@pytest.mark.parametrize("method", ENGINES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "batches",
    [
        ((1,), (1,), (1,)),
        ((), (), ()),
        ((4,), (), ()),
        ((), (4,), (4,)),
        ((4, 1), (1, 3), (3,)),
        ((2, 1, 3), (3,), (2, 4, 1)),
        ((), (), (5,)),
        ((0,), (0,), (0,)),
        ((0,), (), ()),
        ((0, 2), (2,), (2,)),
        ((2, 0), (2, 1), (1, 1)),
    ],
)
def test_leading_axes_broadcast(batches, layout, mode, method):
    layer = build(mode=mode, layout=layout, method=method)
    rows = inputs(layer, *batches)
    lead = torch.broadcast_shapes(*batches)
    assert layer(*rows).shape == (*lead, layer.irreps_out.dim)
    if lead.numel():
        agrees(layer, rows)
    else:
        for gradient, row in zip(with_gradients(layer(*rows), rows)[1:], rows, strict=True):
            assert torch.equal(gradient, torch.zeros_like(row))


@pytest.mark.parametrize("weights", ["none", "degree"])
@pytest.mark.parametrize("method", ["auto", "sparse", "dense", "grid", "half_grid"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("lead", [(1,), (), (0,), (2, 0)])
def test_batches_of_one_and_of_none_without_path_weights(lead, layout, method, weights):
    layer = build(
        layout=layout, method=method, weights=weights, shared_weights=None, mode="uvu"
    ).double()
    rows = inputs(layer, lead, lead)[:2]
    z = layer(*rows)
    assert z.shape == (*lead, layer.irreps_out.dim)
    z.sum().backward()
    assert all(row.grad is not None and row.grad.shape == row.shape for row in rows)
    if 0 not in lead:
        many = [row.detach().expand(3, *row.shape) for row in rows]
        close(layer(*many)[1], z)


@pytest.mark.parametrize("method", ENGINES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lead", [(3,), (), (1,)])
def test_derivatives_by_some_operands_only(lead, mode, method):
    layer = build(mode=mode, method=method)
    rows = inputs(layer, weights=lead)
    for some in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2)):
        leaves = [rows[place] for place in some]
        given = [row if place in some else row.detach() for place, row in enumerate(rows)]
        ours = with_gradients(layer(*given), leaves)
        close(ours, with_gradients(expected(layer, *given), leaves))


@pytest.mark.parametrize("method", ENGINES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_that_are_not_contiguous(layout, mode, method):
    layer = build(mode=mode, layout=layout, method=method)
    x1, x2, weight = inputs(layer, (6,), (12,), (6,))
    scattered = [x1.T.contiguous().T, x2[::2], weight.flip(0).flip(1).T.contiguous().T.flip(0, 1)]
    leaves = (x1, x2, weight)
    plain = (x1.clone(), x2[::2].clone(), weight.clone())
    close(with_gradients(layer(*scattered), leaves), with_gradients(layer(*plain), leaves), 1e-15)
    gradient = draw(layer.irreps_out.dim, 6, seed=5).T
    ours = torch.autograd.grad(layer(*plain), leaves, gradient)
    theirs = torch.autograd.grad(layer(*scattered), leaves, gradient.contiguous())
    close(ours, theirs, 1e-15)


@pytest.mark.parametrize("method", ENGINES)
@pytest.mark.parametrize("mode", MODES)
def test_vmap_and_functional_gradients(mode, method):
    layer = build(mode=mode, method=method)
    x1, x2, weight = (row.detach() for row in inputs(layer, (4,), (4,), (4,)))
    z = layer(x1, x2, weight)
    close(torch.vmap(layer)(x1, x2, weight), z)
    close(torch.vmap(layer, (0, None, 0))(x1, x2[0], weight), layer(x1, x2[0], weight))
    close(torch.vmap(layer, (0, 0, None))(x1, x2, weight[0]), layer(x1, x2, weight[0]))
    close(torch.vmap(layer, (1, 0, 0))(x1.T, x2, weight), z)
    jacobian = torch.vmap(torch.func.jacrev(layer, argnums=2))(x1, x2, weight)
    close(torch.einsum("ncw,nw->nc", jacobian, weight), z)


@pytest.mark.parametrize(
    ("weights", "method"),
    [
        ("path", "sparse"),
        ("path", "dense"),
        ("none", "sparse"),
        ("none", "dense"),
        ("none", "grid"),
    ],
)
def test_autocast_changes_nothing(weights, method):
    layer = build(weights=weights, method=method, shared_weights=None).float()
    rows = inputs(layer, dtype=torch.float32)[:2]
    plain = with_gradients(layer(*rows), rows)
    with torch.autocast("cpu", torch.bfloat16):
        inside = with_gradients(layer(*rows), rows)
    for one, other in zip(inside, plain, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


@pytest.mark.parametrize("method", ENGINES)
def test_mixed_dtypes(method):
    """The result has the wider dtype of the operands; gradients have that of their leaves."""
    layer = build(method=method)
    x1, x2, weight = inputs(layer)
    singles = [row.detach().float().requires_grad_() for row in (x1, x2, weight)]
    z = layer(singles[0], x2, singles[2])
    assert z.dtype == torch.float64
    close(z, layer(singles[0].double(), x2, singles[2].double()))
    z.sum().backward()
    assert singles[0].grad.dtype == singles[2].grad.dtype == torch.float32
    assert layer(singles[0], singles[1], weight).dtype == torch.float32
    halves = [row.detach().bfloat16().requires_grad_() for row in (x1, x2, weight)]
    half = layer(*halves)
    assert torch.equal(half, layer(*(row.float() for row in halves)).bfloat16())
    half.sum().backward()
    assert all(row.grad.dtype == torch.bfloat16 for row in halves)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("count", [1, 2, 17])
def test_threads_change_nothing(count, shared, layout, mode, monkeypatch):
    second = f"{count if mode == 'uuu' else 1}x1o"
    options = {"mode": mode, "layout": layout, "weights": "path", "shared_weights": False}
    layer = GauntTensorProduct(f"{count}x0e + {count}x1o", second, method="sparse", **options)
    rows = inputs(layer, (250,), (250,), () if shared else (250,))
    once = with_gradients(layer(*rows), rows)
    monkeypatch.setattr(threads, "SMALLEST", 1)
    numbers = []

    def recorded(function, parts):
        numbers.append(len(parts))
        threads.in_parts(function, parts)

    monkeypatch.setattr(sparse, "in_parts", recorded)
    before = torch.get_num_threads()
    try:
        for several in (2, 3, 7):
            torch.set_num_threads(several)
            close(with_gradients(layer(*rows), rows), once, 1e-14)
    finally:
        torch.set_num_threads(before)
    one_row_for_all = count == 1 and shared  # stays on one thread
    assert max(numbers, default=1) == (1 if one_row_for_all else 7)


@pytest.mark.parametrize("weights", ["path", "degree"])
def test_state_and_copies(weights, monkeypatch):
    options = {"weights": weights, "shared_weights": None, "path_norm": "cg-like"}
    layer = build(**options)
    torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    rows = inputs(layer, dtype=torch.float32)[:2]
    z = layer(*rows)
    assert list(layer.state_dict()) == ["weight"]
    twin = build(**options)
    twin.load_state_dict(layer.state_dict())
    copies = [twin, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]  # noqa: S301
    for other in copies:
        assert torch.equal(other(*rows), z)
        assert other.weight is not layer.weight
    with torch.no_grad():
        copies[1].weight.zero_()
    assert torch.equal(layer(*rows), z)
    monkeypatch.setattr(engine, "compiler_works", lambda: False)
    close(copies[2](*rows), z, 1e-6)


def test_parameters_have_the_dtype_asked_for():
    layer = build(shared_weights=None, dtype=torch.float64, device="cpu")
    assert layer.weight.dtype == torch.float64
    assert build(shared_weights=None).weight.dtype == torch.get_default_dtype()
    assert build(shared_weights=None).double().weight.dtype == torch.float64
