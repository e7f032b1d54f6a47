"""The page, the figures and the JSON of one measurement."""

from __future__ import annotations

from typing import Any

from equivariant.report import Picture, Section, Table, write_page
from equivariant.report.equivariance import (
    curve_picture,
    equivariance_table,
    findings_section,
    layer_map,
    local_estimates,
    local_table,
    metrics_table,
    precision_table,
    special_table,
    spectra_map,
    spectra_table,
    symmetries_table,
)
from equivariant.runs import RunFolder, write_atomically, write_json
from equivariant.workflows.measuring.model import Measured
from equivariant.workflows.provenance import computed_with


def sections(measured: Measured) -> list[Section]:
    """The sections of the page about one measurement, in the order in which they are read.

    Args:
        measured: Of :func:`measure_model`.
    """
    found = [*_global(measured), *_worst(measured), *_local(measured), *_symmetrized(measured)]
    found += _fitted(measured)
    if measured.notes:
        found.append(Section("Not measured", " ".join(measured.notes)))
    return found


def write_measurement(run: RunFolder, measured: Measured) -> None:
    """Write measures.json, figures/*.svg and report.html into a run folder.

    Args:
        run: The folder.
        measured: What was found.
    """
    write_json(run.path / "measures.json", numbers(measured))
    parts = sections(measured)
    for section in parts:
        for item in section.items:
            if isinstance(item, Picture) and isinstance(item.data, str):
                name = section.title.lower().replace(" ", "_")
                write_atomically(run.path / "figures" / f"{name}.svg", item.data.encode())
    config = measured.config
    write_page(
        run.path / "report.html",
        title=f"Equivariance of {config.model}",
        lead=f"{config.items} inputs under {measured.group}, in {config.dtype} on {config.device}.",
        sections=parts,
        footer=computed_with(run),
    )


def numbers(measured: Measured) -> dict[str, Any]:
    """Everything that was found, for JSON."""
    found: dict[str, Any] = {"config": measured.config, "notes": list(measured.notes)}
    if measured.report is not None:
        found["error"] = measured.report.to_dict()
    if measured.diagnosis is not None:
        d = measured.diagnosis
        found["diagnosis"] = {
            "verdict": d.verdict.value, "floor": d.floor, "findings": list(d.findings),
            "caveats": [str(caveat) for caveat in d.caveats],
        }  # fmt: skip
    if measured.split is not None:
        found["float64"] = {
            output: {
                "error": measured.split.true.estimate(output=output),
                "rounding": measured.split.rounding[output],
            }
            for output in measured.split.true.outputs
        }
    if measured.local is not None:
        found["local"] = local_estimates(measured.local)
        found["gram"] = measured.local.overall.gram.tolist()
    if measured.symmetries is not None:
        s = measured.symmetries
        found["symmetries"] = {
            "eigenvalues": s.eigenvalues.tolist(), "directions": s.directions.tolist(),
            "dimension": s.dimension(), "closure": s.closure(),
        }  # fmt: skip
    if measured.attributions:
        found["layers"] = {
            name: {"by_layer": a.by_layer(), "glue": a.glue, "shares": a.shares}
            for name, a in measured.attributions.items()
        }
    if measured.worst is not None:
        w = measured.worst
        found["worst_case"] = {
            "errors": w.errors.tolist(), "drawn": w.drawn.tolist(),
            "elements": w.elements.tolist(), "draws": w.draws,
        }  # fmt: skip
    if measured.share is not None:
        found["loss_share"] = measured.share
    if measured.spectra:
        found["spectra"] = {name: s.to_dict() for name, s in measured.spectra.items()}
    if measured.fitted is not None:
        found["fitted"] = _fitted_numbers(measured)
    return found


def _global(measured: Measured) -> list[Section]:
    """Sections on errors over drawn elements: verdict, tables, curve, other metrics."""
    if measured.report is None or measured.diagnosis is None:
        return []
    name = measured.config.model.rpartition(":")[2]
    report, output = measured.report, measured.diagnosis.output
    tables: list[Table | Picture] = [equivariance_table({name: report}), special_table(report)]
    if measured.split is not None:
        tables.append(precision_table({name: measured.split}))
    found = [
        findings_section(measured.diagnosis),
        Section("Errors over drawn elements", f"{report.group}, {report.calls} calls.", tables),
    ]
    picture = curve_picture({name: report})
    if picture is not None:
        text = "How the error grows with the distance of the element from the identity."
        found.append(Section("Error against distance", text, [picture]))
    text = f"The output {output!r} in other tools' numbers." if output else "In other tools' words."
    return [*found, Section("Published metrics", text, [metrics_table(report, output)])]


def _worst(measured: Measured) -> list[Section]:
    """The section on the element with the largest error that a search found."""
    if measured.worst is None:
        return []
    k = int(measured.worst.errors.argmax())
    rows = [[f"{value:+.4f}" for value in row] for row in measured.worst.elements[k].tolist()]
    header = [f"column {c + 1}" for c in range(len(rows))]
    caption = "The worst element that was found, as a matrix acting on columns."
    text = f"{measured.worst}.".capitalize()
    return [Section("Worst case", text, [Table(header, rows, caption)])]


def _local(measured: Measured) -> list[Section]:
    """Sections on derivatives along the generators and on layers."""
    found = []
    if measured.local is not None:
        floor = 1e-5 if measured.diagnosis is None else 3 * measured.diagnosis.floor.rounding
        items: list[Table | Picture] = [local_table(measured.local, floor=floor)]
        if measured.symmetries is not None:
            items.append(symmetries_table(measured.symmetries))
        text = "Derivatives along the generators: where they vanish the map has a symmetry."
        for caveat in measured.local.caveats:
            text += f" {str(caveat).capitalize()}."
        overall, forward = measured.local.overall, measured.local.method == "forward"
        if forward and float(overall.lee.max()) > floor**2 * overall.scale:
            text += (
                " Forward mode and central differences disagree by "
                f"{measured.local.disagreement:.0e}."
            )
        found.append(Section("Generators", text, items))
    if measured.attributions:
        text = "Where in the model the error comes from, along each generator."
        found.append(Section("Layers", text, [layer_map(measured.attributions)]))
    return found


def _symmetrized(measured: Measured) -> list[Section]:
    """Sections on what averages over the group say."""
    found = []
    if measured.share is not None:
        text = f"{measured.share}. Averages of predictions over {measured.group} keep the rest."
        found.append(Section("Share of the loss", text))
    if measured.spectra:
        text = f"Which irreps of {measured.group} the features of every layer are made of."
        pair = (spectra_table(measured.spectra), spectra_map(measured.spectra))
        found.append(Section("Degrees of the features", text, pair))
    return found


def _fitted(measured: Measured) -> list[Section]:
    """The section on a linear action that was found from data."""
    if measured.fitted is None:
        return []
    rows = [[name, f"{value:.3g}"] for name, value in _fitted_numbers(measured).items()]
    table = Table(
        ("", "value"), rows, "R² on inputs that were not fitted; the null pairs them at random."
    )
    return [Section("Fitted action", "A linear action found from pairs (f(x), f(g·x)).", [table])]


def _fitted_numbers(measured: Measured) -> dict[str, float]:
    """How well a fitted action explains the data, and how far it is from a group action."""
    f = measured.fitted
    if f is None:
        return {}
    return {
        "held-out R², worst element": float(f.r2.min()),
        "the same for permuted pairs": float(f.null.max()),
        "homomorphism |M_g M_h - M_gh| / |M_gh|": float(f.homomorphism.max()),
        "bracket residual of the generators": f.bracket,
        "exp of the generators against M": float(f.exponential.max()),
        "rank of the features": float(f.rank),
    }  # fmt: skip
