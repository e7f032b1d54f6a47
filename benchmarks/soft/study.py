"""Tasks with a symmetry that is partly broken: every way of asking for it, on the same networks.

    python -m benchmarks.soft.study --out runs/soft_study
    python -m benchmarks.soft.study --out runs/soft_study --table

Every training is one JSON file under --out and is skipped where that exists, so a stopped study
goes on; several processes can share a folder with different --seeds, --methods or --tasks.
``--table`` writes benchmarks/results/soft/study.json, where rows that were committed with more
seeds stay, and inertia.svg beside it, and prints Markdown tables.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import torch  # noqa: E402

from benchmarks.soft.pictures import inertia_picture  # noqa: E402
from benchmarks.soft.tables import markdown, summary  # noqa: E402
from equivariant.recipes.soft_symmetries.evaluation import evaluate_model  # noqa: E402
from equivariant.recipes.soft_symmetries.settings import FIT, SoftExperiment  # noqa: E402
from equivariant.recipes.soft_symmetries.training import train  # noqa: E402
from equivariant.runs import (  # noqa: E402
    RunFolder,
    environment,
    read_json,
    write_atomically,
    write_json,
)

RESULTS = Path(__file__).parents[1] / "results" / "soft"
MAIN = ("scale-free", "projection", "mlp", "emlp")
OTHERS = (
    "free", "emlp-true", "residual", "mixed-residual", "augmented", "frames", "smooth", "frobenius",
    "spectral", "sampled", "generators", "primal-dual", "relaxed",
)  # fmt: skip
Amounts = tuple[tuple[float, str], ...]
INERTIA: Amounts = ((0.0, "none"), (0.3, "axis"), (0.9, "axis"), (-1.0, "axis"))
ELSEWHERE = (
    ("cosine", "none"), ("cosine", "scale"), ("cosine", "turns"),
    ("distance", "none"), ("distance", "shifts"), ("distance", "turns"),
)  # fmt: skip


def jobs(seeds: list[int], steps: int, width: int) -> list[SoftExperiment]:
    """All trainings; first two seeds of everything, so that a study that is stopped has each."""
    fit = replace(FIT, steps=steps, checkpoint_every=steps, log_every=steps)
    base = SoftExperiment(fit=fit, width=width)

    def inertia(seed: int, methods: tuple[str, ...], amounts: Amounts) -> list[SoftExperiment]:
        return [
            replace(base, seed=seed, breaking=breaking, broken=broken, method=method)  # type: ignore[arg-type]
            for breaking, broken in amounts
            for method in methods
        ]

    def elsewhere(seed: int) -> list[SoftExperiment]:
        return [
            replace(base, seed=seed, task=task, broken=broken, method=method)  # type: ignore[arg-type]
            for task, broken in ELSEWHERE
            for method in (*MAIN, "emlp-true")
        ]

    first, later = seeds[:2], seeds[2:]
    found = [one for seed in first for one in inertia(seed, MAIN, INERTIA)]
    found += [one for seed in first for one in inertia(seed, OTHERS, INERTIA[1:2])]
    found += [one for seed in first for one in elsewhere(seed)]
    for seed in later:
        found += [*inertia(seed, MAIN, INERTIA), *elsewhere(seed)]
        found += inertia(seed, OTHERS, INERTIA[1:2])
    return found


def run(config: SoftExperiment) -> dict[str, Any]:
    """Train and evaluate; seconds are of the processor, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        model = train(config, RunFolder.create(Path(folder), "run", config=config), progress=False)
        seconds = time.process_time() - started
    return {
        "task": config.task, "broken": config.broken, "breaking": config.breaking,
        "method": config.method, "seed": config.seed, "seconds": seconds,
        "steps": config.fit.steps, "width": config.width, **evaluate_model(model, config),
    }  # fmt: skip


def with_committed(found: dict[str, Any], committed: dict[str, Any]) -> dict[str, Any]:
    """Rows of trainings under --out, and those that were committed with more seeds or alone."""
    rows = dict(committed["rows"])
    for key, entry in found["rows"].items():
        if key not in rows or entry["seeds"] >= rows[key]["seeds"]:
            rows[key] = entry
    return {**found, "rows": rows}


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    if options.table:
        rows = [read_json(path) for path in sorted(options.out.glob("*.json"))]
        path = options.results / "study.json"
        found = with_committed(summary(rows), read_json(path) if path.is_file() else {"rows": {}})
        write_json(path, {"environment": environment(), **found})
        picture = inertia_picture(found["rows"])
        write_atomically(options.results / "inertia.svg", picture.encode())
        print(markdown(found))
        return
    for config in jobs(options.seeds, options.steps, options.width):
        if config.method not in options.methods or config.task not in options.tasks:
            continue
        name = f"{config.task}_{config.broken}_{config.breaking:g}_{config.method}_{config.seed}"
        path = options.out / f"{name}.json"
        if not path.is_file():
            found = run(config)
            write_json(path, found)
            print(f"{name}: test {found['mse']['test']:.4f}, {found['seconds']:.0f} s", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soft.study", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings' files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", nargs="+", default=[*MAIN, *OTHERS], metavar="METHOD")
    parser.add_argument("--tasks", nargs="+", default=["inertia", "cosine", "distance"])
    parser.add_argument("--steps", type=int, default=500, help="optimizer steps of each")
    parser.add_argument("--width", type=int, default=96, help="of hidden representations")
    parser.add_argument("--table", action="store_true", help="sum up; trains nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    return parser


if __name__ == "__main__":
    main()
