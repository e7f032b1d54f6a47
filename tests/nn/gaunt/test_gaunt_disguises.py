"""Tensors that are no plain numbers in memory: hidden batches, shapes alone, traces."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from equivariant.nn import GauntPower, GauntTensorProduct
from equivariant.nn.gaunt import gaunt_product

IRREPS = "3x0e + 3x1o"
LAYERS = [{}, {"layout": "ir_mul", "parity": "full"}, {"weights": "path"}, {"method": "grid"}]


def product(method):
    def f(x, y):
        return gaunt_product(x, y, 1, 1, 2, method=method)

    return f, [drawn(5, 4), drawn(5, 4)]


def layer(options):
    made = GauntTensorProduct(IRREPS, IRREPS, **options, dtype=torch.float64)
    return made, [drawn(5, 12), drawn(5, 12)]


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


CASES = {
    **{f"product {method}": product(method) for method in ("auto", "sparse", "grid", "fft")},
    **{f"layer {options}": layer(options) for options in LAYERS if "path" not in str(options)},
    "layer with weights": layer({"weights": "path"}),
}


@pytest.mark.parametrize("name", CASES)
def test_batches_of_gradients_by_the_older_way(name):
    """The one of ``is_grads_batched``, and of vectorized Jacobians and Hessians."""
    f, inputs = CASES[name]
    leaves = [x.requires_grad_() for x in inputs]
    leaves += list(f.parameters()) if isinstance(f, torch.nn.Module) else []
    z = f(*leaves[:2])
    many = drawn(4, *z.shape, seed=7)
    found = torch.autograd.grad(z, leaves, many, is_grads_batched=True, retain_graph=True)
    for n in range(4):
        single = torch.autograd.grad(z, leaves, many[n], retain_graph=True)
        for one, other in zip(found, single, strict=True):
            torch.testing.assert_close(one[n], other, rtol=1e-12, atol=1e-12)

    def energy(x):
        return f(x, leaves[1].detach()).square().sum()

    plain = torch.autograd.functional.hessian(energy, leaves[0])
    fast = torch.autograd.functional.hessian(energy, leaves[0], vectorize=True)
    torch.testing.assert_close(fast, plain, rtol=1e-11, atol=1e-11)
    assert float(plain.abs().max()) > 0.01


@pytest.mark.parametrize("name", CASES)
def test_shapes_alone_and_traces(name):
    """Without memory there is nothing to compute; what was computed before stays right after."""
    f, inputs = CASES[name]
    inputs = [x.detach() for x in inputs]
    expected = f(*inputs)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = [mode.from_tensor(x) for x in inputs]
        assert f(*fakes).shape == expected.shape
    assert f(*fakes).shape == expected.shape
    graph = make_fx(lambda *rows: f(*rows).detach())(*inputs)
    torch.testing.assert_close(graph(2 * inputs[0], inputs[1]), 2 * expected)
    assert torch.equal(f(*inputs), expected)


@pytest.mark.parametrize("method", ["auto", "sparse", "grid"])
def test_shapes_of_powers_alone(method):
    power = GauntPower(IRREPS, IRREPS, 3, method=method)
    x = drawn(5, 12).float()
    expected = power(x)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert power(mode.from_tensor(x)).shape == expected.shape
    assert torch.equal(power(x), expected)
