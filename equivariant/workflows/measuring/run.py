"""Measure the action of a trained run on held-out pairs whose inputs a renderer has moved."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from equivariant.actions import DirectSum, Trivial
from equivariant.errors import ConventionError
from equivariant.measure import Estimate, PairError, estimate_mean, group_law_error, pair_error
from equivariant.report import Line, Picture, Section, Table, plot, write_page
from equivariant.runs import RunFolder, write_atomically, write_json
from equivariant.workflows.provenance import computed_with

ANGLE_BINS_DEG = (0.0, 30.0, 60.0, 90.0, 120.0, 150.0, 180.0)
_RANGE = (0.0, 2.0)  # of relative errors
_SERIES = {"moved": "relative", "unmoved": "unmoved", "unrelated": "shuffled"}
_LAW_ROWS, _LAW_SAMPLES = 256, 16


@dataclass(frozen=True)
class HeldOutPairs:
    """Held-out pairs as the model of a run sees them: g is known to take a to b.

    Args:
        title: Of the run.
        z_a: Embeddings of the first views, shape (pairs, dim).
        z_b: Of the second ones.
        g: Elements, as the action takes them.
        objects: Which object a pair shows, shape (pairs,); the next pair shows another one, from
            which unrelated embeddings are taken.
        angle_deg: Between the two views, shape (pairs,).
        action: An invariant and an equivariant part, in this order; None for a run without one.
        fingerprint: Of the weights, the data and the settings.
    """

    title: str
    z_a: Tensor
    z_b: Tensor
    g: Tensor
    objects: Tensor
    angle_deg: Tensor
    action: DirectSum | None
    fingerprint: dict[str, Any]


@dataclass(frozen=True)
class MeasuredRun:
    """Errors on held-out pairs, with intervals over objects.

    Args:
        title: Of the run.
        parts: By part of the embedding: ``moved`` (by the action), ``unmoved``, ``unrelated``
            (another object), and ``gain``, unmoved minus moved, paired.
        curves: By part and series, (angle in degrees, error) in bins of the angle.
        law: How far the action is from being one, by name; empty without an action.
        pairs: Number of pairs.
        objects: Number of objects.
        fingerprint: Of the weights, the data and the settings.
    """

    title: str
    parts: dict[str, dict[str, Estimate]]
    curves: dict[str, dict[str, list[tuple[float, Estimate]]]]
    law: dict[str, float]
    pairs: int
    objects: int
    fingerprint: dict[str, Any]


def measure_run(pairs: HeldOutPairs) -> MeasuredRun:
    """Measure every part of a run's embedding on held-out pairs.

    The invariant part of a split embedding, and the whole of one without an action, are compared
    as they are; the equivariant part is moved by the run's own action.

    Args:
        pairs: As the run's model sees them.

    Raises:
        ConventionError: There are fewer than two held-out objects.
    """
    objects = len(pairs.objects.unique())
    if objects < 2:
        raise ConventionError(
            expected="at least two held-out objects", got=str(objects), argument="run",
            advice="Intervals are over objects: build a larger data set.",
        )  # fmt: skip
    errors = _errors(pairs)
    angle = pairs.angle_deg.cpu()
    return MeasuredRun(
        title=pairs.title,
        parts={name: _estimates(error, pairs.objects) for name, error in errors.items()},
        curves={name: _curves(error, pairs.objects, angle) for name, error in errors.items()},
        law={} if pairs.action is None else _group_law_errors(pairs.action, pairs.z_a),
        pairs=len(pairs.objects),
        objects=objects,
        fingerprint=pairs.fingerprint,
    )


def _errors(pairs: HeldOutPairs) -> dict[str, PairError]:
    """Errors of the pairs, by part of the embedding."""
    if pairs.action is None:
        return {"embedding": _invariance(pairs.z_a, pairs.z_b)}
    parts = list(zip(pairs.action.summands, pairs.action.slices, strict=True))
    names = ("invariant", "equivariant")[-len(parts) :]
    return {
        name: pair_error(part, pairs.z_a[:, rows], pairs.z_b[:, rows], pairs.g)
        for name, (part, rows) in zip(names, parts, strict=True)
    }


def _group_law_errors(action: DirectSum, z: Tensor) -> dict[str, float]:
    """How far the equivariant part of an action is from the law of its group, by name."""
    rows, part = action.slices[-1], action.summands[-1]
    found = group_law_error(part, z[:, rows][:_LAW_ROWS].detach(), samples=_LAW_SAMPLES)
    return {
        "composition": float(found.composition.mean()),
        "composition, other order": float(found.reversed.mean()),
        "identity": float(found.identity.mean()),
        "inverse": float(found.inverse.mean()),
    }


def table(measured: MeasuredRun) -> Table:
    """A table with one row per part of the embedding."""
    rows = [
        [name, *(_cell(found[key]) for key in ("moved", "unmoved", "unrelated", "gain"))]
        for name, found in measured.parts.items()
    ]
    return Table(
        header=("part", "moved by the action", "not moved", "unrelated object", "gain, paired"),
        rows=rows,
        caption=f"2|ρ(g) z_a - z_b| / (|ρ(g) z_a| + |z_b|) on {measured.pairs} held-out pairs, "
        f"95 % intervals over {measured.objects} objects. The gain is not moved minus moved.",
    )


def group_law_table(measured: MeasuredRun) -> Table:
    """How far the action is from the law of its group."""
    rows = [[name, f"{value:.2e}"] for name, value in measured.law.items()]
    return Table(
        ("law", "relative error"), rows,
        "ρ(g)ρ(h)z against ρ(gh)z, ρ(1)z against z, ρ(g⁻¹)ρ(g)z against z; 0 for a group action.",
    )  # fmt: skip


def write_run_measurement(run: RunFolder, measured: MeasuredRun) -> None:
    """Write equivariance.json, figures/error_against_angle.svg and equivariance.html.

    Args:
        run: The run's folder.
        measured: What was found.
    """
    write_json(run.path / "equivariance.json", measured)
    svg = plot(
        {name: _lines(series) for name, series in measured.curves.items()},
        xlabel="angle between the views, degrees",
        ylabels=["relative error"] * len(measured.curves),
    )
    write_atomically(run.path / "figures" / "error_against_angle.svg", svg.encode())
    items: list[Table | Picture] = [table(measured)]
    if measured.law:
        items.append(group_law_table(measured))
    caption = "Bands are 95 % intervals over objects. Below 'not moved', the action helps."
    write_page(
        run.path / "equivariance.html",
        title=f"Equivariance of {measured.title}",
        lead="Held-out views whose input was moved by rendering again.",
        sections=[
            Section("Errors", "How far the action is from explaining the pairs.", items),
            Section("Error against angle", "By how far the object turned.",
                    [Picture(svg, caption)]),
        ],
        footer=f"{computed_with(run)} Fingerprint: "
        f"{json.dumps(measured.fingerprint, sort_keys=True)}.",
    )  # fmt: skip


def _cell(e: Estimate) -> str:
    """A value with its interval."""
    return f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]"


def _invariance(z_a: Tensor, z_b: Tensor) -> PairError:
    """Errors of embeddings that are to stay as they are."""
    identity = torch.eye(1, dtype=z_a.dtype, device=z_a.device).expand(len(z_a), 1, 1)
    return pair_error(Trivial(z_a.shape[1]), z_a, z_b, identity)


def _estimates(error: PairError, objects: Tensor) -> dict[str, Estimate]:
    """Means with intervals of the errors of one part, by series."""
    found = {
        name: _clustered(getattr(error, key), objects, limits=_RANGE)
        for name, key in _SERIES.items()
    }
    found["gain"] = _clustered(error.unmoved - error.relative, objects)
    return found


def _clustered(
    values: Tensor, objects: Tensor, limits: tuple[float, float] = (-math.inf, math.inf)
) -> Estimate:
    """Mean over pairs, resampling objects; objects may have different numbers of pairs."""
    rows = objects.cpu().unique(return_inverse=True)[1]
    counts = torch.bincount(rows)
    width = int(counts.max())
    place = torch.cat([torch.arange(int(c)) for c in counts])
    order = rows.argsort(stable=True)
    table = torch.zeros(len(counts), width, dtype=torch.float64)
    weights = torch.zeros_like(table)
    table[rows[order], place] = values.double().cpu()[order]
    weights[rows[order], place] = 1.0
    return estimate_mean(table, weights=weights, limits=limits)


def _curves(
    error: PairError, objects: Tensor, angle: Tensor
) -> dict[str, list[tuple[float, Estimate]]]:
    """Errors of one part in bins of the angle, by series; bins with few objects are left out."""
    curves: dict[str, list[tuple[float, Estimate]]] = {name: [] for name in _SERIES}
    for low, high in pairwise(ANGLE_BINS_DEG):
        inside = (angle >= low) & (angle < high)
        if len(objects.cpu()[inside].unique()) < 5:
            continue
        for name, key in _SERIES.items():
            values = getattr(error, key).cpu()[inside]
            estimate = _clustered(values, objects.cpu()[inside], limits=_RANGE)
            curves[name].append((float(angle[inside].mean()), estimate))
    return curves


def _lines(series: dict[str, list[tuple[float, Estimate]]]) -> dict[str, Line]:
    """The series of one part as lines of a plot."""
    labels = {
        "moved": "moved by the action", "unmoved": "not moved", "unrelated": "unrelated object"
    }  # fmt: skip
    lines = {}
    for name, points in series.items():
        values: Any = [(x, e.value, e.low, e.high) for x, e in points]
        x, y, low, high = np.array(values, dtype=np.float64).reshape(-1, 4).T
        lines[labels[name]] = Line(x, y, low, high, dashed=name == "unrelated")
    return lines
