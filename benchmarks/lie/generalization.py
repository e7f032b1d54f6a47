"""Trained on what stands as it should, tested on what has been moved: accuracy of all methods.

    python -m benchmarks.lie.generalization digits --out runs/generalization
    python -m benchmarks.lie.generalization clouds --out runs/generalization
    python -m benchmarks.lie.generalization digits --out runs/generalization --table

Every run is one JSON file under --out and is skipped where that exists, so a stopped study goes
on; several processes can share a folder with different --rows. Each method's rate is the best of
three on validation items, after a quarter of the steps. ``--restore`` first writes the files of
the runs that the committed table holds, so that a study goes on from it. ``--table`` writes
benchmarks/results/lie/generalization_{digits,clouds}.json and prints Markdown tables.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.lie import cloud_rows, digit_rows  # noqa: E402
from benchmarks.lie.study import (  # noqa: E402
    Job,
    Record,
    Study,
    best_rate,
    markdown,
    restore,
    run_all,
    summary,
)
from equivariant.report import Line, plot  # noqa: E402
from equivariant.runs import environment, read_json, write_atomically, write_json  # noqa: E402

COLORS = 8
RESULTS = Path(__file__).parents[1] / "results" / "lie"
DATA = Path(os.environ.get("EQUIVARIANT_DATA", "../shared/data"))


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    study = _study(options)
    folder = options.out / study.name
    if options.restore:
        published = read_json(options.results / f"generalization_{study.name}.json")
        restore(study, folder, published)
    if options.table:
        _table(study, folder, options.results)
        return
    rows = options.rows or [row for row in study.rows if study.installed(row)]
    unknown = set(rows) - set(study.rows)
    if unknown:
        raise SystemExit(f"unknown rows {sorted(unknown)}; known are {list(study.rows)}")
    sizes = options.sizes if study.name == "digits" else [0]
    jobs = [Job(row, size, seed) for seed in options.seeds for size in sizes for row in rows]
    run_all(study, folder, jobs, lambda line: print(line, flush=True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lie.generalization", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("study", choices=["digits", "clouds"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs' files")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of mnist and lowpoly_cc0")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="none: all that are installed")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="optimizer steps of every classifier")
    parser.add_argument("--batch", type=int, help="items in each")
    parser.add_argument("--energy-steps", type=int, help="of the canonicalized digits' energy")
    parser.add_argument("--test", type=int, help="digits in each main test set")
    parser.add_argument("--restore", action="store_true", help="go on from the committed table")
    parser.add_argument("--table", action="store_true", help="sum up; runs nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the table's JSON goes")
    return parser


def _study(options: argparse.Namespace) -> Study:
    given = {k: getattr(options, k) for k in ("steps", "batch") if getattr(options, k) is not None}
    if options.study == "clouds":
        return cloud_rows.CloudStudy(options.data / "lowpoly_cc0", **given)
    for name in ("energy_steps", "test"):
        if getattr(options, name) is not None:
            given[name] = getattr(options, name)
    return digit_rows.DigitStudy(options.data / "mnist", options.out / "test_sets", **given)


def _table(study: Study, folder: Path, results: Path) -> None:
    found = summary(study, folder)
    names = list(found["rows"][0]["accuracy"]) if found["rows"] else []
    main_sets = digit_rows.MAIN if study.name == "digits" else cloud_rows.MAIN
    curves = tuple(name for name in names if name not in main_sets)
    rates = {row["row"]: best_rate(folder, row["row"]) for row in found["rows"]}
    write_json(
        results / f"generalization_{study.name}.json",
        {**found, "rates": rates, "environment": environment()},
    )
    print(markdown(found, main_sets))
    if curves:
        print()
        print(markdown(found, curves))
        picture = results / f"generalization_{study.name}.svg"
        write_atomically(picture, robustness(found).encode())


def robustness(found: Record) -> str:
    """SVG: accuracy of all methods against scale, shear and the radius of Haar measure.

    Only the size of training set that most rows have, and the first eight of them, which have
    colors of their own; bands are one standard deviation.
    """
    sizes = [row["size"] for row in found["rows"]]
    rows = [row for row in found["rows"] if row["size"] == max(sizes, key=sizes.count)][:COLORS]
    panels: dict[str, dict[str, Line]] = {}
    for kind, standing in (("scale", 1.0), ("shear", 0.0), ("haar", None)):
        names = {float(n.split()[1]): n for n in rows[0]["accuracy"] if n.startswith(kind)}
        if standing is not None:
            names[standing] = "centred"
        at = sorted(names)
        panels[kind] = {row["row"]: _line(row, at, names) for row in rows}
    labels = ["factor of the size", "shear", "radius of Haar measure"]
    return plot(panels, xlabel=labels, ylabels=["accuracy", "", ""])


def _line(row: Record, at: list[float], names: dict[float, str]) -> Line:
    mean = np.array([row["accuracy"][names[x]]["mean"] for x in at])
    spread = np.array([row["accuracy"][names[x]]["std"] or 0.0 for x in at])
    return Line(np.array(at), mean, mean - spread, mean + spread)


if __name__ == "__main__":
    main()
