"""Products of functions on the sphere at high degree, and beside a larger map.

    python -m benchmarks.gaunt_scaling            # about five minutes
    python -m benchmarks.gaunt_scaling --table    # of the results on disk

Degrees: operands and result of degrees 0 to L, 1,000 products at once, one thread. Time and
memory are those of forward and backward in float32; memory is the peak of the resident set above
what it was with the inputs, in a process of its own, tables of the method included. Error is the
relative difference of the float32 result from the same product in float64, |difference| / |result|.

Larger map: e3nn's FullTensorProduct keeps every path of Clebsch and Gordan apart; a product of
functions on the sphere sums them into one block per irrep. Both operands have degrees 0 to L once,
1,000 rows, forward; the product has brackets too (parity "full"), and all its irreps up to 2L. Time
per path is that of one coupling l1 x l2 -> l3. The two are different maps: a network gets less from
the sum.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import torch
from e3nn.o3 import FullTensorProduct, Irreps

from benchmarks.gaunt import irreps
from benchmarks.turns import forget_peak, peak_bytes, seconds
from equivariant.nn.gaunt import GauntTensorProduct, gaunt_product
from equivariant.runs import environment, write_json

METHODS = ("sparse", "grid", "half_grid", "separable", "fft_real")
DEGREES = (2, 4, 6, 8, 10, 12, 14, 16, 20)
LARGEST = {"sparse": 12, "fft_real": 14}
VECTORS = 1000
RESULTS = Path(__file__).parent / "results" / "gaunt_scaling.json"


def operands(degree, dtype=torch.float32):
    """Two operands and a cotangent."""
    generator = torch.Generator().manual_seed(degree)
    size = (VECTORS, (degree + 1) ** 2)
    return [torch.randn(size, generator=generator, dtype=torch.float64).to(dtype) for _ in range(3)]


def gradients(degree, method, x, y, g):
    """Gradients of both operands."""
    leaves = [x.detach().requires_grad_(), y.detach().requires_grad_()]
    return torch.autograd.grad(
        gaunt_product(*leaves, degree, degree, degree, method=method), leaves, g
    )


def work(method, degree):
    """Time, memory and error of one method; prints JSON."""
    torch.set_num_threads(1)
    x, y, g = operands(degree)
    if method == "sparse":  # what is compiled once for all degrees is not this degree's memory
        gradients(1, method, *(t[:, :4] for t in (x, y, g)))
    forget_peak()
    before = peak_bytes()
    started = time.perf_counter()
    gradients(degree, method, x, y, g)
    first = time.perf_counter() - started
    memory = peak_bytes() - before
    took = seconds({"it": lambda: gradients(degree, method, x, y, g)}, least=1.0)["it"]
    exact = gaunt_product(*operands(degree, torch.float64)[:2], *[degree] * 3, method="separable")
    found = gaunt_product(x, y, degree, degree, degree, method=method).double()
    error = float((found - exact).norm() / exact.norm())
    print(json.dumps({"seconds": took, "first": first, "bytes": memory, "error": error}))


def measure(method, degree):
    """One method in a process of its own."""
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.gaunt_scaling", "--work", method, str(degree)]
    done = subprocess.run(command, capture_output=True, text=True, env=settings, check=True)
    return json.loads(done.stdout)


def larger_map(degree):
    """Forward times of the product and of all paths apart, and their numbers of paths."""
    single = irreps(1, degree)
    apart = FullTensorProduct(single, single)
    layers = {p: GauntTensorProduct(single, single, parity=p) for p in ("even", "full")}
    x, y = torch.randn(VECTORS, single.dim), torch.randn(VECTORS, single.dim)
    calls = {"e3nn": apart, **layers}
    with torch.no_grad():
        timed = {name: (lambda call=call: call(x, y)) for name, call in calls.items()}
        times = seconds(timed, least=1.0)
    paths = {"e3nn": sum(count for count, _ in Irreps(apart.irreps_out))}
    degrees = range(degree + 1)
    every = [
        (i + j + k) % 2 for i in degrees for j in degrees for k in range(abs(i - j), i + j + 1)
    ]
    return {"seconds": times, "paths": {**paths, "even": every.count(0), "full": len(every)}}


def table(record):
    """Markdown of both parts."""
    heads = ["L", *(f"{m}: ms" for m in METHODS), *(f"{m}: MB" for m in METHODS)]
    heads += [f"{m}: error" for m in METHODS]
    lines = ["| " + " | ".join(heads) + " |", "|--:" * len(heads) + "|"]
    for degree, row in sorted(record["degrees"].items(), key=lambda item: int(item[0])):
        cells = [degree]
        for key, form in (("seconds", 1e3), ("bytes", 1e-6)):
            cells += [f"{form * row[m][key]:.3g}" if m in row else "-" for m in METHODS]
        cells += [f"{row[m]['error']:.1e}" if m in row else "-" for m in METHODS]
        lines.append("| " + " | ".join(cells) + " |")
    names = ("e3nn", "even", "full")
    heads = ["L", *(f"{n}: ms" for n in names), *(f"{n}: paths" for n in names)]
    heads += [f"{n}: µs per path" for n in names]
    lines += ["", "| " + " | ".join(heads) + " |", "|--:" * len(heads) + "|"]
    for degree, row in sorted(record["larger_map"].items(), key=lambda item: int(item[0])):
        took, paths = row["seconds"], row["paths"]
        cells = [degree, *(f"{1e3 * took[n]:.3g}" for n in names), *(str(paths[n]) for n in names)]
        cells += [f"{1e6 * took[n] / paths[n]:.2f}" for n in names]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--degrees", type=int, nargs="+", default=DEGREES)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the table of --out")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(options.work[0], int(options.work[1]))
    if options.table:
        return print(table(json.loads(options.out.read_text())))
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    torch.set_num_threads(1)
    record = {"degrees": {}, "larger_map": {}, "environment": environment()}
    for degree in options.degrees:
        able = [m for m in METHODS if degree <= LARGEST.get(m, max(DEGREES))]
        record["degrees"][str(degree)] = {method: measure(method, degree) for method in able}
        if degree <= 8:
            record["larger_map"][str(degree)] = larger_map(degree)
        print(degree, record["degrees"][str(degree)], flush=True)
        write_json(options.out, record)
    return print(table(record))


if __name__ == "__main__":
    main()
