"""Errors of a force field on molecules it has not seen, and its equivariance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from datasets3d import MoleculeGraphs, Molecules, read_molecules
from datasets3d.molecules.files import has_forces
from equivariant.actions import Points, Trivial, Vectors
from equivariant.errors import ConventionError, DataFormatError
from equivariant.groups import O3, Group
from equivariant.measure import EquivarianceReport, GraphMotion, equivariance_error
from equivariant.nn.force_field import Calibration, ForceField
from equivariant.report import Table
from equivariant.runs import RunFolder, file_digest, read_json, write_json


@dataclass(frozen=True)
class ForceFieldErrors:
    """Mean absolute and root mean square errors over a set.

    Args:
        molecules: Number of molecules.
        energy_mae_meV: Of total energies.
        energy_rmse_meV: The same.
        energy_mae_meV_per_atom: Of total energies by the number of atoms.
        energy_rmse_meV_per_atom: The same.
        relative_rmse_meV: Of energies whose mean error over the set is taken off: the error of
            differences, which is what a scan of a path asks for.
        forces_mae_meV_per_angstrom: Over all components; None where forces are not known.
        forces_rmse_meV_per_angstrom: The same.
    """

    molecules: int
    energy_mae_meV: float
    energy_rmse_meV: float
    energy_mae_meV_per_atom: float
    energy_rmse_meV_per_atom: float
    relative_rmse_meV: float
    forces_mae_meV_per_angstrom: float | None = None
    forces_rmse_meV_per_angstrom: float | None = None

    def numbers(self) -> dict[str, float]:
        """What is known, by name."""
        return {name: float(value) for name, value in asdict(self).items() if value is not None}


def force_field_errors(
    model: nn.Module, graphs: MoleculeGraphs, *, batch_size: int = 32
) -> ForceFieldErrors:
    """Compare energies, and forces where they are known.

    Args:
        model: A force field in evaluation mode.
        graphs: Molecules, at least one.
        batch_size: Molecules at a time.

    Raises:
        ConventionError: There is no molecule.
    """
    if not len(graphs):
        raise ConventionError(
            expected="at least one molecule", got="none", argument="graphs",
            advice="Evaluate on a set with molecules.",
        )  # fmt: skip
    device = next(model.parameters()).device
    energies: list[Tensor] = []
    forces: list[Tensor] = []
    for batch in graphs.batches(batch_size):
        found = model(batch.to(device).tensors())
        energies.append(found["energies_eV"].cpu() - batch.energies_eV)
        if batch.forces_eV_per_angstrom is not None:
            here = found["forces_eV_per_angstrom"].cpu()
            forces.append((here - batch.forces_eV_per_angstrom).double())
    error = 1000 * torch.cat(energies)
    per_atom = error / graphs.molecules.counts
    of_forces = 1000 * torch.cat(forces) if forces else None
    return ForceFieldErrors(
        len(graphs),
        _mae(error),
        _rmse(error),
        _mae(per_atom),
        _rmse(per_atom),
        _rmse(error - error.mean()),
        None if of_forces is None else _mae(of_forces),
        None if of_forces is None else _rmse(of_forces),
    )


def force_field_equivariance(
    model: nn.Module, graph: Mapping[str, Tensor], *, group: Group | None = None, samples: int = 8
) -> EquivarianceReport:
    """How far energies are from invariant and forces from moving with the molecule.

    Compared is the part of the energy that depends on positions; beside energies of atoms, which
    do not, every error would look small.

    Args:
        model: A force field in evaluation mode.
        graph: Molecules.
        group: Acts on positions; None takes O(3), rotations and reflections.
        samples: Elements per molecule.
    """
    acting = group or O3()

    def f(moved: dict[str, Tensor]) -> dict[str, Tensor]:
        found = model(moved)
        return {
            "energies": found["interaction_energies_eV"][:, None],
            "forces": found["forces_eV_per_angstrom"],
            "graph_index": found["graph_index"],
        }

    return equivariance_error(
        f,
        dict(graph),
        act_in=GraphMotion(nodes={"positions_angstrom": Points(acting)}, index="graph_index"),
        act_out=GraphMotion(
            nodes={"forces": Vectors(acting)},
            graphs={"energies": Trivial(1, acting)},
            index="graph_index",
        ),
        samples=samples,
        differentiates=True,
    )


def check_files(files: Sequence[Path]) -> None:
    """Raise if files are missing, or cannot be told apart by their names without suffix.

    Args:
        files: To evaluate on.

    Raises:
        DataFormatError: One is not there.
        ConventionError: Two have one name.
    """
    names = [path.stem for path in files]
    if len(set(names)) < len(names):
        raise ConventionError(
            expected="test files with different names", got=", ".join(names), argument="tests",
            advice="Rename one.",
        )  # fmt: skip
    for path in files:
        if not path.is_file():
            raise DataFormatError(
                expected="a file of molecules", got="nothing there", argument=str(path),
                advice="Name its place; for a run that goes on, with --tests.",
            )  # fmt: skip


def evaluate_files(
    model: ForceField, files: Sequence[Path], *, batch_size: int = 32
) -> dict[str, dict[str, Any]]:
    """Errors on every file, by its name without suffix.

    Args:
        model: In evaluation mode.
        files: Extended xyz or rMD17 npz files; forces are compared where the file has them.
        batch_size: Molecules at a time.

    Raises:
        DataFormatError: A file is missing or malformed.
        ConventionError: Two files have one name, or a file has elements that the model lacks.
    """
    check_files(files)
    found = {}
    for path in files:
        molecules = read_molecules(path, forces=has_forces(path))
        graphs = MoleculeGraphs(molecules, cutoff_angstrom=model.config.cutoff_angstrom)
        errors = asdict(force_field_errors(model, graphs, batch_size=batch_size))
        errors["undetermined_energies"] = undetermined_energies(model.calibration, molecules)
        found[path.stem] = errors
    return found


def keep_measures(
    run: RunFolder, found: Mapping[str, Mapping[str, Any]], files: Sequence[Path]
) -> list[str]:
    """Add errors to ``measures.json``, where a set of the same name is replaced.

    Every set keeps the digests of the weights and of its file; sets that were measured with
    other weights than the run has now are left out.

    Args:
        run: Its folder.
        found: What :func:`evaluate_files` returned.
        files: Those files.

    Returns:
        Names of the sets that were left out.
    """
    path, weights = run.path / "measures.json", file_digest(run.weights)
    before: dict[str, Any] = read_json(path) if path.is_file() else {}
    kept = {name: old for name, old in before.items() if old.get("weights_digest") == weights}
    for file in files:
        digests = {"weights_digest": weights, "file_digest": file_digest(file)}
        kept[file.stem] = {**found[file.stem], **digests}
    write_json(path, kept)
    return sorted(before.keys() - kept.keys())


def undetermined_energies(calibration: Calibration, molecules: Molecules) -> int:
    """How many molecules have compositions that the fitted energies of atoms say nothing of.

    Args:
        calibration: Of the force field.
        molecules: To be evaluated.

    Returns:
        Their number; 0 where energies of atoms were not fitted. Elements that the force field
        does not have are not counted: it refuses them.
    """
    composition = molecules.composition(calibration.atomic_numbers)
    return int((~calibration.determines(composition)).sum())


def warnings_of(measures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the errors of energies do not mean.

    Args:
        measures: What :func:`evaluate_files` returned.

    Returns:
        A sentence for each set with undetermined energies.
    """
    return [
        f"{name}: {found['undetermined_energies']} of {found['molecules']} molecules are composed "
        "of atoms in other proportions than those that the energies of atoms were fitted to, and "
        "nothing determines their total energies. Compare forces, or energies with the mean off; "
        "to predict energies, train on such molecules too, or on energies of isolated atoms "
        "(--isolated-atoms FILE --no-fitted-atoms)."
        for name, found in measures.items()
        if found.get("undetermined_energies")
    ]


def errors_table(measures: Mapping[str, Mapping[str, Any]]) -> Table:
    """Errors of several test sets.

    Args:
        measures: What :func:`evaluate_files` returned.
    """
    columns = {
        "E MAE meV": "energy_mae_meV",
        "E RMSE meV": "energy_rmse_meV",
        "E MAE meV/atom": "energy_mae_meV_per_atom",
        "E RMSE, mean off": "relative_rmse_meV",
        "F MAE meV/Å": "forces_mae_meV_per_angstrom",
        "F RMSE meV/Å": "forces_rmse_meV_per_angstrom",
    }
    rows = []
    for name, found in measures.items():
        numbers = [found[key] for key in columns.values()]
        shown = ["-" if value is None else f"{value:.2f}" for value in numbers]
        rows.append((name, str(found["molecules"]), *shown))
    return Table(
        ("set", "molecules", *columns),
        rows,
        "Errors of energies and forces. Mean off: the mean error of the set is taken from the "
        "energies first, so that only their differences count.",
    )


def _mae(error: Tensor) -> float:
    """Mean absolute error."""
    return float(error.abs().mean())


def _rmse(error: Tensor) -> float:
    """Root mean square error."""
    return float(error.square().mean().sqrt())
