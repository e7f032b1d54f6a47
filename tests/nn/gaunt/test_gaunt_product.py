"""Products of functions on the sphere against sums over coefficients, under O(3), and derived."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch.autograd import forward_ad

from equivariant.actions import IrrepsAction
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import O3
from equivariant.harmonics.sphere_grid import grid_tables
from equivariant.measure import equivariance_error
from equivariant.nn.gaunt import (
    benchmark_methods,
    gaunt_coefficients,
    gaunt_product,
    poisson_coefficients,
    poisson_constant,
    real_harmonics,
)
from equivariant.nn.gaunt.compiled import availability as engine
from equivariant.nn.gaunt.methods import fastest as choice
from equivariant.nn.gaunt.methods.registry import sampling_of
from equivariant.nn.gaunt.methods.sampling import multiply
from equivariant.nn.gaunt.product.trilinear import TrilinearForm

KINDS = ["even", "odd"]
METHODS = ["auto", "grid", "half_grid", "dense", "separable", "sparse", "fft", "fft_real"]
DEGREES = [(2, 3, 4), (2, 3, 3), (3, 2, 5), (1, 1, 1), (0, 0, 0), (0, 2, 2), (2, 0, 1), (1, 1, 4)]


def coefficients(degree, *batch, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed + 10 * degree)
    return torch.randn(*batch, (degree + 1) ** 2, generator=generator, dtype=torch.float64).to(
        dtype
    )


def whole_table(degrees, kind):
    """All coefficients, block by block."""
    block = gaunt_coefficients if kind == "even" else poisson_coefficients
    table = torch.zeros([(degree + 1) ** 2 for degree in degrees], dtype=torch.float64)
    for l1, l2, l3 in product(*(range(degree + 1) for degree in degrees)):
        rows = [slice(n * n, (n + 1) ** 2) for n in (l1, l2, l3)]
        table[rows[0], rows[1], rows[2]] = block(l1, l2, l3)
    return table


def contraction(x1, x2, degrees, kind):
    return torch.einsum("...a,...b,abc->...c", x1, x2, whole_table(degrees, kind))


def close(value, expected, tolerance=1e-12):
    scale = float(expected.detach().abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(value, expected, rtol=0, atol=tolerance * max(scale, 1e-2))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", DEGREES)
def test_against_the_sum_over_coefficients(degrees, kind, method):
    x1, x2 = coefficients(degrees[0], 5), coefficients(degrees[1], 5, seed=1)
    z = gaunt_product(x1, x2, *degrees, kind=kind, method=method)
    close(z, contraction(x1, x2, degrees, kind))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "batches",
    [((), ()), ((4,), ()), ((4, 1), (1, 3)), ((2, 4, 3), (3,)), ((0,), (0,)), ((0, 2), (2,))],
)
def test_leading_axes_and_their_gradients(batches, kind, method):
    degrees = (2, 1, 2)
    x1 = coefficients(2, *batches[0]).requires_grad_()
    x2 = coefficients(1, *batches[1], seed=1).requires_grad_()
    z = gaunt_product(x1, x2, *degrees, kind=kind, method=method)
    expected = contraction(x1, x2, degrees, kind)
    close(z, expected)
    weight = torch.linspace(-1, 1, z.numel(), dtype=torch.float64).reshape(z.shape)
    ours = torch.autograd.grad((z * weight).sum(), (x1, x2))
    theirs = torch.autograd.grad((expected * weight).sum(), (x1, x2))
    for gradient, other in zip(ours, theirs, strict=True):
        close(gradient, other)


@pytest.mark.parametrize("method", METHODS)
def test_inputs_that_are_not_contiguous(method):
    x1, x2 = coefficients(2, 6), coefficients(2, 12, seed=1)
    scattered = x1.T.contiguous().T
    z = gaunt_product(scattered, x2[::2], 2, 2, 2, method=method)
    close(z, gaunt_product(x1, x2[::2].clone(), 2, 2, 2, method=method))


@pytest.mark.parametrize("normalization", ["component", "norm"])
@pytest.mark.parametrize("kind", KINDS)
def test_normalizations_are_changes_of_basis(kind, normalization):
    """The mean of products of harmonics, all of them in the other normalization."""
    point = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    north = [n * n + n for n in range(6)]
    ratio = real_harmonics(5, point, normalization)[north] / real_harmonics(5, point)[north]
    scales = ratio.repeat_interleave(torch.arange(6) * 2 + 1)
    x1, x2 = coefficients(2, 5), coefficients(3, 5, seed=1)
    expected = contraction(x1 * scales[:9], x2 * scales[:16], (2, 3, 5), kind) * scales
    for method in METHODS:
        options = {"kind": kind, "method": method, "normalization": normalization}
        close(gaunt_product(x1, x2, 2, 3, 5, **options), expected / (4 * torch.pi))


def test_component_product_is_the_product_of_values():
    points = torch.nn.functional.normalize(coefficients(1, 7)[..., :3], dim=-1)
    x1, x2 = coefficients(2), coefficients(3, seed=1)
    z = gaunt_product(x1, x2, 2, 3, 5, normalization="component")
    values = [real_harmonics(n, points, "component") @ x for n, x in ((2, x1), (3, x2), (5, z))]
    close(values[2], values[0] * values[1])


def signal_irreps(degree, sign):
    return "+".join(f"1x{n}{'e' if sign * (-1) ** n > 0 else 'o'}" for n in range(degree + 1))


def worst_error(f, degrees, signs, kind, dtype=torch.float64):
    """Largest relative error over rotations and reflections; signs are -1 for pseudoscalars."""
    last = signs[0] * signs[1] * (1 if kind == "even" else -1)
    actions = [
        IrrepsAction(signal_irreps(degree, sign), O3())
        for degree, sign in zip(degrees, (*signs, last), strict=True)
    ]
    x = coefficients(degrees[0], 3, dtype=dtype), coefficients(degrees[1], 3, seed=1, dtype=dtype)
    report = equivariance_error(
        f, x, act_in=(actions[0], actions[1]), act_out=actions[2], samples=8
    )
    return report.value("worst")


@pytest.mark.parametrize("signs", list(product([1, -1], [1, -1])))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", [(1, 1, 2), (2, 3, 3), (4, 4, 4), (10, 10, 10), (6, 4, 10)])
def test_turns_and_reflects(degrees, kind, signs):
    def f(x1, x2):
        return gaunt_product(x1, x2, *degrees, kind=kind)

    assert worst_error(f, degrees, signs, kind) < 1e-12


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", [(2, 3, 4), (5, 4, 3), (10, 10, 10)])
def test_every_method_turns_and_reflects_in_both_precisions(degrees, kind, method):
    if method == "dense" and max(degrees) == 10:
        pytest.skip("14 MB of table for nothing new")

    def f(x1, x2):
        return gaunt_product(x1, x2, *degrees, kind=kind, method=method)

    assert worst_error(f, degrees, (1, -1), kind) < 1e-12
    assert worst_error(f, degrees, (1, 1), kind, torch.float32) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_the_wrong_parity_is_caught(kind):
    other = "odd" if kind == "even" else "even"

    def f(x1, x2):
        return gaunt_product(x1, x2, 2, 2, 2, kind=kind)

    assert worst_error(f, (2, 2, 2), (1, 1), other) > 0.1


@pytest.mark.parametrize(("exact", "fails"), [(8, False), (7, True), (6, True), (5, True)])
def test_a_grid_that_is_too_small_is_caught(exact, fails):
    """Degrees 2, 3 and 3 need 8: neither the sum of the inputs nor one less will do."""

    def f(x1, x2):
        settings = (exact, "integral", x1.dtype, x1.device)
        first, second, third = (grid_tables(degree, *settings) for degree in (2, 3, 3))
        return ((x1 @ first[0]) * (x2 @ second[0])) @ third[3]

    assert TrilinearForm(2, 3, 3, "even", "integral", "grid").exact == 8
    error = worst_error(f, (2, 3, 3), (1, 1), "even")
    assert error > 0.1 if fails else error < 1e-12


@pytest.mark.parametrize("method", ["grid", "half_grid", "separable"])
def test_every_grid_that_is_too_small_is_caught(method):
    def f(x1, x2, missing):
        sampling = sampling_of(method, (2, 3, 3 - missing), "even", "integral", x1)
        return multiply(sampling, x1, x2, (2, 3, 3))

    assert worst_error(lambda a, b: f(a, b, 0), (2, 3, 3), (1, 1), "even") < 1e-12
    assert worst_error(lambda a, b: f(a, b, 3), (2, 3, 3), (1, 1), "even") > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_symmetry_and_antisymmetry(method):
    x1, x2 = coefficients(3, 4), coefficients(2, 4, seed=1)
    for kind, sign in (("even", 1), ("odd", -1)):
        there = gaunt_product(x1, x2, 3, 2, 4, kind=kind, method=method)
        back = gaunt_product(x2, x1, 2, 3, 4, kind=kind, method=method)
        close(back, sign * there)
    itself = gaunt_product(x1, x1, 3, 3, 3, kind="odd", method=method)
    assert itself.abs().max() < 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_the_bracket_of_vectors_is_the_cross_product(method):
    x1, x2 = coefficients(1, 6), coefficients(1, 6, seed=1)
    z = gaunt_product(x1, x2, 1, 1, 1, kind="odd", method=method)
    close(z[..., 1:], poisson_constant(1, 1, 1) / 6**0.5 * torch.linalg.cross(x1[:, 1:], x2[:, 1:]))
    assert z[..., 0].abs().max() < 1e-14


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_of_first_and_second_order(kind, method):
    x1, x2 = coefficients(1, 2).requires_grad_(), coefficients(1, seed=1).requires_grad_()

    def f(a, b):
        return gaunt_product(a, b, 1, 1, 2, kind=kind, method=method)

    assert torch.autograd.gradcheck(f, (x1, x2), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, (x1, x2))


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("method", ["grid", "sparse"])
def test_tangents_flow_without_gradients(method):
    x1, x2, t1 = coefficients(2, 4), coefficients(1, 4, seed=1), coefficients(2, 4, seed=2)
    with torch.no_grad(), forward_ad.dual_level():
        z = gaunt_product(forward_ad.make_dual(x1, t1), x2, 2, 1, 3, method=method)
        close(forward_ad.unpack_dual(z).tangent, gaunt_product(t1, x2, 2, 1, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_a_third_derivative(kind):
    """The energy z·z is of degree 4 in x: its third derivative is finite and not 0."""
    x = coefficients(2).requires_grad_()
    y = coefficients(1, seed=1)
    z = gaunt_product(x, gaunt_product(x, y, 2, 1, 2, kind=kind), 2, 2, 2, kind=kind)
    derived = z.square().sum()
    for _ in range(3):
        (gradient,) = torch.autograd.grad(derived, x, create_graph=True)
        derived = gradient.square().sum()
    assert torch.isfinite(derived)
    assert derived > 0


@pytest.mark.parametrize("method", ["grid", "half_grid", "sparse"])
@pytest.mark.parametrize("kind", KINDS)
def test_vmap_and_functional_gradients(kind, method):
    x1, x2 = coefficients(2, 4), coefficients(1, 4, seed=1)

    def f(a, b):
        return gaunt_product(a, b, 2, 1, 3, kind=kind, method=method)

    close(torch.vmap(f)(x1, x2), f(x1, x2))
    close(torch.vmap(f, (None, 0))(x1[0], x2), f(x1[0], x2))
    close(
        torch.vmap(f, (1, None), 1)(x1[:, None].expand(4, 3, 9), x2),
        f(x1, x2)[:, None].expand(4, 3, 16),
    )
    nested = torch.vmap(torch.vmap(f, (None, 0)), (0, None))(x1, x2)
    close(nested, f(x1[:, None], x2))
    jacobian = torch.vmap(torch.func.jacrev(f))(x1, x2)
    close(torch.einsum("nca,na->nc", jacobian, x1), f(x1, x2))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degree", [2, 6, 10])
def test_single_precision(degree, kind, method):
    x1 = coefficients(degree, 20, dtype=torch.float32)
    x2 = coefficients(degree, 20, seed=1, dtype=torch.float32)
    options = {"kind": kind, "method": method}
    single = gaunt_product(x1, x2, degree, degree, degree, **options)
    double = gaunt_product(x1.double(), x2.double(), degree, degree, degree, **options)
    assert single.dtype == torch.float32
    assert (single - double).norm() < 1e-6 * double.norm()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_autocast_changes_nothing(kind, method):
    x1 = coefficients(3, 5, dtype=torch.float32).requires_grad_()
    x2 = coefficients(3, 5, seed=1, dtype=torch.float32)
    plain = gaunt_product(x1, x2, 3, 3, 3, kind=kind, method=method)
    (expected,) = torch.autograd.grad(plain.sum(), x1)
    with torch.autocast("cpu", torch.bfloat16):
        inside = gaunt_product(x1, x2, 3, 3, 3, kind=kind, method=method)
        (gradient,) = torch.autograd.grad(inside.sum(), x1)
    assert torch.equal(inside, plain)
    assert torch.equal(gradient, expected)


def test_dtypes_follow_the_inputs():
    x1, x2 = coefficients(2, 5), coefficients(2, 5, seed=1)
    half = gaunt_product(x1.bfloat16(), x2.bfloat16(), 2, 2, 2)
    expected = gaunt_product(x1.bfloat16().float(), x2.bfloat16().float(), 2, 2, 2)
    assert torch.equal(half, expected.bfloat16())
    mixed = x1.float().requires_grad_()
    z = gaunt_product(mixed, x2, 2, 2, 2)
    z.sum().backward()
    assert z.dtype == torch.float64
    assert mixed.grad.dtype == torch.float32


@pytest.mark.parametrize("method", METHODS)
def test_tables_built_in_inference_mode_serve_training(method):
    grid_tables.cache_clear()
    x1, x2 = coefficients(2, 5), coefficients(2, 5, seed=1)
    with torch.inference_mode():
        expected = gaunt_product(x1, x2, 2, 2, 2, method=method)
    z = gaunt_product(x1.requires_grad_(), x2, 2, 2, 2, method=method)
    z.sum().backward()
    assert torch.equal(z, expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_chunks_and_columns(kind, method):
    """More vectors than fit into one chunk, by rows, by columns and with a shared operand."""
    x1, x2 = coefficients(3, 700, 9), coefficients(2, 700, 9, seed=1)
    expected = contraction(x1, x2, (3, 2, 4), kind)
    options = {"kind": kind, "method": method}
    close(gaunt_product(x1, x2, 3, 2, 4, **options), expected)
    columns = [x.mT.contiguous().mT.requires_grad_() for x in (x1, x2)]
    z = gaunt_product(*columns, 3, 2, 4, **options)
    close(z, expected)
    ours = torch.autograd.grad(z.square().sum(), columns)
    leaves = [x.detach().requires_grad_() for x in (x1, x2)]
    theirs = torch.autograd.grad(contraction(*leaves, (3, 2, 4), kind).square().sum(), leaves)
    for gradient, other in zip(ours, theirs, strict=True):
        close(gradient, other)
    close(
        gaunt_product(columns[0], x2[:, :1], 3, 2, 4, **options),
        contraction(x1, x2[:, :1], (3, 2, 4), kind),
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_derivative_of_one_operand_only(method):
    x1, x2 = coefficients(2, 5).requires_grad_(), coefficients(3, 5, seed=1).requires_grad_()
    for one in (x1, x2):
        (ours,) = torch.autograd.grad(gaunt_product(x1, x2, 2, 3, 4, method=method).sum(), one)
        (theirs,) = torch.autograd.grad(contraction(x1, x2, (2, 3, 4), "even").sum(), one)
        close(ours, theirs)


def test_the_choice_is_fixed_until_someone_measures(monkeypatch):
    monkeypatch.setattr(choice, "MEASURED", {})
    case = choice.case_of((3, 3, 3), "even", 100, torch.ones(1))
    before = choice.choose(case)
    assert before == "sparse" == choice.choose(case)
    seconds = benchmark_methods(3, 3, 3, vectors=100)
    assert set(seconds) == set(METHODS) - {"auto"}
    assert choice.choose(case) == min(seconds, key=seconds.get)
    assert choice.choose(choice.case_of((3, 3, 4), "even", 100, torch.ones(1))) == "sparse"


def test_auto_needs_no_compiler(monkeypatch):
    monkeypatch.setattr(engine, "compiler_works", lambda: False)
    x1, x2 = coefficients(4, 5), coefficients(3, 5, seed=1)
    for degree in (0, 4, 7):
        z = gaunt_product(x1, x2, 4, 3, degree)
        close(z, contraction(x1, x2, (4, 3, degree), "even"))
    with pytest.raises(ConventionError, match="Numba"):
        gaunt_product(x1, x2, 4, 3, 4, method="sparse")


@pytest.mark.parametrize(
    ("error", "arguments", "options"),
    [
        (ShapeError, (coefficients(1), coefficients(2), 2, 2, 2), {}),
        (ShapeError, (coefficients(2, 3), coefficients(2, 4), 2, 2, 2), {}),
        (ConventionError, (coefficients(0), coefficients(0), 0, 0, -1), {}),
    ],
)
def test_refusals(error, arguments, options):
    with pytest.raises(error):
        gaunt_product(*arguments, **options)
