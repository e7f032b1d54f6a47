"""Powers of functions on the sphere against chained products, under O(3), and derived."""

from __future__ import annotations

import copy
import pickle

import jaxtyping
import pytest
import torch
from e3nn.o3 import Irrep, Irreps, rand_matrix

from equivariant.errors import ConventionError, ShapeError
from equivariant.harmonics.sphere_grid import grid_tables
from equivariant.nn import GauntPower, GauntTensorProduct, gaunt_product
from equivariant.nn.gaunt.power import power as power_module
from equivariant.nn.gaunt.power import sphere_powers

TRUE, PSEUDO, MIXED = "3x0e + 3x1o + 3x2e", "3x1e + 3x2o", "3x2o + 3x0e + 3x1o + 3x1e"
CASES = [
    (TRUE, "3x0e + 3x1o + 3x2e + 3x3o", 4),
    (TRUE, "3x1o", 1),
    (TRUE, "3x5o + 3x0e", 3),
    ("3x3o", "3x1o + 3x3o + 3x2e", 3),
    (PSEUDO, "3x1o + 3x1e + 3x2e + 3x2o + 3x0e", 4),
    (MIXED, "3x1o + 3x0e + 3x2o + 3x3e", 3),
]
ELEMENTS = torch.tensor([0, 1, 1, 0, 1])
LAYOUTS = ["mul_ir", "ir_mul"]
METHODS = ["auto", "grid"]


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def sign(irrep):
    return irrep.p * (-1) ** irrep.l


def built(irreps_in, irreps_out, correlation, **options):
    layer = GauntPower(irreps_in, irreps_out, correlation, num_elements=2, **options).double()
    with torch.no_grad():
        layer.weight.copy_(normal(*layer.weight.shape, seed=5))
    return layer


def chained(layer, x, elements):
    """One channel at a time: exact binary products, nothing cut off, in e3nn's layout."""
    channels = layer.irreps_in[0].mul
    degree = max(irrep.l for _, irrep in layer.irreps_in)
    result = torch.zeros(len(x), layer.irreps_out.dim, dtype=x.dtype)
    for channel in range(channels):
        parts = {s: torch.zeros(len(x), (degree + 1) ** 2, dtype=x.dtype) for s in (1, -1)}
        for (_, irrep), rows in zip(layer.irreps_in, layer.irreps_in.slices(), strict=True):
            block = x[:, rows].view(len(x), channels, -1)[:, channel]
            parts[sign(irrep)][:, irrep.l**2 : (irrep.l + 1) ** 2] = block
        power = parts
        for nu in range(1, layer.correlation + 1):
            if nu > 1:
                degrees = (nu - 1) * degree, degree, nu * degree
                power = {
                    s: sum(
                        gaunt_product(
                            power[s * t], parts[t], *degrees, normalization=layer.normalization
                        )
                        for t in (1, -1)
                    )
                    for s in (1, -1)
                }
            for place, (_, irrep) in enumerate(layer.irreps_out):
                if irrep.l <= nu * degree:
                    block = power[sign(irrep)][:, irrep.l**2 : (irrep.l + 1) ** 2]
                    weight = layer.weight[nu - 1, elements, channel, place]
                    start = layer.irreps_out.slices()[place].start + channel * irrep.dim
                    columns = torch.zeros_like(result)
                    columns[:, start : start + irrep.dim] = weight[:, None] * block
                    result = result + columns
    return result


def close(value, expected, tolerance=1e-12):
    scale = float(expected.detach().abs().max()) if expected.numel() else 1.0
    torch.testing.assert_close(value, expected, rtol=0, atol=tolerance * max(scale, 1e-2))


def swapped(x, irreps):
    """From e3nn's layout to the other."""
    parts = zip(irreps, irreps.slices(), strict=True)
    return torch.cat([x[:, s].view(len(x), m.mul, -1).mT.flatten(1) for m, s in parts], 1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("normalization", ["integral", "component"])
@pytest.mark.parametrize(("irreps_in", "irreps_out", "correlation"), CASES)
def test_values_and_gradients_are_those_of_chained_products(
    irreps_in, irreps_out, correlation, normalization, method
):
    options = {"normalization": normalization, "method": method}
    layer = built(irreps_in, irreps_out, correlation, **options)
    x = normal(5, layer.irreps_in.dim).requires_grad_()
    z, expected = layer(x, ELEMENTS), chained(layer, x, ELEMENTS)
    close(z, expected)
    cotangent = normal(*z.shape, seed=2)
    leaves = x, layer.weight
    ours = torch.autograd.grad((z * cotangent).sum(), leaves)
    theirs = torch.autograd.grad((expected * cotangent).sum(), leaves)
    for gradient, other in zip(ours, theirs, strict=True):
        close(gradient, other)


@pytest.mark.parametrize(("irreps_in", "irreps_out", "correlation"), CASES)
def test_layouts_are_orders_of_one_result(irreps_in, irreps_out, correlation):
    one = built(irreps_in, irreps_out, correlation)
    other = built(irreps_in, irreps_out, correlation, layout="ir_mul")
    x = normal(5, one.irreps_in.dim)
    expected = swapped(one(x, ELEMENTS), one.irreps_out)
    close(other(swapped(x, one.irreps_in), ELEMENTS), expected)


def test_the_square_is_the_layer_of_binary_products():
    layer = GauntPower(MIXED, MIXED, 2, normalization="integral").double()
    with torch.no_grad():
        layer.weight[0], layer.weight[1] = 0.0, 1.0
    x = normal(5, layer.irreps_in.dim)
    close(layer(x), GauntTensorProduct(MIXED, MIXED, MIXED)(x, x))


def worst_error(layer):
    x = normal(5, layer.irreps_in.dim)
    z = layer(x, ELEMENTS)
    torch.manual_seed(0)
    worst = 0.0
    for factor in (1, -1) * 4:
        matrix = factor * rand_matrix(dtype=torch.float64)
        moved = [irreps.D_from_matrix(matrix) for irreps in (layer.irreps_in, layer.irreps_out)]
        left, right = layer(x @ moved[0].T, ELEMENTS), z @ moved[1].T
        worst = max(worst, float(((left - right).norm() / right.norm()).detach()))
    return worst


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("irreps_in", "irreps_out", "correlation"), CASES)
def test_turns_and_reflects_as_declared(irreps_in, irreps_out, correlation, double):
    assert worst_error(built(irreps_in, irreps_out, correlation)) < 1e-12


def test_pseudo_parts_taken_for_true_ones_are_caught(double):
    layer = built(MIXED, MIXED, 3)
    layer.irreps_in = Irreps("3x2e + 3x0e + 3x1o + 3x1o")
    assert worst_error(layer) > 0.1


@pytest.mark.parametrize("short", [0, 1, 2, 4])
def test_a_grid_that_is_too_small_is_caught(short, monkeypatch, double):
    """Degree 3·2+2 is needed: neither that of the square nor one less will do."""
    seen = []

    def smaller(degree_in, degree_out, exact, normalization):
        seen.append(exact)
        settings = (exact - short, normalization, torch.float64, torch.device("cpu"))
        tables = grid_tables(degree_in, *settings), grid_tables(degree_out, *settings)
        return {"values": tables[0][0], "projection": tables[1][3]}

    monkeypatch.setattr(power_module, "_tables", smaller)
    layer = built(TRUE, TRUE, 3, method="grid")
    x = normal(5, layer.irreps_in.dim)
    expected = chained(layer, x, ELEMENTS)
    difference = float(((layer(x, ELEMENTS) - expected).norm() / expected.norm()).detach())
    assert seen == [8]
    if short:
        assert difference > 0.05
        assert worst_error(layer) > 0.05
    else:
        assert difference < 1e-12
        assert worst_error(layer) < 1e-12


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("irreps", ["2x0e + 2x1o", "2x1e", "2x1o + 2x1e"])
@pytest.mark.parametrize("chunk", [1, 1 << 18])
def test_derivatives_of_first_and_second_order(irreps, chunk, layout, monkeypatch):
    monkeypatch.setattr(sphere_powers, "VALUES_AT_A_TIME", chunk)
    options = {"num_elements": 2, "layout": layout, "method": "grid"}
    layer = GauntPower(irreps, irreps, 3, **options).double()
    x, weight = normal(2, layer.irreps_in.dim), normal(*layer.weight.shape, seed=1)

    def f(x, weight):
        state = {"weight": weight}
        return torch.func.functional_call(layer, state, (x, torch.tensor([1, 0])))

    operands = x.requires_grad_(), weight.requires_grad_()
    assert torch.autograd.gradcheck(f, operands)
    assert torch.autograd.gradgradcheck(f, operands)


@pytest.mark.parametrize("correlation", [3, 4])
@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_higher_derivatives(order, correlation):
    """Along a line: z(x + t d) is a polynomial in t, whose coefficients a fit finds."""
    layer = built(TRUE, TRUE, correlation)
    x, d = normal(5, layer.irreps_in.dim), normal(5, layer.irreps_in.dim, seed=1)
    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    derived = layer(x + t * d, ELEMENTS).sum()
    for _ in range(order):
        (derived,) = torch.autograd.grad(derived, t, create_graph=True)
    times = torch.linspace(-1, 1, 6, dtype=torch.float64)
    values = torch.stack([layer(x + s * d, ELEMENTS).sum() for s in times])
    fitted = torch.linalg.solve(torch.linalg.vander(times), values)
    factorial = float(torch.arange(1, order + 1).prod())
    if order > correlation:
        assert abs(derived) < 1e-10
    else:
        close(derived, factorial * fitted[order], 1e-9)


@pytest.mark.parametrize("chunk", [1, 200, 1 << 18])
def test_chunks_change_nothing_and_keep_nothing(chunk, monkeypatch):
    monkeypatch.setattr(sphere_powers, "VALUES_AT_A_TIME", chunk)
    layer = built(MIXED, MIXED, 3, method="grid")
    x = normal(5, layer.irreps_in.dim).requires_grad_()
    kept = []

    def keep(tensor):
        kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        z = layer(x, ELEMENTS)
    points = layer._constants.at(torch.float64, torch.device("cpu"))["values"].shape[1]
    assert kept
    assert all(points not in shape for shape in kept)
    close(z, chained(layer, x, ELEMENTS))
    close(
        torch.autograd.grad(z.square().sum(), x)[0],
        torch.autograd.grad(chained(layer, x, ELEMENTS).square().sum(), x)[0],
    )


def test_rows_are_independent_and_leading_axes_free():
    layer = built(TRUE, TRUE, 3)
    x = normal(5, layer.irreps_in.dim)
    z = layer(x, ELEMENTS)
    order = torch.tensor([3, 1, 4, 0, 2])
    close(layer(x[order], ELEMENTS[order]), z[order])
    close(layer(x[2], ELEMENTS[2]), z[2])
    close(layer(x[:1], ELEMENTS[:1]), z[:1])
    batch = layer(x.expand(2, 3, 5, -1), ELEMENTS.expand(2, 3, 5))
    close(batch, z.expand(2, 3, 5, -1))
    empty = layer(x[:0].requires_grad_(), ELEMENTS[:0])
    assert empty.shape == (0, layer.irreps_out.dim)
    empty.sum().backward()


def test_one_kind_needs_no_element():
    layer = GauntPower(TRUE, TRUE, 3).double()
    x = normal(5, layer.irreps_in.dim)
    close(layer(x), layer(x, torch.zeros(5, dtype=torch.int64)))


@pytest.mark.parametrize("normalization", ["integral", "component"])
@pytest.mark.parametrize("irreps", ["1x0e + 1x1o + 1x2e", "1x3o"])
def test_powers_start_with_the_variance_of_the_function(irreps, normalization):
    """In the mean over the sphere, for standard normal coefficients, all degrees kept."""
    degree = max(irrep.l for _, irrep in Irreps(irreps))
    out = "+".join(f"1x{n}{'eo'[n % 2]}" for n in range(3 * degree + 1))
    if irreps == "1x3o":
        out = "1x1o + 1x3o + 1x5o + 1x7o + 1x9o + 1x0e + 1x2e + 1x4e + 1x6e"
    layer = GauntPower(irreps, out, 3, normalization=normalization).double()
    x = normal(40000, layer.irreps_in.dim)
    norms = []
    for nu in range(3):
        one = copy.deepcopy(layer)
        with torch.no_grad():
            one.weight[[n for n in range(3) if n != nu]] = 0.0
            norms.append(float(one(x).square().sum(1).mean()))
    assert norms[1] == pytest.approx(norms[0], rel=0.1)
    assert norms[2] == pytest.approx(norms[0], rel=0.1)


def test_single_and_half_precision():
    layer = built(MIXED, MIXED, 3)
    x = normal(5, layer.irreps_in.dim)
    expected = layer(x, ELEMENTS)
    single = copy.deepcopy(layer).float()(x.float(), ELEMENTS)
    assert single.dtype == torch.float32
    assert (single - expected).norm() < 1e-6 * expected.norm()
    half = copy.deepcopy(layer).bfloat16()(x.bfloat16(), ELEMENTS)
    assert half.dtype == torch.bfloat16
    assert (half - expected).norm() < 3e-2 * expected.norm()


@pytest.mark.parametrize("method", METHODS)
def test_autocast_changes_nothing(method):
    layer = built(TRUE, TRUE, 3, method=method).float()
    x = normal(5, layer.irreps_in.dim).float()
    expected = layer(x, ELEMENTS)
    with torch.autocast("cpu", torch.bfloat16):
        inside = layer(x, ELEMENTS)
    assert torch.equal(inside, expected)


def test_functional_gradients():
    layer = built(MIXED, MIXED, 3)
    x = normal(2, layer.irreps_in.dim)

    def f(x):
        return layer(x, ELEMENTS[:2]).square().sum()

    close(torch.func.grad(f)(x), torch.autograd.functional.jacobian(f, x))
    hessian = torch.func.jacrev(torch.func.grad(f))(x)
    close(hessian, torch.autograd.functional.hessian(f, x), 1e-11)


def test_state_survives():
    layer = built(MIXED, MIXED, 3)
    assert list(layer.state_dict()) == ["weight"]
    x = normal(5, layer.irreps_in.dim)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):  # noqa: S301
        assert torch.equal(other(x, ELEMENTS), layer(x, ELEMENTS))
    there_and_back = copy.deepcopy(layer).float().double()
    there_and_back.load_state_dict(layer.state_dict())
    assert torch.equal(there_and_back(x, ELEMENTS), layer(x, ELEMENTS))


@pytest.fixture
def unchecked():
    """Without the checks of annotations, which come before ours."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
    ("arguments", "options", "argument"),
    [
        (("3x0e + 2x1o", "3x0e", 2), {}, "irreps_in"),
        ((TRUE, "2x0e", 2), {}, "irreps_out"),
        ((TRUE, "3x1e", 4), {}, "irreps_out"),
        ((TRUE, "3x5o", 2), {}, "irreps_out"),
        (("3x2e", "3x1o", 5), {}, "irreps_out"),
        (("3x1e", "3x0e", 1), {}, "irreps_out"),
        ((TRUE, TRUE, 0), {}, "correlation"),
        ((TRUE, TRUE, 2), {"num_elements": 0}, "num_elements"),
        ((TRUE, TRUE, 2), {"normalization": "norm"}, "normalization"),
        ((TRUE, TRUE, 2), {"layout": "channels"}, "layout"),
        ((TRUE, TRUE, 2), {"method": "dense"}, "method"),
        ((TRUE, TRUE, 1), {"method": "sparse"}, "method"),
        ((TRUE, TRUE, 4), {"method": "sparse"}, "method"),
    ],
)
def test_settings_that_do_not_fit_are_refused(arguments, options, argument, unchecked):
    with pytest.raises(ConventionError) as caught:
        GauntPower(*arguments, **options)
    assert caught.value.argument == argument


def test_reached_irreps_are_those_with_a_power(double):
    """What is not refused is not 0."""
    for text in ("1x1e", "1x2e", "1x1o + 1x1e", "1x2o"):
        for degree in range(5):
            for parity in (1, -1):
                out = f"1x{Irrep(degree, parity)}"
                try:
                    layer = GauntPower(text, out, 3)
                except ConventionError:
                    continue
                assert layer(normal(3, layer.irreps_in.dim)).abs().max() > 1e-3


def test_inputs_that_do_not_fit_are_refused(unchecked):
    layer = built(TRUE, TRUE, 2)
    x = normal(5, layer.irreps_in.dim)
    for error, argument, call in (
        (ShapeError, "x", (x[:, 1:], ELEMENTS)),
        (ConventionError, "x", (x.long(), ELEMENTS)),
        (ShapeError, "element", (x,)),
        (ShapeError, "element", (x, ELEMENTS[1:])),
        (ConventionError, "element", (x, ELEMENTS.int())),
        (ConventionError, "element", (x, ELEMENTS + 1)),
        (ConventionError, "element", (x, ELEMENTS - 1)),
    ):
        with pytest.raises(error) as caught:
            layer(*call)
        assert caught.value.argument == argument
