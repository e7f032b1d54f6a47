"""One network with three products, trained on molecules for equal time and for equal steps.

    python -m benchmarks.force_field --data FOLDER             # all that is not on disk yet
    python -m benchmarks.force_field --data FOLDER --sets acac --modes time --seeds 0 --minutes 5
    python -m benchmarks.force_field --data FOLDER --limit 2   # two runs, then stop
    python -m benchmarks.force_field --table                   # of the results on disk

FOLDER holds botnet/dataset_acac/*.xyz and rmd17/rmd17_<molecule>_{train,test}_01.npz. Every run
is one process with one thread. Minutes count the time that this process computes, so that others
on the machine do not shorten a run. Runs that are on disk with the same settings are skipped, one
that was interrupted goes on, results are written after each.

    gaunt                   products of functions on the sphere, natural parity
    gaunt_full              the same with brackets, both parities
    clebsch_gordan_natural  the couplings of gaunt, each with radial functions of its own
    clebsch_gordan          every coupling of both parities

Acetylacetone: 450 molecules at 300 K to train on, 50 held out; tests at 300 K, 600 K, along a
dihedral and along a transfer of hydrogen. rMD17: 950 and 50 of split 01, tests on its 1,000.
Settings were chosen on held-out molecules of the training file, never on tests. The table has the
numbers that MACE's authors publish for rMD17 with as many molecules, of a network many times as
large on a GPU: a scale, not a contest.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from datasets3d import MoleculeGraphs
from equivariant.nn.force_field import ForceFieldConfig
from equivariant.recipes.force_field.evaluation import evaluate_files, force_field_equivariance
from equivariant.recipes.force_field.training import (
    FIT,
    ForceFieldExperiment,
    read_training_sets,
    train,
)
from equivariant.runs import RunFolder, environment, read_json, write_json
from equivariant.training import read_metrics

RESULTS = Path(__file__).parent / "results" / "force_field.json"
PRODUCTS = ("gaunt", "gaunt_full", "clebsch_gordan_natural", "clebsch_gordan")
MOLECULES = ("ethanol", "aspirin", "malonaldehyde")
SETS = ("acac", *MOLECULES)
MODES = ("time", "steps")
ACAC = ("test_MD_300K", "test_MD_600K", "test_dihedral", "test_H_transfer")

# Batatia et al. 2022, arXiv 2206.07697, table 2: mean absolute errors in meV and meV/Å.
PUBLISHED = {
    ("ethanol", "rmd17_ethanol_test_01"): (0.4, 2.1),
    ("aspirin", "rmd17_aspirin_test_01"): (2.2, 6.6),
}


def experiment(options, name, product, mode, seed):
    """What one run trains on what."""
    isolated = None
    if name == "acac":
        folder = options.data / "botnet" / "dataset_acac"
        data, isolated = folder / "train_300K.xyz", folder / "isolated_atoms.xyz"
    else:
        data = options.data / "rmd17" / f"rmd17_{name}_train_01.npz"
    model = ForceFieldConfig(
        product, channels=options.channels, lmax=options.lmax, layers=options.layers,
        correlation=options.correlation,
    )  # fmt: skip
    budget = {"steps": 0, "minutes": options.minutes, "clock": "processor"}
    if mode == "steps":
        budget = {"steps": options.steps, "minutes": 0.0}
    fit = replace(
        FIT, **budget, learning_rate=options.learning_rate, batch_size=options.batch_size,
        accelerator="cpu",
    )  # fmt: skip
    return ForceFieldExperiment(
        data, isolated_atoms=isolated, model=model, fit=fit, validation=50, seed=seed
    )


def tests_of(options, name):
    """Files that a set is tested on."""
    if name == "acac":
        return [options.data / "botnet" / "dataset_acac" / f"{test}.xyz" for test in ACAC]
    return [options.data / "rmd17" / f"rmd17_{name}_test_01.npz"]


def settings_of(config):
    """What makes two runs the same, without paths."""
    return json.loads(json.dumps({
        "model": asdict(config.model), "fit": asdict(config.fit), "validation": config.validation,
        "energy_weight": config.energy_weight, "force_weight": config.force_weight,
    }))  # fmt: skip


def run_of(options, config, name):
    """The run folder of a job: the one that was interrupted, or a new one."""
    for path in sorted((options.runs / name).glob("*")):
        if (path / "config.json").is_file():
            saved = read_json(path / "config.json")
            if {k: saved[k] for k in settings_of(config)} == settings_of(config):
                return RunFolder(path)
    return RunFolder.create(options.runs, name, config=config)


def measure(options, job):
    """Train and test once."""
    name, product, mode, seed = job
    config = experiment(options, *job)
    run = run_of(options, config, "-".join(map(str, job)))
    wall, processor = time.monotonic(), time.process_time()
    model = train(config, run, progress=not options.quiet)
    wall, processor = time.monotonic() - wall, time.process_time() - processor
    steps = read_metrics(run.metrics)[-1]["step"]
    _, held_out = read_training_sets(config)
    graphs = MoleculeGraphs(held_out, cutoff_angstrom=config.model.cutoff_angstrom)
    report = force_field_equivariance(model, graphs.batch(range(8)).tensors(), samples=4)
    return {
        "set": name, "product": product, "mode": mode, "seed": seed, "steps": steps,
        "processor_s": round(processor, 1), "wall_s": round(wall, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "equivariance_error": {o: report.value("worst", output=o) for o in ("energies", "forces")},
        "tests": evaluate_files(model, tests_of(options, name)),
        "settings": settings_of(config), "environment": environment(),
    }  # fmt: skip


def table(results):
    """Errors by set, test, mode and product; mean over seeds, and their range in brackets."""
    groups = {}
    for result in results:
        key = (result["set"], result["mode"], json.dumps(result["settings"]), result["product"])
        groups.setdefault(key, []).append(result)
    print(f"{'set':14} {'test':28} {'budget':10} {'product':24} {'runs':>4} {'steps':>7} "
          f"{'E meV':>16} {'F meV/Å':>16}")  # fmt: skip
    for (name, mode, text, product), found in sorted(groups.items()):
        fit = json.loads(text)["fit"]
        budget = f"{fit['minutes']:g} min" if mode == "time" else f"{fit['steps']} steps"
        for test in found[0]["tests"]:
            kind = "rmse" if name == "acac" else "mae"
            numbers = [
                [run["tests"][test][f"{what}_{kind}_{unit}"] for run in found]
                for what, unit in (("energy", "meV"), ("forces", "meV_per_angstrom"))
            ]
            steps = statistics.mean(run["steps"] for run in found)
            print(f"{name:14} {test:28} {budget:10} {product:24} {len(found):4} {steps:7.0f} "
                  f"{spread(numbers[0]):>16} {spread(numbers[1]):>16}")  # fmt: skip
    for (name, test), (energy, forces) in PUBLISHED.items():
        print(f"{name:14} {test:28} {'':10} {'MACE, published MAE':24} {'':4} {'':7} "
              f"{energy:16} {forces:16}")  # fmt: skip
    print("acetylacetone: root mean square errors; rMD17: mean absolute errors")


def spread(numbers):
    """Mean, and the range of several runs."""
    if any(number is None for number in numbers):
        return "-"
    mean = f"{statistics.mean(numbers):.1f}"
    return mean if len(numbers) < 2 else f"{mean} ({min(numbers):.1f}-{max(numbers):.1f})"


def main(arguments=None):
    """Measure what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip  # noqa: E501
    root = os.environ.get("EQUIVARIANT_DATA")
    parser.add_argument("--data", type=Path, default=Path(root) if root else None)
    parser.add_argument("--runs", type=Path, default=Path("runs") / "force_field")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--products", nargs="+", choices=PRODUCTS, default=list(PRODUCTS))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="of a run, mode time")
    parser.add_argument("--steps", type=int, default=4000, help="of a run, mode steps")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--lmax", type=int, default=2)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--correlation", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=FIT.learning_rate)
    parser.add_argument("--batch-size", type=int, default=FIT.batch_size)
    parser.add_argument("--limit", type=int, default=0, help="runs of this call; 0 for all")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args(arguments)
    results = read_json(options.results)["runs"] if options.results.is_file() else []
    if options.table:
        table(results)
        return
    if options.data is None:
        parser.error("--data FOLDER, or EQUIVARIANT_DATA in the environment")
    torch.set_num_threads(1)
    done = [(r["set"], r["product"], r["mode"], r["seed"], r["settings"]) for r in results]
    jobs = [
        (name, product, mode, seed)
        for seed in options.seeds
        for mode in options.modes
        for name in options.sets
        for product in options.products
    ]
    open_jobs = [j for j in jobs if (*j, settings_of(experiment(options, *j))) not in done]
    print(f"{len(jobs) - len(open_jobs)} of {len(jobs)} runs are on disk")
    for job in open_jobs[: options.limit or None]:
        result = measure(options, job)
        if options.results.is_file():  # another process may have added its own
            results = read_json(options.results)["runs"]
        results.append(result)
        write_json(options.results, {"runs": results})
        print(job, result["steps"], "steps", result["processor_s"], "s", flush=True)
    table(results)


if __name__ == "__main__":
    main()
