"""Harmonics of directions against e3nn and a recurrence, at poles, and without length."""

from __future__ import annotations

import jaxtyping
import pytest
import torch
from e3nn.o3 import spherical_harmonics

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.gaunt import DirectionHarmonics, real_harmonics

SPECIAL = [[0, 1, 0], [0, -1, 0], [1, 0, 0], [0, 0, -1], [1e-9, 1, 0], [1, 1, 1], [0, 1e-200, 0]]


def vectors():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    return torch.cat([drawn, torch.tensor(SPECIAL, dtype=torch.float64)])


@pytest.mark.parametrize("normalization", ["integral", "component", "norm"])
@pytest.mark.parametrize("degree", [0, 1, 2, 5, 10])
def test_values_and_gradients_are_those_of_e3nn(degree, normalization):
    v = vectors()[:-1].requires_grad_()
    y = DirectionHarmonics(degree, normalization=normalization)(v)
    expected = spherical_harmonics(list(range(degree + 1)), v, True, normalization)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-13 * (degree + 1) ** 2)
    weight = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(y.shape)
    if degree:
        (ours,), (theirs,) = (torch.autograd.grad((z * weight).sum(), v) for z in (y, expected))
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("degree", [15, 30])
def test_degrees_beyond_generated_polynomials(degree):
    v = vectors()[:-1]
    y = DirectionHarmonics(degree)(v)
    expected = real_harmonics(degree, v, "component")
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-11)
    single = DirectionHarmonics(degree)(v[:20].float())
    assert (single - expected[:20]).norm() < 1e-6 * expected[:20].norm()


def test_gradients_are_finite_at_poles_and_0_without_length():
    v = torch.tensor([[0, 2, 0], [0, -1, 0], [0, 0, 0], [1, 0, 0]], dtype=torch.float64)
    v.requires_grad_()
    y = DirectionHarmonics(4)(v)
    assert torch.equal(y[2], torch.eye(25, dtype=torch.float64)[0])
    (first,) = torch.autograd.grad(y.pow(3).sum(), v, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), v)
    for gradient in (first, second):
        assert torch.isfinite(gradient).all()
        assert gradient[2].abs().max() == 0
        assert gradient[[0, 1, 3]].abs().amax(1).min() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lengths_do_not_matter(dtype):
    """Down to the smallest normal number and up to the largest."""
    limits = torch.finfo(dtype)
    v = torch.tensor([[3.0, -4.0, 12.0]], dtype=dtype)
    scaled = torch.cat([v, v * (limits.tiny * 2), v * (limits.max / 20)])
    y = DirectionHarmonics(3)(scaled)
    torch.testing.assert_close(y, y[:1].expand(3, -1), rtol=4 * limits.eps, atol=4 * limits.eps)


def test_derivatives_of_first_and_second_order():
    v = vectors()[[0, 20, 22]].requires_grad_()
    layer = DirectionHarmonics(3)
    assert torch.autograd.gradcheck(layer, (v,))
    assert torch.autograd.gradgradcheck(layer, (v,))


def test_shapes_and_precision():
    layer = DirectionHarmonics(2)
    v = vectors()[:6]
    assert layer(v[:0]).shape == (0, 9)
    assert torch.equal(layer(v.view(2, 3, 3)), layer(v).view(2, 3, 9))
    assert torch.equal(layer(v[0]), layer(v)[0])
    assert layer(v.bfloat16()).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(v.float()), layer(v.float()))
        inside = layer(v.float())
    assert torch.equal(inside, layer(v.float()))


def test_refusals():
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ConventionError):
            DirectionHarmonics(-1)
        with pytest.raises(ConventionError):
            DirectionHarmonics(2, normalization="unit")
        with pytest.raises(ShapeError):
            DirectionHarmonics(2)(torch.zeros(5, 2))
        with pytest.raises(ConventionError):
            DirectionHarmonics(2)(torch.zeros(5, 3, dtype=torch.int64))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


SINGULAR = [
    [0.0, 0.0, 0.0],
    [0.0, 2.0, 0.0],
    [0.0, -1e-3, 0.0],
    [1e-320, 0.0, 0.0],
    [3e200, 4.0, 0],
]


@pytest.mark.parametrize("degree", [0, 1, 2, 5, 10])
@pytest.mark.parametrize("count", [0, 1, 8, 13])
def test_the_kernel_is_the_composition(degree, count):
    """Values and gradients, also where there is no direction, and at the poles."""
    layer = DirectionHarmonics(degree)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    vectors = torch.cat([vectors, torch.tensor(SINGULAR, dtype=torch.float64)])[:, None]
    one, other = (vectors.clone().requires_grad_() for _ in range(2))
    values, expected = layer(one), layer._composed(other)
    assert values.shape == (count + 5, 1, (degree + 1) ** 2)
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-12)
    weight = torch.randn(values.shape, generator=generator, dtype=torch.float64)
    if degree:
        for each in (values, expected):
            (each * weight).sum().backward()
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-11, atol=1e-11)
    scattered = vectors.transpose(0, 2).contiguous().transpose(0, 2)
    assert torch.equal(layer(scattered), values)
    negative = torch.complex(vectors, -vectors).conj().imag
    assert torch.equal(layer(negative), values)


@pytest.mark.parametrize("degree", [3, 10])
def test_single_precision_is_rounded_once(degree):
    """Ten times closer to the truth than a recursion in single precision at the larger degree."""
    layer = DirectionHarmonics(degree)
    vectors = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    exact = layer(vectors.double())
    assert (layer(vectors) - exact).norm() < 5e-8 * exact.norm()
    one, other = vectors.clone().requires_grad_(), vectors.double().requires_grad_()
    layer(one).square().mul(torch.arange((degree + 1) ** 2)).sum().backward()
    layer(other).square().mul(torch.arange((degree + 1) ** 2)).sum().backward()
    assert (one.grad - other.grad).norm() < 1e-6 * other.grad.norm()


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # torch's own
def test_derivatives_in_every_mode():
    layer = DirectionHarmonics(3)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    options = {"check_forward_ad": True, "check_batched_grad": True}
    assert torch.autograd.gradcheck(layer, vectors, **options)
    assert torch.autograd.gradgradcheck(layer, vectors, check_fwd_over_rev=True)
    forward, backward = torch.func.jacfwd(layer)(vectors), torch.func.jacrev(layer)(vectors)
    torch.testing.assert_close(forward, backward, rtol=0, atol=1e-12)
    found = torch.func.vmap(torch.func.grad(lambda v: layer(v).sum()))(vectors)
    (expected,) = torch.autograd.grad(layer(vectors).sum(), vectors)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_kernel_with_one_wrong_coefficient_is_caught():
    layer = DirectionHarmonics(3)
    vectors = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()
    terms, values, scales = layer._steps
    for place in range(len(values)):
        wrong = values.copy()
        wrong[place] += 1e-6
        layer._steps = terms, wrong, scales
        assert (layer(vectors) - layer._composed(vectors)).abs().max() > 1e-9
