"""Table, figure and claims of the study, from the JSON files of its trainings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from benchmarks.sie.claims import Record, Seeds, color, rotation, sentences, top1
from benchmarks.sie.rows import ROWS
from equivariant.report.figures import Line, plot
from equivariant.runs import read_json, write_atomically

_CURVES = ("sie", "simclr", "augself", "only_equivariance", "exact", "supervised")


def balanced_seeds(results: Path) -> Seeds:
    """Records of the seeds of which every row has ended, by row.

    Args:
        results: Folder of JSON files.

    Raises:
        SystemExit: There is no such seed.
    """
    found: dict[int, dict[str, Record]] = {}
    for path in sorted(results.glob("*-seed*.json")):
        record = read_json(path)
        found.setdefault(record["seed"], {})[record["row"]] = record
    seeds = [found[seed] for seed in sorted(found) if found[seed].keys() >= ROWS.keys()]
    if not seeds:
        raise SystemExit(f"{results}: no seed of which all rows have ended")
    return seeds


def write_tables(results: Path) -> str:
    """Write table.md and curves.svg beside the raw numbers; returns the table.

    Args:
        results: Folder of JSON files.
    """
    seeds = balanced_seeds(results)
    first = seeds[0]["random"]
    budget, blind = first["budget"], seeds[0]["sie"]["measures"]
    level = blind["parts"]["all"]["rotation"]["score"]["blind_r2_flat"]
    chance = blind["retrieval"]["chance_mrr"], blind["retrieval"]["chance_hits"]["1"]
    text = "\n".join(
        [
            f"{len(seeds)} seeds; {first['objects'][0]:,} training objects, "
            f"{first['objects'][1]:,} held out, {first['views']} views of {first['size_px']} px; "
            f"{budget['steps']} steps of {budget['batch_size']} pairs. Mean ± standard deviation. "
            f"Answering the mean has rotation R² {level:.3f}, the largest class top-1 "
            f"{blind['parts']['all']['classification']['majority']:.3f}, chance MRR "
            f"{chance[0]:.3f} and H@1 {chance[1]:.3f}, a copy of the source PRE "
            f"{blind['pre']['copy']:.3f}.",
            "",
            *_table(seeds),
            "",
            "Claims, from differences seed by seed with Student's 95 % interval:",
            "",
            *sentences(seeds),
            "",
        ]
    )
    write_atomically(results / "table.md", text.encode())
    write_atomically(results / "curves.svg", curves(seeds).encode())
    return text


def _table(seeds: Seeds) -> list[str]:
    columns: dict[str, Callable[[Record], float]] = {
        "top-1": top1,
        "rotation R²": rotation,
        "invariant half": lambda r: rotation(r, "invariant"),
        "equivariant half": lambda r: rotation(r, "equivariant"),
        "color R²": color,
        "MRR": lambda r: r["measures"]["retrieval"]["mrr"],
        "H@1": lambda r: r["measures"]["retrieval"]["hits"]["1"],
        "PRE": lambda r: r["measures"]["pre"]["pre"],
        "sensitivity": lambda r: r["sensitivity"],
    }
    lines = ["| method | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row, (title, _) in ROWS.items():
        cells = [_cell([rows[row] for rows in seeds], read) for read in columns.values()]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


def _cell(records: list[Record], read: Callable[[Record], float]) -> str:
    try:
        values = [read(record) for record in records]
        spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        return f"{fmean(values):.3f}{spread}"
    except (KeyError, TypeError):  # of a method without this part or without an action
        return "–"


def curves(seeds: Seeds) -> str:
    """Linear scores on held-out objects while training, as SVG: means, bands of ± deviation.

    Args:
        seeds: Records by row, of each seed.
    """
    panels: dict[str, dict[str, Line]] = {}
    for panel, key in (("class", "probe/top1"), ("rotation of one view", "probe/rotation_r2")):
        lines = {}
        for row in _CURVES:
            steps = [c["step"] for c in seeds[0][row]["curve"]]
            values = np.array([[c[key] for c in rows[row]["curve"]] for rows in seeds])
            mean = values.mean(0)
            spread = values.std(0, ddof=1) if len(seeds) > 1 else 0 * mean
            lines[ROWS[row][0]] = Line(np.array(steps, float), mean, mean - spread, mean + spread)
        panels[panel] = lines
    return plot(panels, xlabel="step", ylabels=["top-1", "R², linear"])
