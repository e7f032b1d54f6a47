"""Weights of the layer, per path and per degree: values and gradients are those of e3nn."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from e3nn.o3 import Irreps
from wigner_products import close, draw, expected, paths_of_degrees, peer, places

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn import GauntTensorProduct
from equivariant.nn.gaunt.compiled import availability as engine
from equivariant.nn.gaunt.product import irreps_form, irreps_terms

MIXED = "3x2o + 3x0e + 3x1o + 3x1e"
TRUE = "3x0e + 3x1o + 3x2e"
ENGINES = ["auto", "sparse", "dense", "no compiler"]
OPTIONS = list(product(["uuu", "uvu"], ["even", "full"], ["none", "cg-like"]))


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def build(engine_name, monkeypatch, **options):
    """A layer with weights per path; the second operand of mode "uvu" has one channel."""
    if engine_name == "no compiler":
        monkeypatch.setattr(engine, "compiler_works", lambda: False)
        engine_name = "auto"
    second = TRUE if options.get("mode", "uuu") == "uuu" else "1x0e + 1x1o + 1x2e"
    return GauntTensorProduct(MIXED, second, method=engine_name, **{"weights": "path", **options})


def inputs(layer, *batch):
    x1 = draw(*batch, layer.irreps_in1.dim)
    return x1.requires_grad_(), draw(*batch, layer.irreps_in2.dim, seed=1).requires_grad_()


def with_gradients(z, leaves):
    """Value and gradients, by a cotangent that differs everywhere."""
    weight = torch.linspace(-1, 2, z.numel(), dtype=z.dtype).reshape(z.shape)
    return z, *torch.autograd.grad((z * weight).sum(), leaves)


def compare(layer, x1, x2, weight, given):
    """Value and all gradients against e3nn's."""
    leaves = (x1, x2, weight)
    ours = with_gradients(layer(x1, x2, *given), leaves)
    close(ours, with_gradients(expected(layer, *leaves), leaves))


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize(("mode", "parity", "path_norm"), OPTIONS)
def test_weights_per_path(mode, parity, path_norm, engine_name, layout, monkeypatch):
    """Parameters of the layer, weights passed for all, weights passed for each entry."""
    options = {"mode": mode, "parity": parity, "path_norm": path_norm, "layout": layout}
    layer = build(engine_name, monkeypatch, **options)
    assert layer.weight_numel == 3 * len(places(layer)) == peer(layer).weight_numel
    assert bool((layer.weight == 1).all())
    with torch.no_grad():
        layer.weight.copy_(draw(layer.weight_numel, seed=2))
    compare(layer, *inputs(layer, 5), layer.weight, ())
    layer = build(engine_name, monkeypatch, internal_weights=False, **options)
    assert not list(layer.parameters())
    shared = draw(layer.weight_numel, seed=3).requires_grad_()
    compare(layer, *inputs(layer, 5), shared, (shared,))
    layer = build(engine_name, monkeypatch, shared_weights=False, **options)
    each = draw(5, layer.weight_numel, seed=4).requires_grad_()
    compare(layer, *inputs(layer, 5), each, (each,))


@pytest.mark.parametrize("normalization", ["component", "norm"])
@pytest.mark.parametrize("path_norm", ["none", "cg-like"])
def test_normalizations(path_norm, normalization, monkeypatch):
    options = {"normalization": normalization, "path_norm": path_norm, "parity": "full"}
    layer = build("auto", monkeypatch, **options)
    compare(layer, *inputs(layer, 4), layer.weight, ())


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("method", ["auto", "sparse", "dense", "grid", "half_grid", "separable"])
@pytest.mark.parametrize("mode", ["uuu", "uvu"])
def test_weights_per_degree(mode, method, layout, monkeypatch):
    """They are weights per path that are products of three."""
    options = {"weights": "degree", "parity": "full", "layout": layout, "path_norm": "cg-like"}
    for shared in (True, False):
        layer = build(
            method, monkeypatch, mode=mode, internal_weights=False, shared_weights=shared, **options
        )
        weight = draw(*(() if shared else (5,)), layer.weight_numel, seed=2).requires_grad_()
        x1, x2 = inputs(layer, 5)
        leaves = (x1, x2, weight)
        ours = with_gradients(layer(*leaves), leaves)
        theirs = expected(layer, x1, x2, paths_of_degrees(layer, weight))
        close(ours, with_gradients(theirs, leaves))


@pytest.mark.parametrize("path_norm", ["none", "cg-like"])
@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("method", ["auto", "sparse", "dense", "grid", "half_grid", "fft_real"])
@pytest.mark.parametrize("mode", ["uuu", "uvu"])
def test_no_weights_are_weights_of_one(mode, method, layout, path_norm, monkeypatch):
    options = {"weights": "none", "parity": "full", "layout": layout, "path_norm": path_norm}
    layer = build(method, monkeypatch, mode=mode, **options)
    leaves = inputs(layer, 5)
    ones = torch.ones(peer(layer).weight_numel)
    ours = with_gradients(layer(*leaves), leaves)
    close(ours, with_gradients(expected(layer, *leaves, ones), leaves))


@pytest.mark.parametrize("engine_name", ENGINES)
def test_single_precision(engine_name, monkeypatch):
    layer = build(engine_name, monkeypatch, parity="full", shared_weights=False)
    rows = [*inputs(layer, 50), draw(50, layer.weight_numel, seed=2).requires_grad_()]
    singles = [row.detach().float().requires_grad_() for row in rows]
    ours = with_gradients(layer(*singles), singles)
    theirs = with_gradients(expected(layer, *rows), rows)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 1e-6 * other.norm()


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("mode", ["uuu", "uvu"])
@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("count", [1, 3, 17, 64, 65])
def test_multiplicities_that_do_not_fill_lanes(count, layout, mode, engine_name, monkeypatch):
    if engine_name == "no compiler":
        monkeypatch.setattr(engine, "compiler_works", lambda: False)
        engine_name = "auto"
    second = count if mode == "uuu" else 1
    layer = GauntTensorProduct(
        f"{count}x0e + {count}x1o",
        f"{second}x1o + {second}x0e",
        mode=mode,
        layout=layout,
        weights="path",
        method=engine_name,
        shared_weights=False,
    )
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        rows = [*inputs(layer, 7), draw(7, layer.weight_numel, seed=2).requires_grad_()]
        theirs = with_gradients(expected(layer, *rows), rows)
        typed = [row.detach().to(dtype).requires_grad_() for row in rows]
        close(with_gradients(layer(*typed), typed), theirs, tolerance)


def test_a_coefficient_that_is_off_is_found(monkeypatch):
    """The check itself is checked: one of all coefficients, wrong by 1e-6 of itself."""

    def off(terms_of):
        def wrong(irreps_product):
            terms = terms_of(irreps_product)
            value = terms.value.copy()
            value[len(value) // 2] *= 1 + 1e-6
            return replace(terms, value=value)

        return wrong

    layer = build("sparse", monkeypatch, parity="full")
    compare(layer, *inputs(layer, 5), layer.weight, ())
    monkeypatch.setattr(irreps_form, "irreps_couplings", off(irreps_terms.irreps_couplings))
    broken = build("sparse", monkeypatch, parity="full")
    with pytest.raises(AssertionError):
        compare(broken, *inputs(broken, 5), broken.weight, ())


def refused(error, argument, call):
    with pytest.raises(error) as caught:
        call()
    assert caught.value.argument == argument


@pytest.mark.parametrize("shape", [None, (1,), (-1,), (5, 0), (1, 0)])
def test_shared_weights_of_a_wrong_shape_are_refused(shape, monkeypatch):
    """None, or the last size given as its difference from the right one."""
    layer = build("auto", monkeypatch, internal_weights=False)
    weight = None
    if shape is not None:
        weight = torch.ones(*shape[:-1], layer.weight_numel + shape[-1])
    refused(ShapeError, "weight", lambda: layer(*inputs(layer, 5), weight))


@pytest.mark.parametrize("lead", [(4,), (5, 3)])
def test_weights_of_each_entry_must_broadcast(lead, monkeypatch):
    layer = build("auto", monkeypatch, shared_weights=False)
    with pytest.raises(ShapeError):
        layer(*inputs(layer, 5), torch.ones(*lead, layer.weight_numel))


@pytest.mark.parametrize("weights", ["none", "degree", "path"])
def test_weights_where_none_are_expected_are_refused(weights, monkeypatch):
    layer = build("auto", monkeypatch, weights=weights)
    weight = torch.ones(max(1, layer.weight_numel))
    refused(ConventionError, "weight", lambda: layer(*inputs(layer, 5), weight))


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("method", {"method": "grid"}),
        ("method", {"method": "triton"}),
        ("shared_weights", {"internal_weights": True, "shared_weights": False}),
        ("internal_weights", {"internal_weights": True, "weights": "none"}),
        ("shared_weights", {"shared_weights": False, "weights": "none"}),
        ("irreps_in2", {"mode": "uvu"}),
    ],
)
def test_options_that_contradict_are_refused(argument, options):
    def construct():
        return GauntTensorProduct(TRUE, TRUE, **{"weights": "path", **options})

    refused(ConventionError, argument, construct)


@pytest.mark.parametrize("weights", ["none", "degree", "path"])
def test_sparse_kernels_are_refused_without_a_compiler(weights, monkeypatch):
    layer = build("sparse", monkeypatch, weights=weights)
    monkeypatch.setattr(engine, "compiler_works", lambda: False)
    refused(ConventionError, "method", lambda: layer(*inputs(layer, 5)))


def test_irreps_are_those_of_the_oracle(monkeypatch):
    """The result of a full product holds all that e3nn's can reach."""
    layer = build("auto", monkeypatch, parity="full")
    reached = {out for _, one in Irreps(MIXED) for _, other in Irreps(TRUE) for out in one * other}
    assert {irrep for _, irrep in layer.irreps_out} == reached
