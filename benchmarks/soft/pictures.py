"""Curves of the study on moments of inertia: errors and levels against how far it is broken."""

from __future__ import annotations

from typing import Any

import numpy as np

from equivariant.report.figures import Line, plot

AMOUNTS = {"none": 0.0, "axis 0.3": 0.3, "axis 0.9": 0.9, "axis -1": 1.0}
METHODS = ("scale-free", "projection", "emlp", "mlp")
SOFT = ("scale-free", "projection")


def inertia_picture(rows: dict[str, Any]) -> str:
    """SVG of two panels: test errors of all methods, and levels of the two soft ones.

    Bands are one standard deviation over seeds; levels are those of the groups that are exact in
    the data and the smallest of those that are broken.

    Args:
        rows: Entries of the summary by ``"inertia, axis 0.3 | scale-free"``.
    """
    errors = {method: _errors(rows, method) for method in METHODS}
    levels: dict[str, Line] = {}
    for method in SOFT:
        levels |= _levels(rows, method)
    return plot(
        {"test error": errors, "levels": levels},
        xlabel="|ε|, how far O(3) is broken", ylabels=["squared error / variance", "level"],
        log_y=True,
    )  # fmt: skip


def _entries(rows: dict[str, Any], method: str) -> list[tuple[float, dict[str, Any]]]:
    named = ((x, rows.get(f"inertia, {name} | {method}")) for name, x in AMOUNTS.items())
    return [(x, entry) for x, entry in named if entry is not None]


def _errors(rows: dict[str, Any], method: str) -> Line:
    found = _entries(rows, method)
    mean = np.array([entry["test"]["mean"] for _, entry in found])
    spread = np.array([entry["test"]["deviation"] or 0.0 for _, entry in found])
    return Line(np.array([x for x, _ in found]), mean, mean - spread, mean + spread)


def _levels(rows: dict[str, Any], method: str) -> dict[str, Line]:
    kinds: dict[str, list[tuple[float, float]]] = {"exact": [], "broken": []}
    for x, entry in _entries(rows, method):
        of = {g: level["level"] for g, level in entry["levels"].items()}
        exact = [level for group, level in of.items() if group in entry["exact"]]
        broken = [level for group, level in of.items() if group not in entry["exact"]]
        kinds["exact"].append((x, max(exact)))
        if broken:
            kinds["broken"].append((x, min(broken)))
    return {
        f"{method}, {kind} groups": Line(*np.array(points).T, dashed=kind == "broken")
        for kind, points in kinds.items()
    }
