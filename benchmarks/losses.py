"""Time and memory of contrastive losses, forward and backward, beside other ways to compute them.

    python -m benchmarks.losses                        # all, about half an hour on one core
    python -m benchmarks.losses --sizes 1024 4096 --ways ours dense
    python -m benchmarks.losses --table                # of the results on disk

Every measurement is a process of its own with one thread: two sets of N unit-free vectors of
width 128, one positive each, τ 0.1, float32. Ways take turns, several rounds, so that a machine
that slows down slows all of them. Time is the processor's, the least of all repetitions; memory is
the peak of the resident set during them above what it was when the inputs existed and the code had
been imported and run once on 64 rows.

    ours         equivariant.losses, method chosen by itself
    dense        normalize, one matrix product, torch cross_entropy
    checkpoint   the same for blocks of 1,024 anchors under torch.utils.checkpoint
    loop         the same in a plain loop over blocks (autograd keeps every block)
    metric       pytorch-metric-learning's NTXentLoss with reference embeddings
    clip         both directions, ours; clip_dense: one matrix product, two cross_entropies
    nt_xent      NT-Xent of 2N rows, ours; nt_xent_dense: masked product, cross_entropy
    siglip       every pair judged alone, ours; siglip_dense: logsigmoid of all pairs, as open_clip,
                 scale and bias trained in both
    supcon       ten classes of 2N rows, ours; supcon_dense: masked sums, as SupContrast

Values of all ways of one objective are compared; they must agree to five digits.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy, logsigmoid, normalize
from torch.utils.checkpoint import checkpoint

from benchmarks.turns import forget_peak, peak_bytes
from equivariant.losses import Pairs, Side, contrast, preset
from equivariant.runs import environment, write_json

try:
    from pytorch_metric_learning.losses import NTXentLoss
except ImportError:
    NTXentLoss = None

WAYS = ("ours", "dense", "checkpoint", "loop", "metric")
OTHERS = (
    "clip", "clip_dense", "nt_xent", "nt_xent_dense", "siglip", "siglip_dense", "supcon",
    "supcon_dense",
)  # fmt: skip
SIZES = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
LARGEST = {
    "ours": 65536, "dense": 16384, "checkpoint": 65536, "loop": 16384, "metric": 1024,
    "clip": 16384, "clip_dense": 16384, "nt_xent": 8192, "nt_xent_dense": 8192,
    "siglip": 16384, "siglip_dense": 8192, "supcon": 16384, "supcon_dense": 4096,
}  # fmt: skip
WIDTH, TAU, BLOCK = 128, 0.1, 1024
RESULTS = Path(__file__).parent / "results" / "losses.json"


def inputs(n):
    """Anchors and candidates whose row i shows object i."""
    generator = torch.Generator().manual_seed(n)
    k = torch.randn(n, WIDTH, generator=generator)
    q = k + torch.randn(n, WIDTH, generator=generator)
    return q.requires_grad_(), k.requires_grad_()


@functools.cache
def built(name, **settings):
    """A loss, made once as in a training loop."""
    return preset(name, **settings).build()


@functools.cache
def trained():
    """Logarithm of the scale, and bias, of SigLIP: parameters there and here."""
    return torch.nn.Parameter(torch.tensor(10.0).log()), torch.nn.Parameter(torch.tensor(-10.0))


def way(name):
    """The loss, a function of q and k."""

    def ours(q, k):
        rows = torch.arange(len(q))
        return contrast(Side.of(q, id=rows), Side.of(k, id=rows), Pairs.same("id"), tau=TAU).mean()

    def dense(q, k):
        logits = normalize(q, dim=1) @ normalize(k, dim=1).T / TAU
        return cross_entropy(logits, torch.arange(len(q)))

    def block(q, k, start):
        return cross_entropy(q @ k.T / TAU, torch.arange(start, start + len(q)), reduction="sum")

    def blocks(q, k, call):
        q, k = normalize(q, dim=1), normalize(k, dim=1)
        parts = [call(q[i : i + BLOCK], k, i) for i in range(0, len(q), BLOCK)]
        return torch.stack(parts).sum() / len(q)

    def metric(q, k):
        rows = torch.arange(len(q))
        return NTXentLoss(temperature=TAU)(q, rows, ref_emb=k, ref_labels=rows.clone())

    def clip(q, k):
        return built("convirt", tau=TAU, forward=0.5)(a=q, b=k).total

    def clip_dense(q, k):
        logits, rows = normalize(q, dim=1) @ normalize(k, dim=1).T / TAU, torch.arange(len(q))
        return 0.5 * (cross_entropy(logits, rows) + cross_entropy(logits.T, rows))

    def nt_xent(q, k):
        return built("nt_xent", tau=TAU)(a=q, b=k).total

    def nt_xent_dense(q, k):
        z, rows = normalize(torch.cat([q, k]), dim=1), torch.arange(len(q))
        itself = torch.eye(len(z), dtype=torch.bool)
        logits = (z @ z.T / TAU).masked_fill(itself, -torch.inf)
        return cross_entropy(logits, torch.cat([rows + len(q), rows]))

    def siglip(q, k):
        return built("siglip")(q, k).total

    def siglip_dense(q, k):
        scale, bias = trained()
        logits = scale.exp() * normalize(q, dim=1) @ normalize(k, dim=1).T + bias
        return -logsigmoid((2 * torch.eye(len(q)) - 1) * logits).sum() / len(q)

    def supcon(q, k):
        return built("supcon_out", tau=TAU)(q, k, torch.arange(len(q)) % 10).total

    def supcon_dense(q, k):
        z, label = normalize(torch.cat([q, k]), dim=1), (torch.arange(len(q)) % 10).repeat(2)
        logits = z @ z.T / TAU
        logits = logits - logits.max(1, keepdim=True).values.detach()
        others = 1.0 - torch.eye(len(z))
        same = (label[:, None] == label).float() * others
        logs = logits - (logits.exp() * others).sum(1, keepdim=True).log()
        return -((same * logs).sum(1) / same.sum(1)).mean()

    return {
        "siglip": siglip,
        "siglip_dense": siglip_dense,
        "supcon": supcon,
        "supcon_dense": supcon_dense,
        "clip": clip,
        "clip_dense": clip_dense,
        "nt_xent": nt_xent,
        "nt_xent_dense": nt_xent_dense,
        "ours": ours,
        "dense": dense,
        "checkpoint": lambda q, k: blocks(
            q, k, lambda *x: checkpoint(block, *x, use_reentrant=False)
        ),
        "loop": lambda q, k: blocks(q, k, block),
        "metric": metric,
    }[name]


def work(name, n, repeats):
    """Measure one way at one size; prints JSON."""
    torch.set_num_threads(1)
    loss = way(name)
    loss(*inputs(64)).backward()
    q, k = inputs(n)
    forget_peak()
    before = peak_bytes()
    seconds = []
    for _ in range(repeats):
        q.grad = k.grad = None
        started = time.thread_time()  # of this process: others may share the machine
        value = loss(q, k)
        value.backward()
        seconds.append(time.thread_time() - started)
    print(json.dumps({
        "seconds": min(seconds), "bytes": peak_bytes() - before, "value": value.item(),
        "gradient": [q.grad.norm().item(), None if k.grad is None else k.grad.norm().item()],
    }))  # fmt: skip


def measure(name, n, repeats):
    """One measurement in a process of its own; None and the reason where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.losses", "--work", name, str(n), str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [str(done.returncode)])[-1]}
    return json.loads(done.stdout)


def best(old, new):
    """The faster of two measurements, with the greater memory."""
    if old is None or "failed" in new or "failed" in old:
        return new if old is None or "failed" in new else old
    return {
        **new,
        "seconds": min(old["seconds"], new["seconds"]),
        "bytes": max(old["bytes"], new["bytes"]),
    }


def cell(row, name):
    """Seconds and MB of one way."""
    m = row.get(name)
    ok = m is not None and "failed" not in m
    return f"{m['seconds']:.3g} s, {m['bytes'] / 1e6:,.0f} MB" if ok else "-"


def ratio(row, name, other):
    """Time of one way over that of another."""
    both = name in row and other in row
    return f"{row[name]['seconds'] / row[other]['seconds']:.2f}" if both else "-"


def table(rows):
    """Markdown: seconds and MB of InfoNCE, and the ratios of all objectives to the dense form."""
    heads = ["N", *WAYS, "ours / dense", "CLIP / dense", "NT-Xent / dense"]
    heads += ["SigLIP / dense", "ten classes / dense"]
    lines = ["| " + " | ".join(heads) + " |", "|--:" * len(heads) + "|"]
    for n, row in sorted(rows.items(), key=lambda item: int(item[0])):
        cells = [f"{int(n):,}", *(cell(row, name) for name in WAYS)]
        cells += [ratio(row, "ours", "dense"), ratio(row, "clip", "clip_dense")]
        cells += [ratio(row, "nt_xent", "nt_xent_dense"), ratio(row, "siglip", "siglip_dense")]
        cells += [ratio(row, "supcon", "supcon_dense")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def check(row):
    """The ways of one objective must agree."""
    groups = (WAYS, *(OTHERS[i : i + 2] for i in range(0, len(OTHERS), 2)))
    for group in groups:
        values = [row[name]["value"] for name in group if "value" in row.get(name, {})]
        if values and max(values) - min(values) > 1e-5 * abs(values[0]):
            raise SystemExit(f"values differ: {dict(zip(group, values, strict=False))}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--ways", nargs="+", choices=WAYS + OTHERS, default=WAYS + OTHERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the table of --out")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        name, n, repeats = options.work
        return work(name, int(n), int(repeats))
    if options.table:
        return print(table(json.loads(options.out.read_text())["rows"]))
    rows = {}
    for n in options.sizes:
        row = rows.setdefault(n, {})
        rounds = options.rounds if n <= 16384 else 1
        for turn in range(rounds):
            for name in options.ways:
                slow = name == "metric"
                if n <= LARGEST[name] and not (slow and turn):
                    repeats = 1 if slow else max(1, min(20, 8192 // n))
                    row[name] = best(row.get(name), measure(name, n, repeats))
                    print(n, name, row[name], flush=True)
        check(row)
        record = {"width": WIDTH, "tau": TAU, "rows": rows, "environment": environment()}
        write_json(options.out, record)
    print(table(rows))
    return None


if __name__ == "__main__":
    main()
