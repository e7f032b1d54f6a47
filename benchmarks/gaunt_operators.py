"""Operators on the sphere beside other ways to the same numbers: time, and memory of powers.

    python -m benchmarks.gaunt_operators             # all, a few minutes on one core
    python -m benchmarks.gaunt_operators --only power
    python -m benchmarks.gaunt_operators --table     # of the results on disk

One thread, float32. Ways take turns of several calls, so that a machine that slows
down slows all of them; time is that of the fastest call. What is freed stays with the
process, for all ways alike. Before, outputs of all ways are asserted
to be equal to five digits.

Convolution: 64 channels, one filter per edge, degrees 0 to L everywhere, no gathering of nodes.
All ways compute one bilinear map. Operands are features, harmonics and a weight per edge and
degree; "from vectors" starts with edge vectors in place of harmonics. Backward goes to all three.

    filter            GauntConvolution, layout ir_mul: the compiled kernel
    filter_mul_ir     the same in e3nn's layout
    matrices          the same as "filter" with method="dense": batches of matrix products
    matrices_mul_ir   the same in e3nn's layout
    grid              the same as "filter_mul_ir" with method="grid"
    e3nn              TensorProduct 'uvu' restricted to the same paths, equal coefficients, eager
    e3nn_script       the same in TorchScript

Power: correlation 3, 128 channels, degrees 0 to L in and out. Memory is the peak of the
resident set during forward and backward above what it was when inputs existed and the code had
run once on one row, in a process of its own.

    power           GauntPower: compiled kernels for squares and cubes
    power_mul_ir    the same in e3nn's layout
    grid            the same with method="grid"
    chained         f·f up to degree 2L, times f, by gaunt_product; the same weights
    mace            SymmetricContraction of mace-torch, up to degree 3, where installed: not the
                    same map but a larger one, with weights for every path and not only for every
                    degree of the result; measured for its cost alone
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import e3nn
import torch
from e3nn.o3 import Irreps, TensorProduct, spherical_harmonics

from benchmarks.turns import forget_peak, keep_freed_memory, peak_bytes, seconds
from equivariant.nn import GauntConvolution, GauntPower, gaunt_product
from equivariant.nn.gaunt import gaunt_constant
from equivariant.runs import environment, write_json

CHANNELS, EDGES = 64, (100, 1000)
POWER_CHANNELS, ROWS, MEMORY_ROWS = 128, 32, 512
CONVOLUTIONS = (
    "filter",
    "filter_mul_ir",
    "matrices",
    "matrices_mul_ir",
    "grid",
    "e3nn",
    "e3nn_script",
)
IR_MUL = ("filter", "matrices")
POWERS = ("power", "power_mul_ir", "grid", "chained")
MACE, MACE_DEGREES = find_spec("mace") is not None, (1, 2, 3)
RESULTS = Path(__file__).parent / "results" / "gaunt_operators.json"


def irreps(channels, degree):
    """True irreps of all degrees."""
    return Irreps([(channels, (n, (-1) ** n)) for n in range(degree + 1)])


def swapped(x, channels, degree):
    """From e3nn's layout to components first."""
    parts = x.split([channels * (2 * n + 1) for n in range(degree + 1)], 1)
    return torch.cat([part.view(len(x), channels, -1).mT.flatten(1) for part in parts], 1)


def peer(degree, mode):
    """e3nn's product over the paths with even l1+l2+l3."""
    everything = irreps(CHANNELS, degree)
    degrees = range(degree + 1)
    instructions = [
        (i, j, k, "uvu", False, 4 * math.pi * gaunt_constant(i, j, k) ** 2)
        for i in degrees for j in degrees for k in degrees if gaunt_constant(i, j, k)
    ]  # fmt: skip
    before = e3nn.get_optimization_defaults()["jit_mode"]
    e3nn.set_optimization_defaults(jit_mode=mode)
    product = TensorProduct(
        everything,
        irreps(1, degree),
        everything,
        instructions,
        irrep_normalization="none",
        path_normalization="none",
    )
    e3nn.set_optimization_defaults(jit_mode=before)
    return product


def convolution(name, degree):
    """A function of features, harmonics or vectors, weights, and whether they are vectors."""
    everything = irreps(CHANNELS, degree)
    repeats = torch.tensor([2 * n + 1 for n in range(degree + 1)])
    owner = torch.arange(degree + 1).repeat_interleave(repeats)
    if name.startswith("e3nn"):
        product = peer(degree, "script" if name == "e3nn_script" else "eager")

        def call(x, directions, radial, vectors):
            y = directions
            if vectors:
                y = spherical_harmonics(list(range(degree + 1)), directions, True, "component")
            return product(x, y * radial.index_select(1, owner))

        return call
    layer = GauntConvolution(
        everything,
        degree,
        everything,
        layout="ir_mul" if name in IR_MUL else "mul_ir",
        method={"filter": "auto", "matrices": "dense"}.get(kind := name.partition("_")[0], kind),
    )

    def ours(x, directions, radial, vectors):
        if vectors:
            return layer(x, directions, radial)
        return layer(x, None, radial, harmonics=directions)

    return ours


def power(name, degree):
    """A function of features; all ways share the weights at which layers start."""
    everything = irreps(POWER_CHANNELS, degree)
    if name == "mace":
        return contraction(everything)
    layout = "mul_ir" if name == "power_mul_ir" else "ir_mul"
    method = "grid" if name == "grid" else "auto"
    layer = GauntPower(everything, everything, 3, layout=layout, method=method)
    if name != "chained":
        return layer
    width = (degree + 1) ** 2
    options = {"normalization": "component"}
    owner = torch.cat([torch.full((2 * n + 1,), n) for n in range(degree + 1)])

    def chained(x):
        f = x.view(len(x), width, POWER_CHANNELS).mT
        square = gaunt_product(f, f, degree, degree, 2 * degree, **options)
        cube = gaunt_product(square, f, 2 * degree, degree, degree, **options)
        weight = layer.weight[:, 0].index_select(2, owner)
        total = weight[0] * f + weight[1] * square[..., :width] + weight[2] * cube
        return total.mT.flatten(1)

    chained.parameters = layer.parameters
    return chained


def contraction(everything):
    """The peer, of features by channel."""
    from mace.modules.symmetric_contraction import SymmetricContraction  # noqa: PLC0415

    layer = SymmetricContraction(everything, everything, 3, num_elements=1)

    def contracted(x):
        return layer(x.view(len(x), POWER_CHANNELS, -1), x.new_ones(len(x), 1))

    contracted.parameters = layer.parameters
    return contracted


def check(outputs):
    """All ways must agree."""
    first = next(iter(outputs.values()))
    for name, other in outputs.items():
        error = float((other - first).norm() / first.norm())
        if error > 1e-5:
            raise SystemExit(f"{name} differs by {error}")


def convolution_row(degree, edges, least):
    """Times of all ways at one size."""
    generator = torch.Generator().manual_seed(degree)
    everything = irreps(CHANNELS, degree)
    x = torch.randn(edges, everything.dim, generator=generator)
    vectors = torch.randn(edges, 3, generator=generator)
    y = spherical_harmonics(list(range(degree + 1)), vectors, True, "component")
    radial = torch.randn(edges, degree + 1, generator=generator)
    cotangent = torch.randn(edges, everything.dim, generator=generator)
    ways = {name: convolution(name, degree) for name in CONVOLUTIONS}
    row = {}
    for task, directions in (("product", y), ("from vectors", vectors)):
        features, ends, outputs = {}, {}, {}
        for name, way in ways.items():
            features[name], ends[name] = x, cotangent
            if name in IR_MUL:
                features[name], ends[name] = (swapped(t, CHANNELS, degree) for t in (x, cotangent))
            outputs[name] = way(features[name], directions, radial, task == "from vectors")
        check({name: z for name, z in outputs.items() if name not in IR_MUL})
        turned = {"e3nn": swapped(outputs["e3nn"], CHANNELS, degree)}
        check({**turned, **{name: outputs[name] for name in IR_MUL}})

        def forward(name, directions=directions, task=task, features=features):
            with torch.no_grad():
                ways[name](features[name], directions, radial, task == "from vectors")

        def both(name, directions=directions, task=task, features=features, ends=ends):
            leaves = [t.detach().requires_grad_() for t in (features[name], directions, radial)]
            torch.autograd.grad(ways[name](*leaves, task == "from vectors"), leaves, ends[name])

        for passes, f in (("forward", forward), ("both", both)):
            calls = {name: (lambda name=name, f=f: f(name)) for name in ways}
            row[f"{task}, {passes}"] = seconds(calls, least=least)
    return row


def power_row(degree, least):
    """Times and memory of all ways at one degree."""
    generator = torch.Generator().manual_seed(degree)
    dim = irreps(POWER_CHANNELS, degree).dim
    ends = [torch.randn(ROWS, dim, generator=generator) for _ in range(2)]
    turned = [swapped(t, POWER_CHANNELS, degree) for t in ends]
    names = (*POWERS, *(("mace",) if MACE and degree in MACE_DEGREES else ()))
    ways = {name: power(name, degree) for name in names}
    operands = dict.fromkeys(names, turned) | {"power_mul_ir": ends}
    outputs = {name: ways[name](operands[name][0]).detach() for name in POWERS}
    outputs["power_mul_ir"] = swapped(outputs["power_mul_ir"], POWER_CHANNELS, degree)
    check(outputs)

    def forward(name):
        with torch.no_grad():
            ways[name](operands[name][0])

    def both(name):
        x, cotangent = operands[name]
        leaves = [x.detach().requires_grad_(), *ways[name].parameters()]
        torch.autograd.grad(ways[name](leaves[0]), leaves, cotangent)

    row = {}
    for passes, f in (("forward", forward), ("both", both)):
        calls = {name: (lambda name=name, f=f: f(name)) for name in ways}
        row[passes] = seconds(calls, least=least)
    row["bytes"] = {name: memory(name, degree) for name in names}
    return row


def work(name, degree):
    """Memory of one power; prints JSON."""
    torch.set_num_threads(1)
    way = power(name, degree)
    dim = irreps(POWER_CHANNELS, degree).dim
    x = torch.randn(MEMORY_ROWS, dim, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    leaves = (x, *way.parameters())
    torch.autograd.grad(way(x[:1]).sum(), leaves)
    forget_peak()
    before = peak_bytes()
    torch.autograd.grad(way(x).sum(), leaves)
    print(json.dumps(peak_bytes() - before))


def memory(name, degree):
    """Peak bytes in a process of its own."""
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.gaunt_operators", "--work", name, str(degree)]
    done = subprocess.run(command, capture_output=True, text=True, env=settings, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def markdown(heads, rows):
    """A table."""
    lines = ["| " + " | ".join(heads) + " |", "|--:" * len(heads) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def table(record):
    """Times relative to the better mode of e3nn, and to chained products."""
    blocks = []
    for task in ("product", "from vectors"):
        rows = []
        for key, row in record["convolution"].items():
            degree, edges = key.split(",")
            cells = [degree, edges]
            for passes in ("forward", "both"):
                times = row[f"{task}, {passes}"]
                best = min(times["e3nn"], times["e3nn_script"])
                cells.append(f"{1e3 * best:.3g}")
                cells += [f"{best / times[name]:.1f}x" for name in CONVOLUTIONS[:5]]
            rows.append(cells)
        heads = ["L", "edges"]
        for passes in ("forward", "forward+backward"):
            heads += [
                f"e3nn {passes}, ms",
                *(name.replace("_", ", ", 1) for name in CONVOLUTIONS[:5]),
            ]
        blocks.append(f"Convolution, {task}\n\n" + markdown(heads, rows))
    blocks.append("Power 3\n\n" + power_table(record["power"]))
    return "\n\n".join(blocks)


def power_table(record):
    """Times relative to chained products, and memory."""
    rows = []
    for degree, row in record.items():
        cells = [degree]
        for passes in ("forward", "both"):
            times = row[passes]
            cells.append(f"{1e3 * times['chained']:.3g}")
            cells += [f"{times['chained'] / times[name]:.2f}x" for name in POWERS[:3]]
        sizes = row["bytes"]
        names = ("chained", *POWERS[:3])
        cells += [f"{sizes[name] / 1e6:,.0f}" for name in names]
        peer = [
            f"{1e3 * row[passes]['mace']:.3g}" for passes in ("forward", "both") if "mace" in sizes
        ]
        if peer:
            peer.append(f"{sizes['mace'] / 1e6:,.0f}")
        rows.append([*cells, *(peer or ["", "", ""])])
    heads = ["L"]
    for passes in ("forward", "forward+backward"):
        heads += [f"chained {passes}, ms", "power", "power, mul_ir", "grid"]
    heads += [f"{name}, MB" for name in ("chained", "power", "power, mul_ir", "grid")]
    heads += ["MACE's larger map, forward, ms", "forward+backward, ms", "MB"]
    return markdown(heads, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--degrees", type=int, nargs="+", default=(1, 2, 3, 4, 5, 6))
    parser.add_argument("--seconds", type=float, default=2.0, help="of turns per measurement")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--only", choices=("convolution", "power"), help="what to measure; the rest stays"
    )
    parser.add_argument("--table", action="store_true", help="print the table of --out")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(options.work[0], int(options.work[1]))
    if options.table:
        return print(table(json.loads(options.out.read_text())))
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    torch.set_num_threads(1)
    keep_freed_memory()
    record = {"convolution": {}, "power": {}, "channels": CHANNELS, "environment": environment()}
    if options.only:
        record = {**json.loads(options.out.read_text()), options.only: {}}
        record["environment"] = environment()
    if MACE and options.only != "convolution":
        record["mace-torch"] = version("mace-torch")
    for degree in options.degrees:
        if options.only != "convolution":
            record["power"][str(degree)] = power_row(degree, options.seconds)
            print("power", degree, record["power"][str(degree)], flush=True)
        for edges in EDGES if options.only != "power" else ():
            row = record["convolution"][f"{degree},{edges}"] = convolution_row(
                degree, edges, options.seconds
            )
            print(degree, edges, row, flush=True)
        write_json(options.out, record)
    return print(table(record))


if __name__ == "__main__":
    main()
