"""Products and operators compile as one graph, forward and backward, and give the same numbers.

In a process of its own: the checks of annotations that tests install cannot be compiled. Nothing
is computed there before it is compiled, so that graphs find forms by name alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from functools import partial

import pytest
import torch

from equivariant.nn import GauntConvolution, GauntPower, GauntTensorProduct
from equivariant.nn.gaunt import gaunt_product
from equivariant.nn.gaunt.methods.fastest import MEASURED

METHODS = ("auto", "sparse", "grid", "separable", "fft")
FIRST, SECOND = "4x0e + 4x1o + 4x1e", "4x0e + 4x1o"
LAYERS = [
    {},
    {"method": "grid", "layout": "ir_mul"},
    {"weights": "degree", "layout": "ir_mul"},
    {"weights": "path", "mode": "uvu"},
    {"weights": "path", "method": "dense"},
    {"path_norm": "cg-like", "method": "half_grid"},
]
IRREPS = "3x2o + 3x0e + 3x1o + 3x1e"
EDGES = torch.tensor([[0, 1, 2, 3, 3, 0, 2], [1, 1, 0, 4, 1, 0, 4]])
NAMES = [
    *(f"product {method}" for method in METHODS),
    *(f"layer {options}" for options in LAYERS),
    *(f"convolution {layout} {w}" for layout in ("mul_ir", "ir_mul") for w in ("degree", "path")),
    *(f"power {layout}" for layout in ("mul_ir", "ir_mul")),
]


def difference(f, leaves, weights=()):
    """Largest relative difference of values and gradients, compiled and not."""
    leaves = [leaf.requires_grad_() for leaf in leaves]
    results = []
    for g in (torch.compile(f, fullgraph=True, backend="aot_eager"), f):
        z = g(*leaves)
        results.append([z, *torch.autograd.grad(z.square().sum(), [*leaves, *weights])])
    with torch.no_grad():
        return max(float((a - b).norm() / b.norm()) for a, b in zip(*results, strict=True))


def of_product(method):
    def f(a, b):
        return gaunt_product(a, b, 2, 1, 3, method=method).sin()

    return difference(f, (torch.randn(5, 9), torch.randn(5, 4)))


def of_layer(options):
    second = SECOND.replace("4x", "1x") if "mode" in options else SECOND
    layer = GauntTensorProduct(FIRST, second, parity="full", **options)
    inputs = (torch.randn(5, layer.irreps_in1.dim), torch.randn(5, layer.irreps_in2.dim))
    return difference(layer, inputs, list(layer.parameters()))


def of_convolution(layout, weights):
    layer = GauntConvolution(IRREPS, 2, parity="full", layout=layout, weights="degree")
    radial = torch.randn(7, 3 if weights == "degree" else len(layer.paths))
    inputs = (torch.randn(5, layer.irreps_in.dim), torch.randn(7, 3), radial)
    return difference(partial(layer, edge_index=EDGES), inputs, list(layer.parameters()))


def of_power(layout):
    layer = GauntPower(IRREPS, IRREPS, 3, num_elements=2, layout=layout)
    f = partial(layer, element=torch.tensor([0, 1, 1, 0, 1]))
    return difference(f, [torch.randn(5, layer.irreps_in.dim)], list(layer.parameters()))


def main():
    """What the tests read."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        found = [
            *map(of_product, METHODS),
            *map(of_layer, LAYERS),
            *(of_convolution(*name.split()[1:]) for name in NAMES if "convolution" in name),
            *map(of_power, ("mul_ir", "ir_mul")),
        ]
    sys.stdout.write(json.dumps([dict(zip(NAMES, found, strict=True)), len(MEASURED)]))


@pytest.fixture(scope="module")
def found():
    code = f"from {__name__.rpartition('.')[2]} import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=__file__.rpartition("/")[0],
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    differences, measured = json.loads(done.stdout)
    assert measured == 0
    return differences


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NAMES)
def test_compiled_values_and_gradients_are_the_same(found, name):
    assert found[name] < 1e-5
