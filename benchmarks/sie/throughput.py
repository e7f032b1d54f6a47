"""Images per second of ``fit`` on SIE beside a minimal hand-written loop of the same step.

    python -m benchmarks.sie.throughput

The same encoder, projectors and hypernetwork; the loop writes SIE's five terms out in plain
PyTorch, without checkpoints, logs, checks or resume. One thread. Rounds of a few steps take
turns, ours first in every other round; processor time, which other work on the machine still
lengthens, so the shortest of all rounds counts, and the median of ratios stands beside it. Writes
benchmarks/results/sie/throughput.json and prints a Markdown row.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import mse_loss, relu  # noqa: E402

from equivariant.groups import Spin3  # noqa: E402
from equivariant.pairs import PairBatch  # noqa: E402
from equivariant.recipes.sie_3diebench.models import ModelConfig, build_learner  # noqa: E402
from equivariant.runs import RunFolder, environment, write_json  # noqa: E402
from equivariant.training import FitConfig, fit  # noqa: E402

RESULTS = Path(__file__).parents[1] / "results" / "sie" / "throughput.json"


class Views:
    """The same random pictures in every step: loading costs neither loop anything."""

    def __init__(self, batch: int, size_px: int) -> None:
        source = torch.Generator().manual_seed(0)
        shape = (batch, 3, size_px, size_px)
        a, b = (
            torch.randn(shape, generator=source).contiguous(memory_format=torch.channels_last)
            for _ in range(2)
        )
        q = nn.functional.normalize(torch.randn(batch, 4, generator=source), dim=-1)
        self.batch, self.q = PairBatch(a, b, Spin3().from_quaternion_xyzw(q)), q

    def stream(
        self, batch_size: int, *, start: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[PairBatch]:
        """The batch, again and again."""
        del batch_size, start, rank, world
        while True:
            yield self.batch


def hand_written(learner: Any, views: Views) -> Callable[[int], Tensor]:
    """A loop of SIE's step in plain PyTorch, on the modules and matrices of a learner."""
    model, weight = learner.model, learner.objective.action.summands[-1].weight
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-3, weight_decay=1e-6)
    x, y, q = views.batch.a, views.batch.b, views.q

    def hinge(z: Tensor) -> Tensor:
        return relu(1 - (z.var(0) + 1e-4).sqrt()).mean() / 2

    def covariance(z: Tensor) -> Tensor:
        z = z - z.mean(0)
        matrix = z.T @ z / (len(z) - 1)
        return (matrix.square().sum() - matrix.diagonal().square().sum()) / z.shape[1]

    def step() -> Tensor:
        z, w = model(x), model(y)
        half = z.shape[1] // 2
        moved = torch.einsum("nk,kij,nj->ni", q, weight, z[:, half:])
        loss = 10 * mse_loss(z[:, :half], w[:, :half]) + 4.5 * mse_loss(moved, w[:, half:])
        loss = loss + 10 * (hinge(z) + hinge(w) + hinge(moved)) + covariance(z) + covariance(w)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    def run(steps: int) -> Tensor:
        learner.train()
        for _ in range(steps - 1):
            step()
        return step()

    return run


def packaged(learner: Any, views: Views, folder: Path) -> Callable[[int], None]:
    """``fit`` of the same learner: a new run folder each time, one checkpoint at its end."""

    def run(steps: int) -> None:
        config = FitConfig(
            steps, batch_size=len(views.batch.a), accelerator="cpu", checkpoint_every=steps
        )
        fit(learner, views, config, run=RunFolder(Path(tempfile.mkdtemp(dir=folder))),
            progress=False)  # fmt: skip

    return run


def measure(
    model: ModelConfig, *, batch: int, size_px: int, steps: int, rounds: int
) -> dict[str, Any]:
    """Images per second of both, and the ratio of their times."""
    views = Views(batch, size_px)
    one, other = (build_learner(model, classes=1, seed=0) for _ in range(2))
    check_same_step(model, views)
    with tempfile.TemporaryDirectory() as folder:
        runs = {"fit": packaged(one, views, Path(folder)), "loop": hand_written(other, views)}
        for run in runs.values():
            run(2)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(rounds):
            for name in list(runs) if number % 2 else list(runs)[::-1]:
                started = time.process_time()
                runs[name](steps)
                seconds[name].append(time.process_time() - started)
    images = 2 * batch * steps
    ratios = [a / b for a, b in zip(seconds["fit"], seconds["loop"], strict=True)]
    return {
        "width": model.width, "batch": batch, "size_px": size_px, "steps": steps,
        "rounds": rounds, "seconds": seconds,
        "time_ratio": min(seconds["fit"]) / min(seconds["loop"]), "median_ratio": median(ratios),
        **{f"{name}_images_per_s": images / min(s) for name, s in seconds.items()},
    }  # fmt: skip


def check_same_step(model: ModelConfig, views: Views) -> None:
    """Raise SystemExit unless both losses are one number."""
    learner = build_learner(model, classes=1, seed=0).train()
    ours = float(learner(**views.batch.tensors())[0].detach())
    theirs = float(hand_written(build_learner(model, classes=1, seed=0), views)(1))
    if abs(ours - theirs) > 1e-3 * abs(ours):
        raise SystemExit(f"not the same step: losses {ours} and {theirs}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        measure(ModelConfig(width=width, projector=(p, p, p)), batch=batch, size_px=32,
                steps=options.steps, rounds=options.rounds)
        for width, p, batch in ((8, 128, 128), (16, 256, 64))
    ]  # fmt: skip
    write_json(RESULTS, {"rows": rows, "environment": environment()})
    names = ("`fit` images/s", "loop images/s", "time, `fit` / loop", "median of rounds")
    print("| width | batch | px | " + " | ".join(names) + " |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['width']} | {row['batch']} | {row['size_px']} "
            f"| {row['fit_images_per_s']:.0f} | {row['loop_images_per_s']:.0f} "
            f"| {row['time_ratio']:.3f} | {row['median_ratio']:.3f} |"
        )


if __name__ == "__main__":
    main()
