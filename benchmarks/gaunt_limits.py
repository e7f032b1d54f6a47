"""Where products on the sphere gain less, and what a first call costs.

    python -m benchmarks.gaunt_limits             # about ten minutes on one core
    python -m benchmarks.gaunt_limits --table     # of the results on disk

One thread, float32, 64 channels, ways in turns as in ``gaunt_operators``; ``both`` is forward and
backward to all operands.

channel weights   A convolution whose weights are one per edge, coupling and channel, as in NequIP
                  and MACE: GauntTensorProduct(mode="uvu", weights="path") beside e3nn's 'uvu' with
                  external weights, the same map on the same couplings.
shared weights    GauntConvolution beside e3nn under torch.compile: weights are shared by
                  channels, the map of the convolution's table.
scalars           Features of degree 0 only with a weight per coupling.
first call        Seconds of the first forward, and of the first backward, of fresh processes:
                  with an empty cache of Numba and with a filled one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from e3nn.o3 import TensorProduct, spherical_harmonics

from benchmarks.gaunt_operators import CHANNELS, irreps, peer, swapped
from benchmarks.turns import keep_freed_memory, seconds
from equivariant.nn import GauntConvolution, GauntTensorProduct
from equivariant.nn.gaunt import GauntPower
from equivariant.runs import environment, write_json

EDGES = 1000
RESULTS = Path(__file__).parent / "results" / "gaunt_limits.json"


def timed(ways, operands, cotangent, least):
    """Seconds of ways that compute one map, forward alone and with backward.

    ``ways`` are functions by name; one may come with a function that rearranges operands and
    results to the layout of the others.
    """
    outputs = {name: way(*operands).detach() for name, way in ways.items()}
    first = next(iter(outputs.values()))
    for name, other in outputs.items():
        error = float((other - first).norm() / first.norm())
        if error > 1e-5:
            raise SystemExit(f"{name} differs by {error}")

    def forward(way):
        with torch.no_grad():
            way(*operands)

    def both(way):
        leaves = [t.detach().requires_grad_() for t in operands]
        torch.autograd.grad(way(*leaves), leaves, cotangent)

    return {
        passes: seconds({n: (lambda w=w, f=f: f(w)) for n, w in ways.items()}, least=least)
        for passes, f in (("forward", forward), ("both", both))
    }


def channel_weights(degree, least):
    """One weight per edge, coupling and channel."""
    generator = torch.Generator().manual_seed(degree)
    everything, one = irreps(CHANNELS, degree), irreps(1, degree)
    layer = GauntTensorProduct(
        everything, one, everything, mode="uvu", weights="path", shared_weights=False,
        normalization="component",
    )  # fmt: skip
    equal = peer(degree, "script")
    paths = [(i.i_in1, i.i_in2, i.i_out, "uvu", True, i.path_weight**2) for i in equal.instructions]
    product = TensorProduct(
        everything, one, everything, paths, irrep_normalization="none",
        path_normalization="none", shared_weights=False, internal_weights=False,
    )  # fmt: skip
    order = path_order(layer, product)
    x = torch.randn(EDGES, everything.dim, generator=generator)
    y = torch.randn(EDGES, one.dim, generator=generator)
    weights = torch.randn(EDGES, product.weight_numel, generator=generator)
    cotangent = torch.randn(EDGES, everything.dim, generator=generator)
    ways = {
        "e3nn": product,
        "product": lambda a, b, w: layer(a, b, w[:, order]),
    }
    return timed(ways, (x, y, weights), cotangent, least)


def path_order(layer, product):
    """Where each weight of our layer stands among e3nn's, found by single weights."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, layer.irreps_in1.dim, generator=generator)
    y = torch.randn(1, layer.irreps_in2.dim, generator=generator)
    single = torch.eye(product.weight_numel)
    ours = layer(x, y, single)
    theirs = product(x.expand(len(single), -1), y.expand(len(single), -1), single)
    near = torch.cdist(ours.double(), theirs.double()).argmin(1)
    if len(near.unique()) != len(near):
        raise SystemExit("the couplings of both do not correspond")
    return near


def shared_weights(degree, edges, least):
    """One filter per edge, against compiled e3nn."""
    generator = torch.Generator().manual_seed(degree)
    everything = irreps(CHANNELS, degree)
    owner = torch.arange(degree + 1).repeat_interleave(2 * torch.arange(degree + 1) + 1)
    product = peer(degree, "eager")
    layer = GauntConvolution(everything, degree, everything, layout="ir_mul")
    torch._dynamo.reset()  # else graphs of other degrees count towards its limit, and it gives up
    compiled = torch.compile(lambda x, y, radial: product(x, y * radial.index_select(1, owner)))
    started = time.perf_counter()
    x = torch.randn(edges, everything.dim, generator=generator)
    vectors = torch.randn(edges, 3, generator=generator)
    y = spherical_harmonics(list(range(degree + 1)), vectors, True, "component")
    radial = torch.randn(edges, degree + 1, generator=generator)
    g = torch.randn(edges, everything.dim, generator=generator)
    turned_x, turned_g = swapped(x, CHANNELS, degree), swapped(g, CHANNELS, degree)
    native = layer(turned_x, None, radial, harmonics=y)
    theirs = swapped(compiled(x, y, radial).detach(), CHANNELS, degree)
    if float((native - theirs).norm() / theirs.norm()) > 1e-5:
        raise SystemExit("the convolution differs")

    def ours(a, b, w):
        return layer(a, None, w, harmonics=b)

    def forward(way, first):
        with torch.no_grad():
            way(first, y, radial)

    def both(way, first, cotangent):
        leaves = [t.detach().requires_grad_() for t in (first, y, radial)]
        torch.autograd.grad(way(*leaves), leaves, cotangent)

    both(compiled, x, g)
    found = {"e3nn compiles for": time.perf_counter() - started}
    calls = {
        "forward": {
            "e3nn, torch.compile": lambda: forward(compiled, x),
            "kernel": lambda: forward(ours, turned_x),
        },
        "both": {
            "e3nn, torch.compile": lambda: both(compiled, x, g),
            "kernel": lambda: both(ours, turned_x, turned_g),
        },
    }
    return found | {passes: seconds(of, least=least) for passes, of in calls.items()}


def scalars(least):
    """Degree 0 alone, 100 rows."""
    generator = torch.Generator().manual_seed(0)
    only = irreps(CHANNELS, 0)
    layer = GauntTensorProduct(only, only, only, weights="path", normalization="component")
    product = TensorProduct(
        only, only, only, [(0, 0, 0, "uuu", True)], irrep_normalization="none",
        path_normalization="none",
    )  # fmt: skip
    torch.nn.init.ones_(product.weight)
    torch.nn.init.ones_(layer.weight)
    x, y, g = (torch.randn(100, CHANNELS, generator=generator) for _ in range(3))
    return timed({"e3nn": product, "product": layer}, (x, y), g, least)


def first_calls():
    """Seconds of first calls by kind of layer and state of the cache."""
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        for state in ("empty cache", "filled cache"):
            for kind in ("product", "convolution", "power"):
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.gaunt_limits", "--first", kind],
                    env={**os.environ, "NUMBA_CACHE_DIR": cache}, check=True,
                    capture_output=True, text=True,
                )  # fmt: skip
                found[f"{kind}, {state}"] = json.loads(done.stdout)
    return found


def first_call(kind):
    """Seconds of the first forward and of the first forward and backward; prints JSON."""
    torch.set_num_threads(1)
    everything = irreps(CHANNELS, 2)
    x = torch.randn(20, everything.dim, requires_grad=True)
    if kind == "product":
        layer, rest = GauntTensorProduct(everything, everything, everything), (x,)
    elif kind == "power":
        layer, rest = GauntPower(everything, everything, 3), ()
    else:
        layer, rest = GauntConvolution(everything, 2, everything), (torch.randn(20, 3),) * 2
    started = time.perf_counter()
    with torch.no_grad():
        layer(x, *rest)
    forward = time.perf_counter() - started
    started = time.perf_counter()
    layer(x, *rest).sum().backward()
    print(json.dumps({"forward": forward, "backward": time.perf_counter() - started}))


def table(found):
    """Ratios, as text."""
    lines = []
    for name in ("channel weights", "shared weights, compiled peer", "scalars"):
        for size, row in found[name].items():
            for passes in ("forward", "both"):
                peer_s, ours_s = row[passes].values()
                lines.append(f"{name:30} {size:15} {passes:8} {peer_s / ours_s:6.1f}x")
    for name, row in found["first call, s"].items():
        lines.append(f"{name:30} forward {row['forward']:5.1f} s, then {row['backward']:5.1f} s")
    return "\n".join(lines)


def main():
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--first", choices=("product", "convolution", "power"))
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    if options.first:
        first_call(options.first)
        return
    if not options.table:
        warnings.filterwarnings("ignore")
        torch.set_num_threads(1)
        keep_freed_memory()
        least = options.seconds
        found = {
            "environment": environment(),
            "channel weights": {f"L={n}": channel_weights(n, least) for n in (1, 2, 3, 4)},
            "shared weights, compiled peer": {
                f"L={n}, {edges} edges": shared_weights(n, edges, least)
                for edges in (100, 1000)
                for n in (1, 2, 3)
            },
            "scalars": {"L=0": scalars(least)},
            "first call, s": first_calls(),
        }
        write_json(RESULTS, found)
    print(table(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
