"""Products compile as one graph, forward and backward, and give the same numbers.

In a process of its own: the checks of annotations that tests install cannot be compiled. No
product is computed there before it is compiled, so that graphs find forms by name alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import torch

from equivariant.nn import GauntTensorProduct
from equivariant.nn.gaunt import gaunt_product
from equivariant.nn.gaunt.kernels.choice import MEASURED

FIRST, SECOND = "4x0e + 4x1o + 4x1e", "4x0e + 4x1o"
LAYERS = [
    {},
    {"method": "grid", "layout": "ir_mul"},
    {"weights": "degree", "layout": "ir_mul"},
    {"weights": "path", "mode": "uvu"},
    {"weights": "path", "method": "dense"},
    {"path_norm": "cg-like", "method": "half_grid"},
]


def difference(f, leaves):
    """Largest relative difference of values and gradients, compiled and not."""
    results = []
    for g in (torch.compile(f, fullgraph=True, backend="aot_eager"), f):
        z = g(*leaves)
        results.append([z, *torch.autograd.grad(z.square().sum(), leaves)])
    with torch.no_grad():
        return max(float((a - b).norm() / b.norm()) for a, b in zip(*results, strict=True))


def differences():
    """Of every product that is compiled."""
    torch.manual_seed(0)
    found = {}
    for method in ("auto", "sparse", "grid", "separable", "fft"):
        x, y = torch.randn(5, 9).requires_grad_(), torch.randn(5, 4).requires_grad_()

        def f(a, b, method=method):
            return gaunt_product(a, b, 2, 1, 3, method=method).sin()

        found[method] = difference(f, (x, y))
    for options in LAYERS:
        second = SECOND.replace("4x", "1x") if "mode" in options else SECOND
        layer = GauntTensorProduct(FIRST, second, parity="full", **options)
        x = torch.randn(5, layer.irreps_in1.dim).requires_grad_()
        y = torch.randn(5, layer.irreps_in2.dim).requires_grad_()

        def g(a, b, *weights, layer=layer):
            return layer(a, b)

        found[str(options)] = difference(g, (x, y, *layer.parameters()))
    return {**found, "measured": len(MEASURED)}


def test_compiled_values_and_gradients_are_the_same():
    code = f"from {__name__.rpartition('.')[2]} import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=__file__.rpartition("/")[0],
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found.pop("measured") == 0
    assert len(found) == 5 + len(LAYERS)
    assert max(found.values()) < 1e-5


def main():
    """What the test reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        sys.stdout.write(json.dumps(differences()))
