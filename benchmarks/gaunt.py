"""Products of functions on the sphere beside e3nn: the same bilinear map, time and memory.

    python -m benchmarks.gaunt                                # all, a quarter of an hour and more
    python -m benchmarks.gaunt --degrees 2 3 --channels 64    # some; the rest stays in the file
    python -m benchmarks.gaunt --table                        # of the results on disk

Features have degrees 0 to L, as has the result; every channel of one operand meets the same
channel of the other. e3nn's TensorProduct is restricted to the paths that the product has, with
coefficients that make it the same map; outputs and gradients of all ways are asserted to be equal
to five digits before anything is timed. One thread, float32. Ways take turns, so that a machine
that slows down slows all of them; time is that of the fastest call.
What is freed stays with the process, for all ways alike. Memory is the peak of the
resident set during forward and backward above what it was when inputs existed and the code had
run on one row, in a process of its own.

    native     GauntTensorProduct, layout ir_mul, method auto: compiled kernels
    e3nn_io    the same with e3nn's layout in and out, transposed inside
    pytorch    native without compiled kernels: the fastest of grid, half_grid and dense
    fft        gaunt_product, the published algorithm; fft_real its form in real numbers
    eager      e3nn's TensorProduct; script: in TorchScript; compile: by torch.compile

"forward" has no gradients; "both" has those of both operands; "double" is the gradient of a
squared gradient, as forces need it. Compiling is not timed, but stands in the file.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import e3nn
import torch
from e3nn.o3 import Irreps, TensorProduct

from benchmarks.turns import forget_peak, keep_freed_memory, peak_bytes, seconds
from equivariant.nn.gaunt import GauntTensorProduct, gaunt_constant, gaunt_product
from equivariant.runs import environment, write_json

DEGREES, CHANNELS, BATCHES = (1, 2, 3, 4, 5, 6, 7, 8), (1, 16, 64, 128), (100, 1000)
OURS = ("native", "e3nn_io", "pytorch")
PUBLISHED = ("fft", "fft_real")
PEERS = ("eager", "script", "compile")
PURE = ("dense", "grid", "half_grid")
PASSES = ("forward", "both", "double")
RESULTS = Path(__file__).parent / "results" / "gaunt.json"


def irreps(channels, degree):
    """Irreps of functions on the sphere, all degrees."""
    return Irreps([(channels, (n, (-1) ** n)) for n in range(degree + 1)])


def peer(degree, channels, mode):
    """e3nn's product over the paths with even l1+l2+l3, with the coefficients of Gaunt."""
    everything, degrees = irreps(channels, degree), range(degree + 1)
    instructions = [
        (i, j, k, "uuu", False, gaunt_constant(i, j, k) ** 2)
        for i in degrees for j in degrees for k in degrees if gaunt_constant(i, j, k)
    ]  # fmt: skip
    before = e3nn.get_optimization_defaults()["jit_mode"]
    e3nn.set_optimization_defaults(jit_mode="script" if mode == "script" else "eager")
    product = TensorProduct(
        everything, everything, everything, instructions,
        irrep_normalization="none", path_normalization="none",
    )  # fmt: skip
    e3nn.set_optimization_defaults(jit_mode=before)
    return torch.compile(product, fullgraph=True) if mode == "compile" else product


def way(name, degree, channels, pure="grid"):
    """A product of two operands in the way's own layout."""
    if name in PEERS:
        return peer(degree, channels, name)
    everything = irreps(channels, degree)
    if name in OURS:
        options = {"layout": "mul_ir" if name == "e3nn_io" else "ir_mul"}
        if name == "pytorch":
            options["method"] = pure
        return GauntTensorProduct(everything, everything, everything, **options)

    def product(x, y):
        return gaunt_product(x, y, degree, degree, degree, method=name)

    return product


def arranged(name, x, degree, channels):
    """A feature in e3nn's layout, as the way wants it."""
    if name in PEERS or name == "e3nn_io":
        return x.clone()
    parts = x.split([channels * (2 * n + 1) for n in range(degree + 1)], 1)
    if name in ("native", "pytorch"):
        return torch.cat([p.view(len(x), channels, -1).mT.flatten(1) for p in parts], 1)
    return torch.cat([p.view(len(x), channels, -1) for p in parts], 2)


class Calls:
    """What is timed of one way at one size."""

    def __init__(self, product, operands, cotangent):
        self.product, self.operands, self.cotangent = product, operands, cotangent

    def forward(self):
        with torch.no_grad():
            return self.product(*self.operands)

    def both(self):
        leaves = [x.detach().requires_grad_() for x in self.operands]
        return torch.autograd.grad(self.product(*leaves), leaves, self.cotangent)

    def double(self):
        leaves = [x.detach().requires_grad_() for x in self.operands]
        first = torch.autograd.grad(
            self.product(*leaves), leaves, self.cotangent, create_graph=True
        )
        return torch.autograd.grad(sum(g.square().sum() for g in first), leaves)


def prepare(names, degree, channels, batch):
    """Calls of each way, after all were seen to agree; and seconds spent on compiling."""
    generator = torch.Generator().manual_seed(degree)
    dim = irreps(channels, degree).dim
    x, y, g = (torch.randn(batch, dim, generator=generator) for _ in range(3))
    calls, compiling, wanted = {}, {}, {}
    for name in names:
        place = [arranged(name, t, degree, channels) for t in (x, y, g)]
        candidates = PURE if name == "pytorch" else (None,)
        found = {}
        for pure in candidates:
            if pure == "dense" and degree > 2:
                continue
            call = Calls(way(name, degree, channels, pure), place[:2], place[2])
            started = time.perf_counter()
            outputs = (call.forward(), *call.both())
            compiling[name] = time.perf_counter() - started
            reference = wanted.setdefault("outputs", call_outputs(degree, channels, x, y, g))
            for output, other in zip(outputs, reference, strict=True):
                check(name, output, arranged(name, other, degree, channels))
            found[pure] = call
        calls[name] = found
    return {name: fastest(found) for name, found in calls.items()}, compiling


def call_outputs(degree, channels, x, y, g):
    """Result and gradients by e3nn in float64, rounded."""
    call = Calls(peer(degree, channels, "eager").double(), (x.double(), y.double()), g.double())
    return [t.float() for t in (call.forward(), *call.both())]


def check(name, output, wanted):
    """A way must compute what the others do."""
    error = float((output - wanted).norm() / wanted.norm())
    if not error < 1e-5:
        raise SystemExit(f"{name} differs by {error}")


def fastest(found):
    """Of several methods the one with the least time, forward and backward."""
    if len(found) == 1:
        return next(iter(found.values()))
    times = {pure: seconds({pure: call.both}, least=0.1)[pure] for pure, call in found.items()}
    return found[min(times, key=times.get)]


def cell(degree, channels, batch, options):
    """Times of all ways at one size; memory of some."""
    names = [*OURS, "eager", "script"]
    if channels == 64 and batch == 100:
        names += PUBLISHED if degree <= 6 else ()
        names += ["compile"] if degree <= options.compile_to else ()
    calls, compiling = prepare(names, degree, channels, batch)
    row = {}
    for passes in PASSES:
        if passes == "double" and degree > options.double_to:
            continue
        timed = {n: getattr(c, passes) for n, c in calls.items()}
        if passes == "double":
            timed.pop("compile", None)  # torch.compile has no double backward
        row[passes] = seconds(timed, least=options.seconds)
    if channels == 64 and batch == 1000:
        measured = [*OURS, "eager"]
        row["bytes"] = {name: memory(name, degree, channels, batch) for name in measured}
    return {**row, "compiling": {k: v for k, v in compiling.items() if k == "compile"}}


def work(name, degree, channels, batch):
    """Memory of one way, forward and backward; prints JSON."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    dim = irreps(channels, degree).dim
    drawn = [torch.randn(batch, dim, generator=generator) for _ in range(3)]
    x, y, g = (arranged(name, t, degree, channels) for t in drawn)
    product = way(name, degree, channels)
    Calls(product, (x[:1], y[:1]), g[:1]).both()
    forget_peak()
    before = peak_bytes()
    Calls(product, (x, y), g).both()
    print(json.dumps(peak_bytes() - before))


def memory(name, *size):
    """Peak bytes in a process of its own."""
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.gaunt", "--work", name, *map(str, size)]
    done = subprocess.run(command, capture_output=True, text=True, env=settings, check=True)
    return json.loads(done.stdout)


def peer_time(times):
    """The better of e3nn's modes that do not compile for half a minute and more."""
    return min(times["eager"], times["script"])


def geometric(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def table(rows):
    """Markdown: milliseconds of e3nn's better mode, and how many times faster each way is."""
    heads = ["L", "channels", "batch"]
    for passes in PASSES:
        heads += [f"e3nn {passes}, ms", *OURS]
    lines = ["| " + " | ".join(heads) + " |", "|--:" * len(heads) + "|"]
    keys = sorted(rows, key=lambda key: [int(n) for n in key.split(",")])
    for key in keys:
        cells = key.split(",")
        for passes in PASSES:
            times = rows[key].get(passes)
            if times is None:
                cells += ["-"] * (len(OURS) + 1)
                continue
            best = peer_time(times)
            cells += [f"{1e3 * best:.3g}", *(f"{best / times[n]:.1f}x" for n in OURS)]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for channels, batch in sorted({tuple(map(int, k.split(",")[1:])) for k in keys}):
        some = [rows[k] for k in keys if k.endswith(f",{channels},{batch}") and "2" <= k[0] <= "6"]
        for passes in PASSES:
            found = [r[passes] for r in some if passes in r]
            means = {n: geometric([peer_time(t) / t[n] for t in found]) for n in OURS}
            text = ", ".join(f"{n} {mean:.1f}x" for n, mean in means.items())
            lines.append(f"- {channels} channels, batch {batch}, {passes}, L 2 to 6: {text}")
    for key in keys:
        for passes in ("forward", "both"):
            times = rows[key].get(passes, {})
            if "compile" in times:
                text = ", ".join(f"{n} {times['compile'] / times[n]:.1f}x" for n in OURS)
                lines.append(f"- Against e3nn under torch.compile, {passes}, {key}: {text}")
    published = [(k, rows[k]) for k in keys if "fft" in rows[k]["forward"]]
    for key, row in published:
        ratios = [f"{n} {peer_time(row['forward']) / row['forward'][n]:.2f}x" for n in PUBLISHED]
        lines.append(f"- Published algorithm forward, {key}: {', '.join(ratios)}")
    for key in keys:
        if "bytes" in rows[key]:
            sizes = [f"{n} {b / 1e6:,.0f}" for n, b in rows[key]["bytes"].items()]
            lines.append(f"- Memory forward and backward, {key}, MB: {', '.join(sizes)}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--degrees", type=int, nargs="+", default=DEGREES)
    parser.add_argument("--channels", type=int, nargs="+", default=CHANNELS)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--seconds", type=float, default=1.0, help="of turns per measurement")
    parser.add_argument("--largest", type=int, default=3_000_000, help="numbers in a feature")
    parser.add_argument("--double-to", type=int, default=6, help="degree of the double backward")
    parser.add_argument("--compile-to", type=int, default=4, help="degree of e3nn's torch.compile")
    parser.add_argument("--again", action="store_true", help="also what the file has")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the table of --out")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(options.work[0], *map(int, options.work[1:]))
    record = json.loads(options.out.read_text()) if options.out.exists() else {"rows": {}}
    if options.table:
        return print(table(record["rows"]))
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    torch.set_num_threads(1)
    keep_freed_memory()
    sizes = [(n, c, b) for c in options.channels for b in options.batches for n in options.degrees]
    for degree, channels, batch in sizes:
        key = f"{degree},{channels},{batch}"
        too_large = batch * channels * (degree + 1) ** 2 > options.largest
        if too_large or (key in record["rows"] and not options.again):
            continue
        started = time.perf_counter()
        record["rows"][key] = cell(degree, channels, batch, options)
        write_json(options.out, {**record, "environment": environment()})
        shown = {
            p: peer_time(t) / t["native"] for p, t in record["rows"][key].items() if p in PASSES
        }
        print(
            key,
            {p: round(v, 1) for p, v in shown.items()},
            f"{time.perf_counter() - started:.0f} s",
            flush=True,
        )
    return print(table(record["rows"]))


if __name__ == "__main__":
    main()
