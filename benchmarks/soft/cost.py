"""What the term costs beside a training step of the inertia network, and what bases cost.

    python -m benchmarks.soft.cost

One thread; seconds are of the processor, the median of repeats. The network is the paper's: four
linear layers of width 128, three candidates, batches of 500. Writes
benchmarks/results/soft/cost.json.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from datasets3d.synthetic import inertia_task  # noqa: E402
from equivariant.actions import EquivariantMaps, Tensors  # noqa: E402
from equivariant.groups import SO3  # noqa: E402
from equivariant.nn.emlp import TensorNetwork  # noqa: E402
from equivariant.regularizers import Penalty, SoftEquivariance  # noqa: E402
from equivariant.runs import environment, write_json  # noqa: E402

RESULTS = Path(__file__).parents[1] / "results" / "soft"
DENSE_WIDTH = 24


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median of processor seconds, after one call that is not counted."""
    work()
    found = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return median(found)


def terms(repeats: int, width: int) -> dict[str, float]:
    """Seconds of a training step without a term, and of every term with its gradient."""
    task = inertia_task(500, seed=0, breaking=0.3)
    model = TensorNetwork(task.act_in, task.act_out, width=width, layers=4, weights="free")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        (model(task.x) - task.y).square().mean().backward()
        optimizer.step()

    found = {"training step": seconds(step, repeats)}
    for name, penalty in {
        "projection": Penalty("projection"), "scale_free": Penalty("scale_free"),
        "frobenius": Penalty("frobenius"), "spectral": Penalty("spectral"),
        "sampled, 1 element": Penalty("sampled", samples=1),
        "sampled, 8 elements": Penalty("sampled", samples=8),
    }.items():  # fmt: skip
        term = SoftEquivariance(model, task.candidates, penalty=penalty)
        found[name] = seconds(lambda term=term: term().backward(), repeats)
    return found


def dense(repeats: int) -> dict[str, float]:
    """One layer of width 24: the term, and the same by dense projectors of all its weights."""
    task = inertia_task(10, seed=0)
    model = TensorNetwork(task.act_in, task.act_out, width=DENSE_WIDTH, layers=3, weights="free")
    layer = model.blocks[1].linear
    acts = {"": (layer.act_in, layer.act_out)}
    term = SoftEquivariance(layer, task.candidates, representations=acts)
    projectors: list[Tensor] = []
    for group in task.candidates.values():
        basis = EquivariantMaps(acts[""][0].under(group), acts[""][1].under(group)).basis()
        projectors.append((basis.flatten(0, 1) @ basis.flatten(0, 1).T).float())

    def by_projectors() -> None:
        flat = layer.weight.flatten()
        total = sum(0.5 * (flat - P @ flat).square().sum() for P in projectors)
        total.backward()

    return {
        "term": seconds(lambda: term().backward(), repeats),
        "dense projectors": seconds(by_projectors, repeats),
        "entries of one dense projector": float(projectors[0].numel()),
    }


def construction() -> dict[str, float]:
    """Seconds to build all maps between 128 tensors of rank 2, from nothing."""
    started = time.process_time()
    maps = EquivariantMaps(128 * Tensors(SO3(), 2), 128 * Tensors(SO3(), 2))
    built = time.process_time() - started
    W = torch.randn(maps.shape)
    started = time.process_time()
    maps.projection(W)
    return {"construction": built, "projection": time.process_time() - started,
            "rank": float(maps.rank)}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soft.cost", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--width", type=int, default=128, help="of the network")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = {
        "environment": environment(),
        "maps of 128 tensors of rank 2": construction(),
        "seconds": terms(options.repeats, options.width),
        "one layer": dense(options.repeats),
    }
    write_json(options.results / "cost.json", found)
    whole = found["seconds"]["training step"]
    for name, value in found["seconds"].items():
        print(f"{name:<22} {1000 * value:8.2f} ms  {100 * value / whole:6.1f} % of a step")
    print(found["maps of 128 tensors of rank 2"], found["one layer"])


if __name__ == "__main__":
    main()
