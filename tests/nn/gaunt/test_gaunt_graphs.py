"""Layers inside of torch's tracers, on devices without memory, and without Numba's compiler."""

import subprocess
import sys
import warnings

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from equivariant.nn.gaunt import (
    DirectionHarmonics,
    GauntConvolution,
    GauntPower,
    GauntSelfMix,
    GauntTensorProduct,
    gaunt_product,
    real_harmonics,
    warm_up,
)
from equivariant.nn.gaunt.compiled import availability as engine

IRREPS = "2x0e+2x1o+2x2e"
DIM = 18


class OnEdges(torch.nn.Module):
    """A convolution with its edges as an argument in place."""

    def __init__(self, method="auto"):
        super().__init__()
        self.layer = GauntConvolution(IRREPS, 2, IRREPS, weights="degree", method=method)

    def forward(self, x, vectors, radial, edge_index):
        return self.layer(x, vectors, radial, edge_index=edge_index)


def features(rows, *, count=1, dim=DIM):
    return tuple(torch.randn(rows, dim) for _ in range(count))


def edges(rows):
    vectors, radial = torch.randn(3 * rows, 3), torch.randn(3 * rows, 3)
    return (*features(rows), vectors, radial, torch.randint(0, rows, (2, 3 * rows)))


def pair(rows):
    return features(rows, count=2)


LAYERS = {
    "product": (lambda: GauntTensorProduct(IRREPS, IRREPS, IRREPS), pair),
    "degree": (lambda: GauntTensorProduct(IRREPS, IRREPS, IRREPS, weights="degree"), pair),
    "path": (lambda: GauntTensorProduct(IRREPS, IRREPS, IRREPS, weights="path"), pair),
    "grid": (lambda: GauntTensorProduct(IRREPS, IRREPS, IRREPS, method="half_grid"), pair),
    "power 3": (lambda: GauntPower(IRREPS, IRREPS, 3), features),
    "power 4": (lambda: GauntPower(IRREPS, IRREPS, 4), features),
    "self-mix": (lambda: mixing(), features),
    "harmonics": (lambda: DirectionHarmonics(3), lambda rows: features(rows, dim=3)),
    "convolution": (OnEdges, edges),
    "convolution by matrices": (lambda: OnEdges("dense"), edges),
    "convolution on a grid": (lambda: OnEdges("grid"), edges),
}


def mixing():
    block = GauntSelfMix(IRREPS)
    torch.nn.init.normal_(block.last.weight)
    return block


def dirty_memory():
    """Leave freed memory that holds no zeros, so that unwritten results show."""
    junk = [torch.full((6, n), 7e9) for n in range(16, 200, 4)]
    del junk


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_traces_by_jit_compute_for_other_sizes(name, grad):
    make, inputs = LAYERS[name]
    torch.manual_seed(0)
    layer = make()
    with torch.set_grad_enabled(grad):
        traced = torch.jit.trace(layer, inputs(6))
        for rows in (6, 9, 1):
            given = inputs(rows)
            dirty_memory()
            torch.testing.assert_close(traced(*given), layer(*given), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    "function",
    [lambda a, b: gaunt_product(a, b, 1, 1, 2), lambda a, b: real_harmonics(3, a[:, 1:])],
)
def test_traces_of_functions(function):
    traced = torch.jit.trace(function, features(6, count=2, dim=4))
    given = features(3, count=2, dim=4)
    dirty_memory()
    torch.testing.assert_close(traced(*given), function(*given))


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "self-mix"])
def test_graphs_by_make_fx_take_other_sizes(name):
    # 7 rows, 21 edges: equal sizes of different things would become one size of the graph.
    make, inputs = LAYERS[name]
    torch.manual_seed(0)
    layer = make()
    graph = make_fx(layer, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*inputs(7))
    given = inputs(9)
    torch.testing.assert_close(graph(*given), layer(*given), rtol=1e-4, atol=1e-4)


def test_forces_of_a_convolution_by_make_fx():
    torch.manual_seed(0)
    layer = OnEdges()

    def forces(positions, x, radial, edge_index):
        positions = positions.detach().requires_grad_()
        vectors = positions[edge_index[0]] - positions[edge_index[1]]
        energy = layer(x, vectors, radial, edge_index).square().sum()
        return torch.autograd.grad(energy, positions)[0]

    def given(rows):
        x, _, radial, edge_index = edges(rows)
        return torch.randn(rows, 3), x, radial, edge_index

    graph = make_fx(forces, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*given(7))
    other = given(8)
    torch.testing.assert_close(graph(*other), forces(*other), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_built_on_meta_compute_once_they_are_loaded(name):
    make, inputs = LAYERS[name]
    torch.manual_seed(0)
    layer = make()
    with torch.device("meta"):
        empty = make()
    assert all(parameter.is_meta for parameter in empty.parameters())
    dirty_memory()
    loaded = empty.to_empty(device="cpu")
    loaded.load_state_dict(layer.state_dict())
    given = inputs(4)
    torch.testing.assert_close(loaded(*given), layer(*given), rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "self-mix"])
def test_layers_give_shapes_of_fake_tensors(name):
    make, inputs = LAYERS[name]
    shape = make()(*inputs(4)).shape
    with FakeTensorMode():
        assert make()(*inputs(4)).shape == shape


def test_products_on_the_meta_device_give_shapes():
    layer = GauntTensorProduct(IRREPS, IRREPS, IRREPS, weights="path", device="meta")
    x = torch.zeros(2, DIM, device="meta")
    assert layer(x, x).is_meta and layer(x, x).shape == (2, DIM)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_self_mix_under_autocast_is_the_block_without_it(dtype):
    torch.manual_seed(0)
    block, x = mixing(), torch.randn(5, DIM).to(dtype)
    expected = block(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = block(x)
    assert found.dtype == expected.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


NO_COMPILER = """
import warnings
import torch
{before}
from equivariant.nn.gaunt import GauntConvolution, GauntPower, GauntTensorProduct
layers = [GauntTensorProduct("2x0e+2x1o", "2x0e+2x1o", weights=w) for w in ("degree", "path")]
x, v = torch.randn(4, 8), torch.randn(4, 3)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for layer in layers:
        print(float((layer(x, x) - layer.double()(x.double(), x.double())).abs().max()) < 1e-4)
    GauntPower("2x0e+2x1o", "2x0e+2x1o", 3)(x)
    GauntConvolution("2x0e+2x1o", 1, "2x0e+2x1o")(x, v, torch.randn(4, 2))
numba = [str(w.message) for w in said if "Numba" in str(w.message)]
print(len(numba), numba[0])
"""


@pytest.mark.parametrize(
    ("before", "environment", "reason"),
    [
        ("", {"NUMBA_DISABLE_JIT": "1"}, "NUMBA_DISABLE_JIT"),
        ("import sys; sys.modules['llvmlite'] = None", {}, "import failed"),
    ],
)
def test_numba_that_does_not_work_gives_way_with_one_warning(
    before, environment, reason, monkeypatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    script = NO_COMPILER.format(before=before)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *right, said = done.stdout.splitlines()
    assert right == ["True", "True"]
    assert said.startswith("1 Numba is installed") and reason in said


def test_a_compiler_that_works_is_no_news():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert engine.compiler_works()


@pytest.mark.parametrize("name", LAYERS)
def test_warming_up_calls_forward_and_backward_and_leaves_no_trace(name):
    make, inputs = LAYERS[name]
    torch.manual_seed(0)
    layer, given = make(), inputs(4)
    before = [value.clone() for value in (*given, *layer.parameters())]
    calls = []
    layer.register_forward_hook(lambda module, _, result: calls.append(result.requires_grad))
    assert warm_up(layer, *given) > 0
    assert calls == [True]
    after = (*given, *layer.parameters())
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert all(value.grad is None for value in after)
    warm_up(layer, *given, backward=False)
    assert calls == [True, False]
