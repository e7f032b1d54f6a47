"""Tables, figures and sections about equivariance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from equivariant.measure import (
    METRICS,
    Attribution,
    Diagnosis,
    EquivarianceReport,
    IrrepSpectrum,
    LocalReport,
    PrecisionSplit,
    Symmetries,
)
from equivariant.measure.error.statistics import Estimate, estimate_mean, holm, p_value_above
from equivariant.report.figures import Line, heat_map, plot
from equivariant.report.page import Picture, Section, Table

_SHOWN = ("relative", "normalized_mse", "per", "emlp", "escnn", "e3nn", "remul_1", "remul_2")


def equivariance_table(reports: Mapping[str, EquivarianceReport]) -> Table:
    """One row per map and output: mean with interval, quantiles, worst, largest, repeat, time."""
    rows = []
    for name, report in reports.items():
        for output, line in zip(report.outputs, report.lines(), strict=True):
            label = f"{name}: {output}" if output else name
            rows.append([label, report.dtype, *line[1:], f"{report.seconds:.2f}"])
    return Table(
        header=(
            "map", "dtype", "relative", "95 %", "median", "99 %", "worst", "max |l-r|", "repeat",
            "s",
        ),
        rows=rows,
        caption="Relative error 2|l-r|/(|l|+|r|) of l = f(g·x) and r = g·f(x): 0 is equivariant, "
        "2 the most. The interval is about the mean over inputs and elements; worst is the "
        "largest that was drawn; repeat is the difference of two evaluations at one input.",
    )  # fmt: skip


def metrics_table(report: EquivarianceReport, output: str) -> Table:
    """The same measurement in the numbers that other tools report."""
    rows = []
    for name in _SHOWN:
        found = METRICS[name]
        value = report.value(name, output=output)
        interval = "-"
        if found.reduce == "mean":
            e = report.estimate(name, output=output)
            interval = f"[{e.low:.1e}, {e.high:.1e}]"
        rows.append([name, f"{value:.2e}", interval, found.formula, found.source])
    return Table(
        header=("metric", "value", "95 %", "formula", "of"),
        rows=rows,
        caption="l = f(g·x), r = g·f(x); ⟨·⟩ is the mean over inputs and elements.",
        prose=True,
    )


def special_table(report: EquivarianceReport) -> Table:
    """Errors at the elements that are looked at besides the drawn ones."""
    rows = [
        [name, *(f"{found[output]:.1e}" for output in report.outputs)]
        for name, found in report.special.items()
    ]
    return Table(
        header=("element", *(output or "relative error" for output in report.outputs)),
        rows=rows,
        caption="Largest relative error over the inputs at elements where errors hide.",
    )


def curve_picture(
    reports: Mapping[str, EquivarianceReport], *, bins: int = 8, unit: str = ""
) -> Picture | None:
    """Error against distance from the identity, with bands; None where there is no distance."""
    lines: dict[str, Line] = {}
    for name, report in reports.items():
        for output in report.outputs:
            curve = report.curve(output=output, bins=bins)
            if curve is not None:
                lines[f"{name} {output}".strip()] = Line(
                    np.array(curve.radius),
                    np.array([e.value for e in curve.estimates]),
                    np.array([max(0.0, e.low) for e in curve.estimates]),
                    np.array([e.high for e in curve.estimates]),
                )
    if not lines:
        return None
    values = np.concatenate([line.y for line in lines.values()])
    positive = values[values > 0]
    wide = len(positive) > 1 and positive.max() > 100 * positive.min()
    svg = plot(
        {"error against distance": lines},
        xlabel=f"distance of g from the identity{', ' + unit if unit else ''}",
        ylabels=["relative error"],
        log_y=bool(wide and len(positive) == len(values)),
    )
    return Picture(
        svg, "Mean relative error by distance of the element; bands are 95 % intervals over inputs."
    )


def local_estimates(report: LocalReport) -> dict[str, Estimate]:
    """Local error E|L_X f|² per output entry in each direction, with its interval."""
    values = report.overall.squared / report.overall.entries
    limits = (0.0, math.inf)
    return {
        name: estimate_mean(values[:, k : k + 1], limits=limits)
        for k, name in enumerate(report.names)
    }


def local_table(report: LocalReport, *, floor: float = 1e-5) -> Table:
    """Error along each direction of the algebra, with p-values corrected for their number.

    Args:
        report: The derivatives.
        floor: Relative error that counts as none; its square is the level that is tested.
    """
    estimates = local_estimates(report)
    total = max(report.overall.scale / max(report.overall.entries, 1.0), 1e-300)
    corrected = holm([p_value_above(e, floor**2 * total) for e in estimates.values()])
    rows = [
        [name, f"{e.value:.2e}", f"[{max(0.0, e.low):.1e}, {e.high:.1e}]",
         f"{e.value / total:.1e}", f"{p:.1g}"]
        for (name, e), p in zip(estimates.items(), corrected, strict=True)
    ]  # fmt: skip
    return Table(
        header=("direction", "E|L f|²/d", "95 %", "/ (Var f / d)", "p, Holm"),
        rows=rows,
        caption="Lie derivative L_X f = d/dt g(-t)·f(g(t)·x) along each direction; p is the chance "
        "of such a mean if the direction were a symmetry, corrected for the number of directions.",
    )


def symmetries_table(found: Symmetries) -> Table:
    """Directions of the algebra from the best kept to the most broken."""
    rows = []
    for k in range(len(found.eigenvalues)):
        direction = " ".join(f"{c:+.2f}" for c in found.directions[k].tolist())
        rows.append([str(k + 1), f"{float(found.eigenvalues[k]):.2e}", direction])
    return Table(
        header=("", "E|L_X f|² / E|f - mean f|²", "direction X in coordinates"),
        rows=rows,
        caption=f"Eigen-directions of the Gram matrix of local errors: values near zero are "
        f"symmetries of the map ({found.dimension()} here).",
    )


def layer_map(attributions: Mapping[str, Attribution]) -> Picture:
    """What each layer adds to the error along each direction."""
    layers = list(dict.fromkeys(n for a in attributions.values() for n in a.by_layer()))
    values = np.array(
        [[a.by_layer().get(layer, np.nan) for a in attributions.values()] for layer in layers]
    )
    svg = heat_map(
        values, rows=layers, columns=list(attributions), title="what each layer adds",
        label="E|c|²",
    )  # fmt: skip
    return Picture(
        svg,
        "Mean square of each layer's contribution to the local error of the output. Squares do "
        "not add up: contributions may cancel.",
    )


def spectra_table(spectra: Mapping[str, IrrepSpectrum]) -> Table:
    """Shares of every degree in the features of layers, in percent with intervals."""
    degrees = max(len(found.shares) for found in spectra.values())
    rows = []
    for name, found in spectra.items():
        ends = zip(found.shares.tolist(), found.low.tolist(), found.high.tolist(), strict=True)
        cells = [f"{100 * a:.1f} [{100 * low:.1f}, {100 * high:.1f}]" for a, low, high in ends]
        cells += ["-"] * (degrees - len(cells))
        rows.append([name, *cells, f"{100 * found.beyond:.1f}"])
    return Table(
        header=("layer", *(f"degree {degree}" for degree in range(degrees)), "beyond"),
        rows=rows,
        caption="Percent of the squared features that move as each irreducible representation, "
        "with 95 % intervals over inputs. Degree 0 is invariant; an equivariant layer has nothing "
        "beyond its own degrees.",
    )


def spectra_map(spectra: Mapping[str, IrrepSpectrum]) -> Picture:
    """The same as colors: layers from the first to the output, degrees from left to right."""
    values = np.stack([np.append(f.shares.numpy(), f.beyond) for f in spectra.values()])
    columns = [*map(str, range(values.shape[1] - 1)), "beyond"]
    svg = heat_map(
        values, rows=list(spectra), columns=columns, title="degrees of the features",
        label="share",
    )  # fmt: skip
    return Picture(svg, "Share of each degree in the squared features of each layer.")


def precision_table(splits: Mapping[str, PrecisionSplit]) -> Table:
    """Errors as they are, in float64, and the difference."""
    rows = []
    for name, split in splits.items():
        for output in split.given.outputs:
            d = split.rounding[output].difference
            rows.append(
                [
                    f"{name} {output}".strip(), split.given.dtype,
                    f"{split.given.value(output=output):.2e}",
                    f"{split.true.value(output=output):.2e}",
                    f"{d.value:.1e} [{d.low:.1e}, {d.high:.1e}]",
                ]
            )  # fmt: skip
    return Table(
        header=("map", "dtype", "error", "in float64", "rounding"),
        rows=rows,
        caption="The same weights, inputs and elements in float64: what remains is the map's own "
        "error, the difference is rounding.",
    )


def findings_section(diagnosis: Diagnosis) -> Section:
    """The verdict, what speaks for each likely cause, and what limits it."""
    text = (
        f"{diagnosis.verdict.value.capitalize()}. Relative error "
        f"{diagnosis.report.estimate(output=diagnosis.output)}"
        f"; an ideal map in this dtype, with these actions, would show "
        f"{diagnosis.floor.value:.1e}."
    )
    if diagnosis.true is not None:
        text += (
            f" The same weights in float64, which decide: {diagnosis.true}, where an ideal map "
            f"would show at most {diagnosis.allowed:.1e}."
        )
    items: list[Table | Picture] = []
    if diagnosis.caveats:
        limits = [[caveat.concern.value, caveat.text] for caveat in diagnosis.caveats]
        items.append(Table(("caveat", "where"), limits, "What limits the verdict.", prose=True))
    if not diagnosis.findings:
        return Section("Verdict", text, items)
    rows = [[f.cause, f.evidence, f.advice] for f in diagnosis.findings]
    table = Table(("likely cause", "evidence", "what to do"), rows, "The surest first.", prose=True)
    return Section("Verdict", text, [table, *items])


def lines_of(items: Sequence[Table | Picture | Section]) -> str:
    """Tables among the items in plain text, for a terminal."""
    texts = []
    for item in items:
        if isinstance(item, Table):
            texts.append(item.text())
        elif isinstance(item, Section):
            texts.append(f"{item.title}: {item.text}")
            texts += [inner.text() for inner in item.items if isinstance(inner, Table)]
    return "\n\n".join(texts)
