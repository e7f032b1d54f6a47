"""The page of one or several runs: pictures first, numbers beside their levels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from equivariant.errors import ConventionError
from equivariant.recipes.sie_3diebench.models import Trained
from equivariant.recipes.sie_3diebench.protocol import Encoded, elements_from_source
from equivariant.report import Line, Picture, Section, Table, grid, plot, write_page
from equivariant.runs import RunFolder, read_json
from equivariant.training import read_metrics
from equivariant.workflows.provenance import computed_with

HEADER = (
    "method", "top-1", "rotation R² flat", "rotation R²", "median angle",
    "color R²", "MRR", "H@1", "H@5", "PRE",
)  # fmt: skip


@dataclass(frozen=True)
class EncodedRun:
    """A run with its model applied to the held-out views, for pictures.

    Args:
        run: Folder with metrics and measures.
        trained: The model.
        val: Held-out views as it sees them.
        title: What the run is called in tables and figures, none like another.
        size_px: Side that views are resized to; None keeps the files' size.
    """

    run: RunFolder
    trained: Trained
    val: Encoded
    title: str
    size_px: int | None = None

    def view(self, index: int, view: int) -> NDArray[np.uint8]:
        """One held-out view, shape (height, width, 3)."""
        image = self.val.data.sized_image(index, view, size_px=self.size_px)
        return np.ascontiguousarray(np.moveaxis(image, 0, -1))


def results_table(measures: Sequence[dict[str, Any]]) -> Table:
    """One row per run and, below, the levels that a blind or random answer reaches."""
    rows = [_row(m["title"], m) for m in measures]
    first = measures[0]["parts"]["all"]
    rotation = first["rotation"]
    ranks = next((m["retrieval"] for m in measures if "retrieval" in m), None)
    pre = next((m["pre"]["random"] for m in measures if "pre" in m), None)
    chance = ["chance or blind", _share(first["classification"]["majority"])]
    chance += [_number(rotation["score"]["blind_r2_flat"]), _number(0.0)]
    chance += [f"{rotation['blind_median_deg']:.0f}°", _number(0.0)]
    if ranks is None:
        chance += ["-", "-", "-"]
    else:
        hits = ranks["chance_hits"]
        chance += [_number(ranks["chance_mrr"]), _share(_at(hits, 1)), _share(_at(hits, 5))]
    chance.append("-" if pre is None else _number(pre))
    return Table(
        header=HEADER,
        rows=[*rows, chance],
        caption="Heads trained on frozen representations, scored on objects never seen. Flat R² "
        "is the published definition and is not zero for a blind predictor; the other R² is. "
        "Top-1 of a split method is that of its whole representation, rotation likewise. MRR, "
        "H@k: rank of the true view among the views of its object when the action predicts it. "
        "PRE: sin² of half the angle to the nearest image's pose, lower is better.",
        references=[len(rows)],
    )


def parts_table(measures: Sequence[dict[str, Any]]) -> Table:
    """Scores of every part of each representation: which half knows class, rotation, color."""
    rows = []
    for m in measures:
        for name, part in m["parts"].items():
            rows.append(
                [
                    f"{m['title']}: {name}",
                    _share(part["classification"]["top1"]),
                    _number(part["rotation"]["score"]["r2"]),
                    _number(part["color"]["r2"]),
                    f"{part['collapse']['effective_rank']:.1f}",
                ]
            )
    return Table(
        header=("representation", "top-1", "rotation R²", "color R²", "effective rank"),
        rows=rows,
        caption="Each half of a split representation by itself.",
    )


def write_report(
    path: Path, runs: Sequence[EncodedRun], *, title: str, lead: str, sheet: bytes | None = None
) -> None:
    """Write the page of several runs on one data set.

    Args:
        path: Of the HTML file.
        runs: The runs; the last with an action is shown in the pictures.
        title: Of the page.
        lead: One or two sentences.
        sheet: PNG of the data set's contact sheet.
    """
    measures = [{**read_json(s.run.path / "measures.json"), "title": s.title} for s in runs]
    sections = [
        Section("Results", "What each method's representation knows.", [results_table(measures)])
    ]
    if sheet is not None:
        caption = "A row per class: different objects, floor, light and rotation in every view."
        text = "Views whose rotation, floor hue, light position and light hue are all recorded."
        sections.append(Section("The data", text, [Picture(sheet, caption)]))
    sections.append(_curves(runs))
    shown = next((s for s in reversed(runs) if s.trained.action is not None), None)
    if shown is not None:
        text = (
            f"Queries on the left, their nearest neighbours among other objects on the right, "
            f"by each half of the representation of: {shown.title}."
        )
        sections.append(Section("What the halves see", text, neighbours(shown)))
        text = (
            "The first view is moved by the action to the rotation of the second; the views of "
            "the object are ranked by their likeness to the prediction. The true one is framed."
        )
        sections.append(Section("Predicted views", text, [predicted_views(shown)]))
    split = [(s, m) for s, m in zip(runs, measures, strict=True) if "action" in m]
    if split:
        text = (
            "How far the moved embedding of the first view is from that of the second, against "
            "the angle between them. The action helps where its line lies below the other two."
        )
        sections.append(Section("Error against rotation angle", text, [_error_curves(split)]))
        sections.append(Section("The halves in numbers", "", [parts_table(measures)]))
    write_page(path, title=title, lead=lead, sections=sections, footer=_footer(runs, measures))


def neighbours(run: EncodedRun, *, queries: int = 6, count: int = 6) -> list[Picture]:
    """Nearest views of other objects by each half, at most one view per object."""
    generator = torch.Generator().manual_seed(0)
    objects = len(run.val.data)
    chosen = torch.randperm(objects, generator=generator)[:queries].tolist()
    pictures = []
    for name, rows in run.trained.model.slices.items():
        y = normalize(run.val.y[..., rows], dim=-1).cpu()
        lines = []
        for query in chosen:
            likeness = (y @ y[query, 0]).clone()
            likeness[query] = -torch.inf
            best, view = likeness.max(1)
            order = best.topk(min(count, objects - 1)).indices.tolist()
            line = [run.view(query, 0)]
            lines.append(line + [run.view(o, int(view[o])) for o in order])
        caption = {
            "invariant": "Invariant half: the same kind of object is wanted, in any rotation.",
            "equivariant": "Equivariant half: the same rotation is wanted, of any object.",
        }.get(name, name)
        names = ["query", *[""] * (len(lines[0]) - 1)]
        sheet = grid(lines, names=names, gap_after=1, scale=_scale(lines[0][0]))
        pictures.append(Picture(sheet, caption))
    return pictures


def predicted_views(run: EncodedRun, *, queries: int = 6, count: int = 5) -> Picture:
    """The views that the action predicts best, the true one framed."""
    action = run.trained.action
    if action is None:
        raise ConventionError(
            expected="a run with an action", got=run.title, argument="run",
            advice="Invariant baselines predict no view.",
        )  # fmt: skip
    z = run.val.z[..., action.slices[-1]]
    elements = elements_from_source(run.trained, run.val)
    with torch.no_grad():
        predicted = action.summands[-1](elements, z[:, :1])
    likeness = (normalize(predicted, dim=-1) @ normalize(z, dim=-1).mT).cpu()
    generator = torch.Generator().manual_seed(1)
    objects, views = len(run.val.data), run.val.data.views
    chosen = torch.randperm(objects, generator=generator)[:queries].tolist()
    rows, marks = [], []
    for k, o in enumerate(chosen):
        target = 1 + k % (views - 1)
        order = likeness[o, target].topk(min(count, views)).indices.tolist()
        rows.append([run.view(o, v) for v in (0, target, *order)])
        marks.append([False, False, *[v == target for v in order]])
    names = ["source", "wanted", *[str(k + 1) for k in range(len(rows[0]) - 2)]]
    caption = f"Rank among the {views} views of the object; the source itself is a candidate."
    scale = _scale(rows[0][0])
    return Picture(grid(rows, names=names, marked=marks, gap_after=2, scale=scale), caption)


def _curves(runs: Sequence[EncodedRun]) -> Section:
    """The section on training: loss, and probes on held-out objects, against steps."""
    panels: dict[str, dict[str, Line]] = {"class, held out": {}, "rotation, held out": {}}
    loss: dict[str, dict[str, Line]] = {}
    for s in runs:
        lines = read_metrics(s.run.metrics)
        name = s.title
        for title, key in (("class, held out", "top1"), ("rotation, held out", "rotation_r2")):
            points = [(m["step"], m[f"probe/{key}"]) for m in lines if f"probe/{key}" in m]
            if points:
                panels[title][name] = _line(points)
        points = [(m["step"], m["total"]) for m in lines if "total" in m]
        if points:
            first = abs(points[0][1]) or 1.0
            relative = [(step, value / first) for step, value in points]
            loss.setdefault("loss, relative to its start", {})[name] = _line(relative)
    drawn = {**loss, **{title: lines for title, lines in panels.items() if lines}}
    if not drawn:
        return Section("Training", "No method was trained.")
    labels = {"class, held out": "top-1", "rotation, held out": "R² of the pose matrix"}
    svg = plot(drawn, xlabel="step", ylabels=[labels.get(t, "loss") for t in drawn])
    text = "Loss, and linear probes of single views on objects never seen, while training."
    caption = "Ridge regressions on frozen representations; a blind predictor of rotation has 0."
    return Section("Training", text, [Picture(svg, caption)])


def _error_curves(split: Sequence[tuple[EncodedRun, dict[str, Any]]]) -> Picture:
    """Errors of several runs against the angle between the views."""
    panels = {}
    for s, m in split:
        curve = m["action"]["error_by_angle"]
        x = np.array([c["angle_deg"] for c in curve])
        panels[s.title] = {
            "moved by the action": Line(x, np.array([c["moved"] for c in curve])),
            "not moved": Line(x, np.array([c["unmoved"] for c in curve])),
            "unrelated object": Line(x, np.array([c["unrelated"] for c in curve]), dashed=True),
        }
    svg = plot(
        panels, xlabel="angle between the views, degrees", ylabels=["relative error"] * len(panels)
    )
    caption = "|ρ(g) z_a - z_b| over the mean of the two lengths, on held-out objects."
    return Picture(svg, caption)


def _scale(image: NDArray[np.uint8]) -> int:
    """Whole-number magnification that shows a view at 96 pixels or a little less."""
    return max(1, 96 // int(image.shape[0]))


def _row(name: str, m: dict[str, Any]) -> list[str]:
    """The row of one run in the table of results."""
    part = m["parts"]["all"]
    rotation = part["rotation"]
    cells = [name, _share(part["classification"]["top1"])]
    cells += [_number(rotation["score"]["r2_flat"]), _number(rotation["score"]["r2"])]
    cells += [f"{rotation['median_deg']:.0f}°", _number(part["color"]["r2"])]
    if "retrieval" not in m:
        return [*cells, "-", "-", "-", "-"]
    ranks = m["retrieval"]
    cells += [_number(ranks["mrr"]), _share(_at(ranks["hits"], 1)), _share(_at(ranks["hits"], 5))]
    return [*cells, _number(m["pre"]["pre"])]


def _at(hits: dict[Any, float], k: int) -> float:
    """Hits at k, whose keys are numbers in memory and strings in a file."""
    return hits[k] if k in hits else hits[str(k)]


def _number(value: float | None) -> str:
    """A number with three decimals, a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


def _share(value: float) -> str:
    """A share in percent."""
    return f"{100 * value:.1f} %"


def _line(points: Sequence[tuple[int, float]]) -> Line:
    """A line of a plot from points."""
    x, y = zip(*points, strict=True)
    return Line(np.array(x, dtype=np.float64), np.array(y, dtype=np.float64))


def _footer(runs: Sequence[EncodedRun], measures: Sequence[dict[str, Any]]) -> str:
    """Versions, fingerprints of data and weights, and settings: what the page was computed from."""
    prints = [m["fingerprint"] for m in measures]
    data = ", ".join(f"{name} {value}" for name, value in sorted(prints[0]["data"].items()))
    weights = "; ".join(
        f"{s.title} {found['weights']}" for s, found in zip(runs, prints, strict=True)
    )
    settings = json.dumps(prints[0]["settings"], sort_keys=True)
    return (
        f"{computed_with(runs[0].run)} Fingerprints of the data: {data}; "
        f"of the weights: {weights}. Evaluated with {settings}."
    )
