"""Reading molecules from extended xyz and rMD17 files; units are converted here and only here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.molecules.molecules import Molecules
from equivariant.errors import ConventionError, DataFormatError, MissingExtraError

EnergyUnit = Literal["eV", "kcal/mol", "hartree"]

KCAL_PER_MOL_IN_EV = 4184.0 / (6.02214076e23 * 1.602176634e-19)
"""4184 J / (N_A e), both exact since 2019: 0.0433641039..."""

HARTREE_IN_EV = 27.211386245988
"""CODATA 2018."""

_IN_EV: dict[str, float] = {"eV": 1.0, "kcal/mol": KCAL_PER_MOL_IN_EV, "hartree": HARTREE_IN_EV}
_RMD17 = ("nuclear_charges", "coords", "energies", "forces")
_ISOLATED = ("isolated_atom", "isolatedatom")


def read_xyz(
    path: Path,
    *,
    energy_unit: EnergyUnit = "eV",
    energy_key: str = "energy",
    forces_key: str | None = "forces",
) -> Molecules:
    """Molecules of an extended xyz file.

    Frames of one atom whose ``config_type`` is ``isolated_atom`` (or ``IsolatedAtom``) are not
    molecules of the set: their energies become ``atom_energies_eV``.

    Args:
        path: The file; lengths in Å, energies in ``energy_unit``, forces in that unit per Å.
        energy_unit: "eV", "kcal/mol" or "hartree"; the file itself does not say.
        energy_key: Name of the energy in the frames' second lines.
        forces_key: Name of the column of forces; None reads energies only.

    Returns:
        All frames, in their order.

    Raises:
        DataFormatError: The file is missing or malformed, a frame lacks its energy or forces, is
            periodic, or holds NaN; the message names the file and the frame.
        ConventionError: The unit is unknown.
        MissingExtraError: ASE is not installed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "hydrogen.xyz"
        >>> _ = path.write_text(
        ...     "2\\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-31.7\\n"
        ...     "H 0 0 0 0.1 0 0\\nH 0.74 0 0 -0.1 0 0\\n"
        ... )
        >>> read_xyz(path).energies_eV.tolist()
        [-31.7]
    """
    in_ev = _factor(energy_unit)
    numbers, positions, counts, energies, forces = [], [], [], [], []
    atoms: dict[int, float] = {}
    for index, frame in enumerate(_frames(path)):
        known = _known(frame)
        if energy_key not in known:
            raise _lacks(path, index, f"{energy_key}=...", sorted(known))
        energy = float(np.asarray(known[energy_key]).item()) * in_ev
        if len(frame) == 1 and str(known.get("config_type", "")).lower() in _ISOLATED:
            atoms[int(frame.numbers[0])] = energy
            continue
        if any(frame.pbc):
            raise DataFormatError(
                expected="molecules without periodic boundaries",
                got=f'pbc="{frame.pbc}" in frame {index}', argument=str(path),
                advice="Only free molecules are supported.",
            )  # fmt: skip
        if forces_key is not None:
            if forces_key not in known:
                raise _lacks(path, index, f"a column {forces_key}:R:3", sorted(known))
            forces.append(_array(known[forces_key], (len(frame), 3), path, index) * in_ev)
        numbers.append(torch.as_tensor(np.asarray(frame.numbers), dtype=torch.int64))
        positions.append(_array(frame.positions, (len(frame), 3), path, index))
        counts.append(len(frame))
        energies.append(energy)
    empty = torch.empty(0, 3, dtype=torch.float64)
    return _molecules(
        path,
        torch.cat([torch.empty(0, dtype=torch.int64), *numbers]),
        torch.cat([empty, *positions]),
        torch.tensor(counts, dtype=torch.int64),
        torch.tensor(energies, dtype=torch.float64),
        torch.cat([empty, *forces]) if forces_key is not None else None,
        atoms,
    )


def read_isolated_atoms(
    path: Path, *, energy_unit: EnergyUnit = "eV", energy_key: str = "energy"
) -> dict[int, float]:
    """Energies of isolated atoms in eV by atomic number, from frames of one atom each.

    Args:
        path: An extended xyz file.
        energy_unit: Of the energies.
        energy_key: Name of the energy in the frames' second lines.

    Raises:
        DataFormatError: A frame has several atoms or no finite energy, or the file is malformed.
        ConventionError: The unit is unknown.
        MissingExtraError: ASE is not installed.
    """
    in_ev = _factor(energy_unit)
    found: dict[int, float] = {}
    for index, frame in enumerate(_frames(path)):
        known = _known(frame)
        if len(frame) != 1 or energy_key not in known:
            raise _lacks(path, index, f"one atom and {energy_key}=...", [f"{len(frame)} atoms"])
        energy = float(np.asarray(known[energy_key]).item()) * in_ev
        if not np.isfinite(energy):
            raise _lacks(path, index, "a finite energy", [str(energy)])
        found[int(frame.numbers[0])] = energy
    return found


def read_rmd17(path: Path) -> Molecules:
    """Molecules of an npz file of the revised MD17 data set.

    Energies come in kcal/mol and forces in kcal/mol/Å; they leave in eV and eV/Å.

    Args:
        path: An npz file with ``nuclear_charges`` (atoms,), ``coords`` (frames, atoms, 3),
            ``energies`` (frames,) and ``forces`` (frames, atoms, 3). Pickled contents are refused.

    Raises:
        DataFormatError: The file is missing or malformed, an array is absent or of the wrong
            shape, or holds NaN.

    Source: Christensen and von Lilienfeld 2020, arXiv 2007.09593.
    """
    arrays = _npz(path)
    frames, atoms = len(arrays["energies"].reshape(-1)), len(arrays["nuclear_charges"].reshape(-1))
    shapes: dict[str, tuple[int, ...]] = {"nuclear_charges": (atoms,), "energies": (frames,)}
    shapes |= {"coords": (frames, atoms, 3), "forces": (frames, atoms, 3)}
    wrong = [
        f"{name} {arrays[name].shape} instead of {shape}"
        for name, shape in shapes.items()
        if arrays[name].shape != shape
    ]
    if wrong or not frames or not atoms:
        raise DataFormatError(
            expected="frames of one molecule", got="; ".join(wrong) or "none", argument=str(path),
            advice="See rmd17_<molecule>_train_01.npz of the published data set.",
        )  # fmt: skip
    values = {name: torch.as_tensor(arrays[name].astype(np.float64)) for name in shapes}
    return _molecules(
        path,
        values["nuclear_charges"].to(torch.int64).repeat(frames),
        values["coords"].reshape(-1, 3),
        torch.full((frames,), atoms, dtype=torch.int64),
        values["energies"] * KCAL_PER_MOL_IN_EV,
        values["forces"].reshape(-1, 3) * KCAL_PER_MOL_IN_EV,
        {},
    )


def read_molecules(path: Path, *, forces: bool = True) -> Molecules:
    """Molecules of a file, by its suffix: ``.xyz`` and ``.extxyz`` in eV, ``.npz`` as rMD17.

    Args:
        path: The file.
        forces: Whether forces must be there; without, an xyz file is read for its energies.

    Raises:
        DataFormatError: The suffix is another, or see :func:`read_xyz`, :func:`read_rmd17`.
    """
    if path.suffix == ".npz":
        return read_rmd17(path)
    if path.suffix in (".xyz", ".extxyz"):
        return read_xyz(path, forces_key="forces" if forces else None)
    raise DataFormatError(
        expected="a file ending in .xyz, .extxyz or .npz", got=path.suffix or "no suffix",
        argument=str(path), advice="Convert it, or use read_xyz with its units.",
    )  # fmt: skip


def has_forces(path: Path) -> bool:
    """Whether the first molecule of a file comes with forces.

    Raises:
        DataFormatError: The file cannot be read.
    """
    if path.suffix == ".npz":
        return True
    return "forces" in _known(_frames(path, index="0")[0])


def _factor(energy_unit: str) -> float:
    if energy_unit not in _IN_EV:
        raise ConventionError(
            expected=", ".join(_IN_EV), got=repr(energy_unit), argument="energy_unit",
            advice="Lengths are in Å, forces in the energy's unit per Å.",
        )  # fmt: skip
    return _IN_EV[energy_unit]


def _frames(path: Path, *, index: str = ":") -> list[Any]:
    read = _ase().io.read
    try:
        frames: list[Any] = read(str(path), index=index if index == ":" else f"{index}:1:1")
    except Exception as error:  # ASE raises whatever its parser stumbles over
        raise DataFormatError(
            expected="a readable extended xyz file", got=f"{type(error).__name__}: {error}",
            argument=str(path), advice="It is missing, cut short, or of another format.",
        ) from error  # fmt: skip
    if not frames:
        raise DataFormatError(
            expected="at least one frame", got="none", argument=str(path),
            advice="The file is empty.",
        )  # fmt: skip
    return frames


def _ase() -> ModuleType:
    try:
        import ase.io  # noqa: PLC0415 (optional engine)
    except ImportError as error:
        raise MissingExtraError.of("ase", extra="molecules") from error
    return ase


def _known(frame: Any) -> Mapping[str, Any]:
    """Everything a frame says, by the names of the file."""
    results = {} if frame.calc is None else frame.calc.results
    return {**frame.info, **frame.arrays, **results}


def _array(values: Any, shape: tuple[int, ...], path: Path, index: int) -> Tensor:
    array = np.asarray(values)
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise _lacks(path, index, f"numbers of shape {shape}", [f"{array.dtype} {array.shape}"])
    return torch.tensor(array.astype(np.float64))


def _npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            absent = sorted(set(_RMD17) - set(file.files))
            if absent:
                raise KeyError(f"no {', '.join(absent)} among {', '.join(file.files)}")
            arrays = {name: np.asarray(file[name]) for name in _RMD17}
        if any(array.dtype.kind not in "fiu" for array in arrays.values()):
            raise ValueError("arrays that are not numbers")
        return arrays
    except Exception as error:  # a damaged archive fails in zipfile, zlib or numpy
        raise DataFormatError(
            expected=f"an npz file with {', '.join(_RMD17)}",
            got=f"{type(error).__name__}: {error}", argument=str(path),
            advice="It is missing, cut short, or not of the revised MD17 data set.",
        ) from error  # fmt: skip


def _molecules(path: Path, *values: Any) -> Molecules:
    """The record; what it refuses is told of the file."""
    try:
        return Molecules(*values)
    except DataFormatError as error:
        raise DataFormatError(
            expected=error.expected, got=error.got, argument=f"{path}: {error.argument}",
            advice="Repair or leave out these frames.",
        ) from error  # fmt: skip


def _lacks(path: Path, index: int, expected: str, got: list[str]) -> DataFormatError:
    return DataFormatError(
        expected=f"{expected} in frame {index}", got=", ".join(got), argument=str(path),
        advice="Name the file's own keys, or read energies only with forces_key=None.",
    )  # fmt: skip
