"""One group convolution: kernels that factor beside one kernel for all of space and group.

    python -m benchmarks.lie.speed            # about three minutes
    python -m benchmarks.lie.speed --table    # of the results on disk

Work: forward and backward of one group convolution on GL(2), C = 40 channels, N = 10 samples, 20 x
20 places, 16 pictures, 5 x 5 taps, float32, one thread; the same
field and samples for both. "dense" is the published formulation, a network on space and group that
writes N² C² kernels (``DenseGroupConv``, SIREN of width 60); "separable" is ``GroupConv`` with rank
1, and with rank 4. Times are the shortest of turns in one process; memory is the peak of the
resident set above what it was with the inputs, in a process of its own.

Error: the relative equivariance error of lift, gelu, convolution and pooled energies with fresh
weights, on smooth pictures under the law that a network declares (mean over three seeds of the
weights): the layers are fast at the same error, not at the cost of it. Growth: time of the
separable layer for N from 4 to 128.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import torch
from torch.nn.functional import gelu

from benchmarks.turns import forget_peak, keep_freed_memory, peak_bytes, seconds
from equivariant.actions import ImageWarp, Trivial
from equivariant.groups import GL, Semidirect, SemidirectSampler, TruncatedHaarSampler
from equivariant.measure import equivariance_error
from equivariant.nn.lie import (
    DenseGroupConv,
    GroupConv,
    GroupPool,
    LieField,
    LieSamples,
    LiftConv,
    PlaneGrid,
)
from equivariant.runs import environment, write_json

RESULTS = Path(__file__).parents[1] / "results" / "lie_speed.json"
GROUP, RADIUS, CHANNELS, SAMPLES, SIDE, PICTURES = GL(2), 0.3, 40, 10, 20, 16
COUNTS = (4, 8, 16, 32, 64, 128)
WAYS = ("dense", "separable", "separable, rank 4")


def layer(way, channels=CHANNELS):
    """A group convolution of one way."""
    # As large as five taps hold when the samples have moved it: 2.5 places of 0.1.
    radius = 0.25 / TruncatedHaarSampler(GROUP, RADIUS).bound
    common = {"radius": radius, "group_radius": 4 * RADIUS}
    if way == "dense":
        return DenseGroupConv(GROUP, channels, channels, **common)
    rank = 4 if way.endswith("4") else 1
    return GroupConv(GROUP, channels, channels, rank=rank, **common)


def samples(count, seed=0):
    """Elements by the stratified law."""
    law = TruncatedHaarSampler(GROUP, RADIUS, method="stratified")
    return LieSamples.draw(law, count, generator=torch.Generator().manual_seed(seed))


def work(way, count=SAMPLES):
    """A function that runs forward and backward of one way."""
    torch.manual_seed(0)
    made = layer(way)
    values = torch.randn(PICTURES, CHANNELS, count, SIDE, SIDE, requires_grad=True)
    field = LieField(values, samples(count), PlaneGrid((SIDE, SIDE), 0.1))
    weights = [values, *made.parameters()]
    cotangent = torch.randn(PICTURES, CHANNELS, count, SIDE, SIDE)

    def run():
        torch.autograd.grad(made(field).values, weights, cotangent)

    return run


def memory(way):
    """Peak bytes of one way; prints JSON."""
    torch.set_num_threads(1)
    run = work(way)
    forget_peak()
    before = peak_bytes()
    run()
    print(json.dumps(peak_bytes() - before))


def error(way, seed):
    """Relative equivariance error of lift, gelu, convolution and pool."""
    torch.manual_seed(seed)
    lift, made, pool = (
        LiftConv(GROUP, 1, 8, radius=0.2, stride=2),
        layer(way, 8),
        GroupPool("energy"),
    )

    def f(images):
        lifted = lift(images, samples(SAMPLES))
        return pool(made(lifted.with_values(gelu(4 * lifted.values))))

    law = SemidirectSampler(TruncatedHaarSampler(GROUP, RADIUS / 2), shift=0.1)
    motions = Semidirect(GROUP)
    with torch.no_grad():
        report = equivariance_error(
            f, smooth_pictures(), act_in=ImageWarp(motions, 40), act_out=Trivial(8, motions),
            law=law, samples=16,
        )  # fmt: skip
    return report.value("relative")


def smooth_pictures(count=4, side=40):
    """Sums of Gaussian blobs well inside the frame, shape (count, 1, side, side)."""
    at = (torch.arange(side) + 0.5) * 2 / side - 1
    x, y = torch.meshgrid(at, -at, indexing="xy")
    generator = torch.Generator().manual_seed(0)
    found = torch.zeros(count, 1, side, side)
    for picture in found[:, 0]:
        for a, b, w, size in torch.rand(5, 4, generator=generator).tolist():
            width, height = 0.08 + 0.08 * w, 2 * size - 0.7
            square = (x - 0.6 * (a - 0.5)) ** 2 + (y - 0.6 * (b - 0.5)) ** 2
            picture += height * torch.exp(-square / (2 * width**2))
    return found


def measure():
    """All numbers, written at once."""
    torch.set_num_threads(1)
    keep_freed_memory()
    times = seconds({way: work(way) for way in WAYS}, least=30.0)
    growth = {str(n): seconds({"it": work("separable", n)}, least=3.0)["it"] for n in COUNTS}
    found = {
        "environment": environment(),
        "seconds": times,
        "bytes": {way: _in_process(way) for way in WAYS},
        "error": {way: [error(way, seed) for seed in range(3)] for way in WAYS},
        "parameters": {way: sum(p.numel() for p in layer(way).parameters()) for way in WAYS},
        "growth": growth,
    }
    write_json(RESULTS, found)


def _in_process(way):
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.lie.speed", "--memory", way]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=settings)
    return json.loads(done.stdout.splitlines()[-1])


def print_table():
    """Markdown of the results on disk."""
    found = json.loads(RESULTS.read_text())
    print("| way | ms | times as fast | peak MB | of dense | weights | equivariance error |")
    print("|---|---|---|---|---|---|---|")
    dense, most = found["seconds"]["dense"], found["bytes"]["dense"]
    for way in WAYS:
        took, size = found["seconds"][way], found["bytes"][way]
        errors = torch.tensor(found["error"][way])
        print(
            f"| {way} | {1e3 * took:.0f} | {dense / took:.1f} | {size / 1e6:.0f} "
            f"| {size / most:.2f} | {found['parameters'][way]:,} "
            f"| {errors.mean():.3f} ± {errors.std():.3f} |"
        )
    growth = {n: found["growth"][str(n)] for n in COUNTS}
    steps = [math.log(growth[b] / growth[a], b / a) for a, b in pairwise(COUNTS)]
    print("\n| N | " + " | ".join(map(str, growth)) + " |")
    print("|---" * (len(growth) + 1) + "|")
    print("| ms | " + " | ".join(f"{1e3 * s:.0f}" for s in growth.values()) + " |")
    print("\nexponents: " + ", ".join(f"{s:.2f}" for s in steps))
    whole = math.log(growth[COUNTS[-1]] / growth[COUNTS[0]], COUNTS[-1] / COUNTS[0])
    print(f"from {COUNTS[0]} to {COUNTS[-1]}: {whole:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="print the results on disk")
    parser.add_argument("--memory", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        memory(options.memory)
    elif options.table:
        print_table()
    else:
        measure()
        print_table()
