"""Run experiments, write their records, print the table.

    python -m benchmarks.mechanisms [names] --seeds 5 --out benchmarks/results/mechanisms.json

A record replaces its predecessor in the file; the others stay. ``--table`` prints the file's
table and runs nothing.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import torch  # noqa: E402

from benchmarks.mechanisms.experiment import RATES, VALIDATION_SEED, run_experiment  # noqa: E402
from benchmarks.mechanisms.registry import EXPERIMENTS  # noqa: E402
from benchmarks.mechanisms.report import table  # noqa: E402
from equivariant.runs import environment, read_json, write_json  # noqa: E402

FIRST_SEED = 10  # smaller ones were seen while the experiments were written
RESULTS = Path(__file__).parents[1] / "results" / "mechanisms.json"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mechanisms", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"among {', '.join(EXPERIMENTS)}; none: all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="instead of each experiment's own number")
    parser.add_argument("--table", action="store_true", help="print the table of what is stored")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(EXPERIMENTS)
    if unknown or options.seeds < 1:
        parser.error(f"unknown {sorted(unknown)}" if unknown else "--seeds must be at least 1")
    torch.set_num_threads(1)
    stored: dict[str, Any] = read_json(options.out) if options.out.exists() else {}
    records = dict(stored.get("experiments", {}))
    for name in [] if options.table else options.names or EXPERIMENTS:
        record = run_experiment(
            EXPERIMENTS[name],
            range(FIRST_SEED, FIRST_SEED + options.seeds),
            steps=options.steps,
            report=lambda line: print(line, flush=True),
        )
        records[name] = {**record, "environment": environment()}
        print(f"{name}: {record['verdict']} in {record['seconds']:.0f} s", flush=True)
        protocol = {"rates": RATES, "validation_seed": VALIDATION_SEED}
        write_json(options.out, {**protocol, "experiments": records})
    written = read_json(options.out)["experiments"] if options.out.exists() else {}
    print(table({name: written[name] for name in EXPERIMENTS if name in written}))


if __name__ == "__main__":
    main()
