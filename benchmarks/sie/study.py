"""SIE against its baselines, and its parts one at a time: equal budgets, several seeds.

    python -m benchmarks.sie.study --out runs/sie_study
    python -m benchmarks.sie.study --out runs/sie_study --table

One data set, the same steps for every row; a seed sets fresh weights, pairs and heads. Trainings
go seed by seed, so that a study that is stopped is a balanced table of fewer seeds. Each is one
JSON file under benchmarks/results/sie/DATA and is skipped where that exists; one that was stopped
goes on from its checkpoint. ``--table`` writes table.md and curves.svg there.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import torch  # noqa: E402

from benchmarks.sie.rows import ROWS, StudyBudget  # noqa: E402
from benchmarks.sie.tables import write_tables  # noqa: E402
from datasets3d import (  # noqa: E402
    BuildConfig,
    MeshFolder,
    ProceduralMeshes,
    ThreeDIEBench,
    TransformPairs,
    ViewLaw,
    build,
)
from datasets3d.meshes import Variants  # noqa: E402
from equivariant.recipes.sie_3diebench.demo import check_settings  # noqa: E402
from equivariant.recipes.sie_3diebench.experiment import train  # noqa: E402
from equivariant.recipes.sie_3diebench.open_run import (  # noqa: E402
    OpenRun,
    held_out_pairs,
    measures_of,
    open_run,
)
from equivariant.runs import RunFolder, environment, read_json, write_json  # noqa: E402
from equivariant.training.recorder import read_metrics  # noqa: E402

RESULTS = Path(__file__).parents[1] / "results" / "sie"
LAW = ViewLaw(field_of_view_rad=math.radians(24.06))  # objects fill the picture


def build_data(folder: Path, name: str, *, size_px: int, meshes: Path | None) -> None:
    """Render the data set of the study: 4,000 procedural objects, or mesh files with variants."""
    if name == "procedural":
        objects, views = ProceduralMeshes(instances=250, seed=1), 8
    else:
        if meshes is None:
            raise SystemExit("--data lowpoly needs --meshes FOLDER (classes with train/ and test/)")
        objects, views = Variants(MeshFolder(meshes), count=7), 8
    build(
        objects, folder, config=BuildConfig(views=views, size_px=size_px, law=LAW, seed=1),
        workers=1, progress=False,
    )  # fmt: skip


def run_row(
    out: Path, row: str, seed: int, budget: StudyBudget, images: dict[str, torch.Tensor]
) -> dict[str, Any]:
    """Train and evaluate one row with one seed; returns what its JSON file holds."""
    experiment = budget.experiment(out / "data", row, seed)
    run = RunFolder(out / "runs" / f"{row}-seed{seed}")
    check_settings(run, experiment)
    write_json(run.path / "config.json", experiment)
    pairs = TransformPairs(
        ThreeDIEBench(out / "data", "train"),
        convention=experiment.model.convention, seed=seed, images=images["train"],
    )  # fmt: skip
    started = time.process_time()
    train(experiment, run, pairs=pairs, progress=False)
    trained_s = time.process_time() - started
    opened, evaluation = open_run(run), budget.evaluation(seed)
    measures = measures_of(opened, evaluation, images=images)
    record = {
        "row": row, "title": ROWS[row][0], "seed": seed, "budget": asdict(budget),
        "model": asdict(experiment.model), "data": opened.data,
        "objects": [len(images["train"]), len(images["val"])], "size_px": images["val"].shape[-1],
        "views": images["val"].shape[1], "measures": measures, "curve": curve_of(run),
        "sensitivity": sensitivity(opened, budget, seed), "train_cpu_s": round(trained_s, 1),
        "environment": environment(),
    }  # fmt: skip
    return record


def curve_of(run: RunFolder) -> list[dict[str, float]]:
    """Linear scores on held-out objects while training, by step."""
    rows = read_metrics(run.metrics) if run.metrics.is_file() else []
    return [
        {k: v for k, v in row.items() if k == "step" or k.startswith("probe/")}
        for row in rows
        if any(k.startswith("probe/") for k in row)
    ]


def sensitivity(opened: OpenRun, budget: StudyBudget, seed: int) -> float | None:
    """E|p(z, g) - p(z, g')|² / E|p(z, g)|² for independent g, g': 0 if g is not read.

    None for methods without an action.
    """
    if opened.trained.action is None:
        return None
    pairs = held_out_pairs(opened, budget.evaluation(seed))
    part, rows = opened.trained.action.summands[-1], opened.trained.action.slices[-1]
    z = pairs.z_a[..., rows]
    with torch.no_grad():
        one, other = part(pairs.g, z), part(pairs.g.roll(1, 0), z)
    return float((one - other).square().sum(-1).mean() / one.square().sum(-1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for data and runs")
    parser.add_argument("--data", choices=("procedural", "lowpoly"), default="procedural")
    parser.add_argument("--meshes", type=Path, help="classes of mesh files, for lowpoly")
    parser.add_argument("--size", type=int, default=32, help="side of the views in pixels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), default=list(ROWS))
    parser.add_argument("--steps", type=int, default=StudyBudget.steps)
    parser.add_argument("--table", action="store_true", help="only write table and figure")
    options = parser.parse_args()
    results = RESULTS / options.data
    if options.table:
        print(write_tables(results))
        return
    torch.set_num_threads(1)
    budget = StudyBudget(options.steps, probe_every=max(1, options.steps // 4))
    build_data(options.out / "data", options.data, size_px=options.size, meshes=options.meshes)
    images = {
        split: torch.from_numpy(ThreeDIEBench(options.out / "data", split).load_images())
        for split in ("train", "val")
    }
    for seed in options.seeds:
        for row in options.rows:
            path = results / f"{row}-seed{seed}.json"
            if path.is_file():
                if read_json(path)["budget"] != asdict(budget):
                    raise SystemExit(f"{path} is of another budget: move it away, or --steps")
                continue
            record = run_row(options.out, row, seed, budget, images)
            write_json(path, record)
            print(f"seed {seed}: {row}, {record['train_cpu_s']} s of training", flush=True)


if __name__ == "__main__":
    main()
