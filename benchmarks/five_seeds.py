"""The demo's study over several seeds: mean and spread of every number.

    python benchmarks/five_seeds.py runs/five_seeds --seeds 5

One data set, one budget for all methods; a seed sets fresh weights, pairs and heads. Goes on
where it stopped. Writes benchmarks/results/five_seeds.json and prints a Markdown table.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from datasets3d import ThreeDIEBench
from equivariant.recipes.sie_3diebench.demo import (
    DemoConfig,
    aggregate,
    build_data,
    run_method,
    with_seed,
)
from equivariant.runs import environment, write_json

COLUMNS = {
    "top1": "top-1",
    "rotation_r2_flat": "rotation R² flat",
    "rotation_r2": "rotation R²",
    "median_deg": "median angle",
    "mrr": "MRR",
    "h1": "H@1",
    "pre": "PRE",
}
RESULTS = Path(__file__).parent / "results" / "five_seeds.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--published", action="store_true", help="SIE's published start as well")
    options = parser.parse_args()
    config = DemoConfig()
    if options.published:
        methods = (*config.methods[:-1], "sie-published", config.methods[-1])
        config = dataclasses.replace(config, methods=methods)
    build_data(options.out / "data", config)
    images = {
        split: torch.from_numpy(ThreeDIEBench(options.out / "data", split).load_images())
        for split in ("train", "val")
    }
    for seed in range(options.seeds):
        for method in config.methods:
            run_method(options.out, method, with_seed(config, seed), images=images, progress=False)
            print(f"seed {seed}: {method} done", flush=True)
    summary = aggregate(options.out, range(options.seeds), config)
    record = {"config": config, "seeds": options.seeds, "methods": summary}
    write_json(RESULTS, {**record, "environment": environment()})
    print("| method | " + " | ".join(COLUMNS.values()) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for method, numbers in summary.items():
        cells = [_cell(numbers.get(name)) for name in COLUMNS]
        print(f"| {config.model(method).title} | " + " | ".join(cells) + " |")


def _cell(number: dict[str, float] | None) -> str:
    return "-" if number is None else f"{number['mean']:.3f} ± {number['std']:.3f}"


if __name__ == "__main__":
    main()
