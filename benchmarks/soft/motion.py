"""Walking, a quarter of a second ahead: which turns hold where gravity breaks the others.

    python -m benchmarks.soft.motion --out runs/soft_motion

Subject 35 of CMU's recorded motions: from joints and their velocities at t the displacement of
every joint 30 frames later. Candidates are all turns, turns about the vertical, and turns about a
level axis. Every training is one JSON file under --out and is skipped where that exists; at the
end benchmarks/results/soft/motion.json is written.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from datasets3d.motion import motion_windows, read_motions  # noqa: E402
from datasets3d.synthetic import SymmetryTask  # noqa: E402
from equivariant.actions import Tensors  # noqa: E402
from equivariant.groups import SO2, SO3, Embedded  # noqa: E402
from equivariant.measure import equivariance_error  # noqa: E402
from equivariant.recipes.soft_symmetries.methods import build_learner, levels_term  # noqa: E402
from equivariant.recipes.soft_symmetries.settings import FIT, SoftExperiment  # noqa: E402
from equivariant.recipes.soft_symmetries.task_sets import ExampleStream  # noqa: E402
from equivariant.regularizers.levels import levels_of_tables  # noqa: E402
from equivariant.runs import RunFolder, environment, read_json, write_json  # noqa: E402
from equivariant.training import fit  # noqa: E402

RESULTS = Path(__file__).parents[1] / "results" / "soft"
DATA = Path(os.environ.get("EQUIVARIANT_DATA", "../shared/data")) / "cmu_mocap"
CANDIDATES = {
    "all turns": SO3(), "about the vertical": Embedded(SO2(), 3, (2, 0)),
    "about a level axis": Embedded(SO2(), 3, (1, 2)),
}  # fmt: skip
METHODS = ("mlp", "free", "emlp", "scale-free", "projection")
AHEAD = 30


def sets(data: Path, subject: str) -> tuple[list[SymmetryTask], float]:
    """Training and test set, whole motions apart, and what displacements were divided by, m."""
    motions = read_motions(data, subjects=[subject])
    names = sorted(motions)
    parts = [names[k::3] for k in range(3)]
    found: list[tuple[Tensor, Tensor]] = []
    for own in (parts[0] + parts[1], parts[2]):
        windows = motion_windows(
            {n: motions[n] for n in own}, past=1, future=1, gap=AHEAD, windows=100
        )
        here = windows.past[:, 0]
        centred = here - here.mean(1, keepdim=True)
        x = torch.cat([centred.flatten(1), windows.velocity[:, 0].flatten(1)], -1)
        found.append((x.float(), (windows.future[:, 0] - here).flatten(1).float()))
    scale = float(found[0][1].square().mean().sqrt())
    joints = found[0][1].shape[1] // 3
    acts = (2 * joints * Tensors(SO3(), 1), joints * Tensors(SO3(), 1))
    return [SymmetryTask(x, y / scale, *acts, CANDIDATES, ()) for x, y in found], scale


def run(method: str, seed: int, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train one network and say what it knows."""
    (train, test), scale = sets(data, options.subject)
    config = SoftExperiment(
        method=method, seed=seed, width=options.width,  # type: ignore[arg-type]
        fit=replace(FIT, steps=options.steps, checkpoint_every=options.steps, log_every=50),
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(seed)
        learner = build_learner(config, train)
        started = time.process_time()
        fit(learner, ExampleStream(train, seed=seed), config.fit, progress=False, seed=seed,
            run=RunFolder.create(Path(folder), "run", config=config))  # fmt: skip
        seconds = time.process_time() - started
    model = learner.model.eval()
    with torch.no_grad():
        errors = [float((model(t.x) - t.y).square().mean()) * scale**2 for t in (train, test)]
    wide = model.double()
    found: dict[str, Any] = {
        "method": method, "seed": seed, "train_m2": errors[0], "test_m2": errors[1],
        "seconds": seconds, "steps": options.steps, "width": options.width,
        "windows": [len(train.x), len(test.x)],
        "equivariance": {
            name: equivariance_error(
                wide, test.x[:32].double(), act_in=test.act_in.under(group),
                act_out=test.act_out.under(group), samples=8,
            ).value()
            for name, group in CANDIDATES.items()
        },
    }  # fmt: skip
    term = levels_term(wide, test)
    if term is not None:
        found["layers"] = term.relative().tolist()
    return found


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and levels with intervals over them, by method."""
    found = {}
    for method in METHODS:
        own = [row for row in rows if row["method"] == method]
        if not own:
            continue
        tests = [row["test_m2"] for row in own]
        entry: dict[str, Any] = {
            "seeds": len(own), "steps": own[0]["steps"], "width": own[0]["width"],
            "windows": own[0]["windows"], "test_m2": mean(tests),
            "test_m2_deviation": stdev(tests) if len(own) > 1 else None,
            "train_m2": mean(row["train_m2"] for row in own),
            "seconds": mean(row["seconds"] for row in own),
            "equivariance": {
                name: mean(row["equivariance"][name] for row in own) for name in CANDIDATES
            },
        }  # fmt: skip
        if "layers" in own[0]:
            tables = [torch.tensor(row["layers"], dtype=torch.float64) for row in own]
            levels = levels_of_tables(tables, list(CANDIDATES), tolerance=1e-3, confidence=0.95)
            entry["levels"] = levels.as_dict()
        found[method] = entry
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soft.motion", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings' files")
    parser.add_argument("--data", type=Path, default=DATA, help="CMU's motions")
    parser.add_argument("--subject", default="35")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for seed in options.seeds:
        for method in options.methods:
            path = options.out / f"{options.subject}_{method}_{seed}.json"
            if not path.is_file():
                write_json(path, run(method, seed, options.data, options))
                print(path.stem, read_json(path)["test_m2"], flush=True)
    rows = [read_json(path) for path in sorted(options.out.glob(f"{options.subject}_*.json"))]
    found = {"subject": options.subject, "frames_ahead": AHEAD, "methods": summary(rows)}
    write_json(options.results / "motion.json", {"environment": environment(), **found})
    for method, entry in found["methods"].items():
        print(method, f"{entry['test_m2']:.5f} m²", entry.get("levels", {}))


if __name__ == "__main__":
    main()
