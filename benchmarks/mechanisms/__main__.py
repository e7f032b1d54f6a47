"""Run experiments, write their records, print the table.

    python -m benchmarks.mechanisms [names] --seeds 5 --out benchmarks/results/mechanisms.json

A record replaces its predecessor in the file; the others stay. ``--again`` is for a second trial
of a changed design: what the file has of the experiment is kept under ``first_trials``, once.
``--table`` and ``--papers`` print the file's tables, ``--page`` writes both into the page of
results; they run nothing.
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
from benchmarks.mechanisms.page import PAGE, replaced  # noqa: E402
from benchmarks.mechanisms.papers import papers_table  # noqa: E402
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
    parser.add_argument("--again", action="store_true", help="keep the first trials, run seconds")
    parser.add_argument("--table", action="store_true", help="print the table of what is stored")
    parser.add_argument("--papers", action="store_true", help="print the table of papers instead")
    parser.add_argument("--page", type=Path, nargs="?", const=PAGE, help="write the tables there")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(EXPERIMENTS)
    if unknown or options.seeds < 1:
        parser.error(f"unknown {sorted(unknown)}" if unknown else "--seeds must be at least 1")
    torch.set_num_threads(1)
    stored: dict[str, Any] = read_json(options.out) if options.out.exists() else {}
    records, first = dict(stored.get("experiments", {})), dict(stored.get("first_trials", {}))
    idle = options.table or options.papers or options.page
    names = [] if idle else list(options.names or EXPERIMENTS)
    if options.again and (set(names) & set(first) or set(names) - set(records)):
        parser.error("--again is for experiments with one trial in the file, and not for a third")
    for name in names:
        record = run_experiment(
            EXPERIMENTS[name],
            range(FIRST_SEED, FIRST_SEED + options.seeds),
            steps=options.steps,
            report=lambda line: print(line, flush=True),
        )
        if options.again:
            first[name] = records[name]
        records[name] = {**record, "environment": environment()}
        print(f"{name}: {record['verdict']} in {record['seconds']:.0f} s", flush=True)
        protocol = {"rates": RATES, "validation_seed": VALIDATION_SEED}
        kept = {"first_trials": first} if first else {}
        write_json(options.out, {**protocol, "experiments": records, **kept})
    written = read_json(options.out) if options.out.exists() else {"experiments": {}}
    trials = written["experiments"], written.get("first_trials", {})
    if options.page:
        text = options.page.read_text(encoding="utf-8")
        for name, show in (("mechanisms", table), ("papers", papers_table)):
            text = replaced(text, name, show(*trials))
        options.page.write_text(text, encoding="utf-8")
    else:
        print((papers_table if options.papers else table)(*trials))


if __name__ == "__main__":
    main()
