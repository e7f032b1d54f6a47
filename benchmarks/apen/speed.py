"""Networks on parts: time and memory beside DGCNN, and growth with the number of points.

    python -m benchmarks.apen.speed            # about ten minutes
    python -m benchmarks.apen.speed --table    # of the results on disk

Work: segmentation into six classes of 8 clouds of 2,048 points on boxes (of random sizes, two to
a cloud), float32, one thread; 128 first cells; both networks with about 185 thousand weights.
"DGCNN" is ``PointSegmenter`` on edge convolutions with 20 neighbours. "forward" is evaluation,
"training" forward, loss and backward, both with all frames of every cell; "one frame" is training
with one frame drawn per cell. Times are processor time of one thread, the shortest of three turns
after one to warm up, so that other work on the machine counts little; memory is the peak of the
resident set above what it was with the inputs, in a process of its own.
Growth: one cloud of 2,048 to 32,768 points, training and forward.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from benchmarks.turns import forget_peak, keep_freed_memory, peak_bytes
from equivariant.nn import (
    APENConfig,
    APENSegmenter,
    PointEncoderConfig,
    PointSegmenter,
    layer_loss,
)
from equivariant.runs import environment, write_json

RESULTS = Path(__file__).parents[1] / "results" / "apen" / "speed.json"
CLASSES, BATCH, POINTS, CELLS = 6, 8, 2048, 128
COUNTS = (2048, 4096, 8192, 16384, 32768)
NETWORKS = ("APEN", "DGCNN")
MODES = ("forward", "training", "one frame")


def clouds(batch=BATCH, points=POINTS, seed=0):
    """Points on the surfaces of two boxes each, side by side, in about one unit."""
    generator = torch.Generator().manual_seed(seed)
    size = 0.1 + 0.3 * torch.rand(batch, 2, 1, 3, generator=generator)
    at = torch.rand(batch, 2, points // 2, 3, generator=generator) * 2 - 1
    face = torch.randint(3, at.shape[:-1], generator=generator).unsqueeze(-1)
    at = at.scatter(-1, face, at.gather(-1, face).sign())
    middle = torch.tensor([[-0.25, 0, 0], [0.25, 0, 0]])[:, None]
    return (size * at + middle).flatten(1, 2)


def network(name):
    """One of the two, in training mode."""
    torch.manual_seed(0)
    if name == "APEN":
        return APENSegmenter(CLASSES, APENConfig(cells=CELLS))
    encoder = PointEncoderConfig("dgcnn", width=32, dim=192, neighbors=20).build()
    return PointSegmenter(encoder, CLASSES)


def work(name, mode, batch=BATCH, points=POINTS):
    """A function that runs a network once."""
    model, x = network(name), clouds(batch, points)
    labels = (torch.arange(points) >= points // 2).long().expand(batch, -1).contiguous()
    weights = list(model.parameters())
    if mode == "one frame":
        for layer in model.encoder.layers:
            layer.stochastic = True

    def forward():
        with torch.no_grad():
            model(x)

    def training():
        if name == "APEN":
            loss = layer_loss(model(x), labels, x)
        else:
            loss = cross_entropy(model(x).flatten(0, 1), labels.flatten())
        torch.autograd.grad(loss, weights, allow_unused=True)

    if mode == "forward":
        model.eval()
        return forward
    return training


def processor_seconds(calls, turns=3):
    """Least processor time of each call; in turns."""
    best = {}
    for turn in range(1 + turns):
        for name, call in calls.items():
            before = time.process_time()
            call()
            spent = time.process_time() - before
            if turn:
                best[name] = min(best.get(name, spent), spent)
    return best


def memory(name, mode, points):
    """Peak bytes of one way; prints JSON."""
    torch.set_num_threads(1)
    run = work(name, mode, BATCH if points == POINTS else 1, points)
    forget_peak()
    before = peak_bytes()
    run()
    print(json.dumps(peak_bytes() - before))


def measure():
    """All numbers, written at once."""
    torch.set_num_threads(1)
    keep_freed_memory()
    ways = {(n, m): work(n, m) for n in NETWORKS for m in MODES if n == "APEN" or m != MODES[2]}
    times = processor_seconds(ways)
    growth = {
        mode: processor_seconds({str(n): work("APEN", mode, 1, n) for n in COUNTS})
        for mode in MODES[:2]
    }
    found = {
        "environment": environment(),
        "seconds": {f"{n}, {m}": s for (n, m), s in times.items()},
        "bytes": {f"{n}, {m}": _in_process(n, m, POINTS) for n, m in ways},
        "weights": {n: sum(p.numel() for p in network(n).parameters()) for n in NETWORKS},
        "growth": growth,
        "growth bytes": {str(n): _in_process("APEN", "training", n) for n in COUNTS[1:]},
    }
    write_json(RESULTS, found)


def _in_process(name, mode, points):
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.apen.speed", "--memory", name, mode, str(points)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=settings)
    return json.loads(done.stdout.splitlines()[-1])


def print_table():
    """Markdown of the results on disk."""
    found = json.loads(RESULTS.read_text())
    print("| network | weights | work | ms | of DGCNN | peak MB |\n|---|---|---|---|---|---|")
    for way, took in found["seconds"].items():
        name, mode = way.split(", ")
        base = found["seconds"][f"DGCNN, {'forward' if mode == 'forward' else 'training'}"]
        print(
            f"| {name} | {found['weights'][name]:,} | {mode} | {1e3 * took:.0f} "
            f"| {took / base:.2f} | {found['bytes'][way] / 1e6:.0f} |"
        )
    print("\n| points | " + " | ".join(f"{n:,}" for n in COUNTS) + " | exponent |")
    print("|---" * (len(COUNTS) + 2) + "|")
    for mode, growth in found["growth"].items():
        times = [growth[str(n)] for n in COUNTS]
        whole = math.log(times[-1] / times[0], COUNTS[-1] / COUNTS[0])
        print(
            f"| {mode}, ms | " + " | ".join(f"{1e3 * s:.0f}" for s in times) + f" | {whole:.2f} |"
        )
        steps = [math.log(b / a, 2) for a, b in pairwise(times)]
        print("steps: " + ", ".join(f"{s:.2f}" for s in steps))
    sizes = [found["growth bytes"][str(n)] for n in COUNTS[1:]]
    print("| training, peak MB |  | " + " | ".join(f"{b / 1e6:.0f}" for b in sizes) + " |  |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="print the results on disk")
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        memory(options.memory[0], options.memory[1], int(options.memory[2]))
    elif options.table:
        print_table()
    else:
        measure()
        print_table()
