"""Sums up the trainings of the study: means over seeds, levels, and what was identified."""

from __future__ import annotations

from collections import defaultdict
from statistics import mean, stdev
from typing import Any

import torch

from datasets3d.synthetic import cosine_task, distance_task, inertia_task
from equivariant.regularizers.levels import levels_of_tables

TOLERANCE = 1e-3


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One entry per task, breaking and method.

    A symmetry is identified in a seed where every candidate that is exact in the data has a lower
    level than every one that is not.
    """
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        amount = f" {row['breaking']:g}" if row["broken"] != "none" else ""
        groups[f"{row['task']}, {row['broken']}{amount} | {row['method']}"].append(row)
    found: dict[str, Any] = {}
    for key, own in groups.items():
        entry: dict[str, Any] = {"seeds": len(own), "steps": own[0]["steps"]}
        for name in ("train", "test", "shifted"):
            entry[name] = _mean([row["mse"][name] for row in own])
        entry["seconds"] = _mean([row["seconds"] for row in own])
        entry["exact"] = own[0]["exact"]
        entry["equivariance"] = {
            group: _mean([row["equivariance"][group] for row in own])
            for group in own[0]["equivariance"]
        }
        if "layers" in own[0]:
            names = _candidates(own[0]["task"])
            tables = [torch.tensor(row["layers"], dtype=torch.float64) for row in own]
            levels = levels_of_tables(tables, names, tolerance=TOLERANCE, confidence=0.95)
            entry["levels"] = levels.as_dict()
            entry["identified"] = sum(_identified(row) for row in own)
        found[key] = entry
    return {"tolerance": TOLERANCE, "rows": found}


def _candidates(task: str) -> list[str]:
    """Names of a task's candidates in the order of the columns of levels."""
    make: Any = {"inertia": inertia_task, "cosine": cosine_task, "distance": distance_task}[task]
    return list(make(1, seed=0).candidates)


def _identified(row: dict[str, Any]) -> bool:
    levels = {name: level["level"] for name, level in row["levels"].items()}
    exact = [levels[name] for name in row["exact"]]
    broken = [level for name, level in levels.items() if name not in row["exact"]]
    if not broken:  # nothing is broken: no level stands out by more than an order of magnitude
        return max(exact) < 10 * min(exact)
    return max(exact) < min(broken)


def _mean(values: list[float]) -> dict[str, float | None]:
    spread = stdev(values) if len(values) > 1 else None
    return {"mean": mean(values), "deviation": spread}


def markdown(found: dict[str, Any]) -> str:
    """Two tables: errors, and levels."""
    lines = [
        "| task, broken by | method | seeds | test error | shifted | equivariance error, exact "
        "groups | broken groups | s |", "|---|---|--:|--:|--:|--:|--:|--:|",
    ]  # fmt: skip
    for key, entry in found["rows"].items():
        task, method = key.split(" | ")
        exact = [v["mean"] for g, v in entry["equivariance"].items() if g in entry["exact"]]
        broken = [v["mean"] for g, v in entry["equivariance"].items() if g not in entry["exact"]]
        lines.append(
            f"| {task} | {method} | {entry['seeds']} | {_said(entry['test'])} | "
            f"{_said(entry['shifted'])} | {mean(exact):.1e} | "
            f"{f'{mean(broken):.1e}' if broken else ''} | {entry['seconds']['mean']:.0f} |"
        )
    head = "| task, broken by | method | exact groups' level | broken groups' | identified |"
    lines += ["", head, "|---|---|--:|--:|--:|"]
    for key, entry in found["rows"].items():
        if "levels" in entry:
            task, method = key.split(" | ")
            exact = [v["level"] for g, v in entry["levels"].items() if g in entry["exact"]]
            broken = [v["level"] for g, v in entry["levels"].items() if g not in entry["exact"]]
            lines.append(
                f"| {task} | {method} | {max(exact):.1e} | "
                f"{f'{min(broken):.1e}' if broken else ''} | "
                f"{entry['identified']} of {entry['seeds']} |"
            )
    return "\n".join(lines)


def _said(value: dict[str, float | None]) -> str:
    if value["deviation"] is None:
        return f"{value['mean']:.4f}"
    return f"{value['mean']:.4f} ± {value['deviation']:.4f}"
