"""Operators compile as one graph, forward and backward, and give the same numbers.

In a process of its own: the checks of annotations that tests install cannot be compiled.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import torch

from equivariant.nn import GauntConvolution, GauntPower

IRREPS = "3x2o + 3x0e + 3x1o + 3x1e"
EDGES = torch.tensor([[0, 1, 2, 3, 3, 0, 2], [1, 1, 0, 4, 1, 0, 4]])


def difference(layer, operands, options):
    """Largest relative difference of value and gradients, compiled and not."""
    results = []
    for f in (layer, torch.compile(layer, fullgraph=True, backend="aot_eager")):
        z = f(*operands, **options)
        leaves = [x for x in (*operands, *layer.parameters()) if x.is_floating_point()]
        results.append([z, *torch.autograd.grad(z.square().sum(), leaves)])
    with torch.no_grad():
        pairs = zip(*results, strict=True)
        return max(float((one - other).norm() / one.norm()) for one, other in pairs)


def differences():
    """Of every layer that is compiled."""
    torch.manual_seed(0)
    vectors = torch.randn(7, 3).requires_grad_()
    found = {}
    for layout in ("mul_ir", "ir_mul"):
        options = {"parity": "full", "layout": layout, "weights": "degree"}
        layer = GauntConvolution(IRREPS, 2, **options)
        x = torch.randn(5, layer.irreps_in.dim).requires_grad_()
        for width in (3, len(layer.paths)):
            operands = x, vectors, torch.randn(7, width).requires_grad_()
            found[f"convolution {layout} {width}"] = difference(
                layer, operands, {"edge_index": EDGES}
            )
        power = GauntPower(IRREPS, IRREPS, 3, num_elements=2, layout=layout)
        element = torch.tensor([0, 1, 1, 0, 1])
        found[f"power {layout}"] = difference(power, (x, element), {})
    return found


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
    assert len(found) == 6
    assert max(found.values()) < 1e-5


def main():
    """What the test reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        sys.stdout.write(json.dumps(differences()))
