"""Molecules with energies and forces, in one unit each, whatever file they came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from equivariant.errors import ConventionError, DataFormatError

HEAVIEST = 118


@dataclass(frozen=True)
class Molecules:
    """Geometries of molecules, their energies and the forces on their atoms.

    Atoms of all molecules stand one after another, without padding, so molecules of different
    sizes need no mask.

    Args:
        atomic_numbers: Element of every atom, 1 to 118, shape (atoms,), int64.
        positions_angstrom: Shape (atoms, 3), float64.
        counts: Atoms of each molecule, at least 1, shape (molecules,), int64.
        energies_eV: Total energies, shape (molecules,), float64.
        forces_eV_per_angstrom: F = −∂E/∂positions, shape (atoms, 3), float64; None if unknown.
        atom_energies_eV: Energies of isolated atoms by atomic number, of the same method; empty
            if unknown.

    Raises:
        DataFormatError: Shapes that disagree, an unknown element, NaN or infinite values.

    Example:
        >>> pair = Molecules(
        ...     torch.tensor([1, 1]), torch.tensor([[0.0, 0, 0], [0.74, 0, 0]]).double(),
        ...     torch.tensor([2]), torch.tensor([-31.7]).double(),
        ... )
        >>> len(pair), pair.elements, pair[:0].energies_eV.shape
        (1, (1,), torch.Size([0]))
    """

    atomic_numbers: Tensor
    positions_angstrom: Tensor
    counts: Tensor
    energies_eV: Tensor
    forces_eV_per_angstrom: Tensor | None = None
    atom_energies_eV: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        atoms = int(self.counts.sum()) if self.counts.ndim == 1 else -1
        _check("counts", self.counts, (len(self.energies_eV),))
        _check("atomic_numbers", self.atomic_numbers, (atoms,))
        _check("positions_angstrom", self.positions_angstrom, (atoms, 3))
        _check("energies_eV", self.energies_eV, (len(self.counts),))
        if self.forces_eV_per_angstrom is not None:
            _check("forces_eV_per_angstrom", self.forces_eV_per_angstrom, (atoms, 3))
        if bool((self.counts < 1).any()):
            raise _malformed("at least 1 atom per molecule", "an empty molecule", "counts")
        numbers = self.atomic_numbers
        if bool(((numbers < 1) | (numbers > HEAVIEST)).any()):
            raise _malformed(
                f"atomic numbers from 1 to {HEAVIEST}",
                str(sorted(set(numbers.tolist()))),
                "atomic_numbers",
            )

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, rows: slice | Sequence[int] | Tensor) -> Molecules:
        """Some of the molecules, in the order asked for."""
        chosen = torch.arange(len(self))[rows]
        first = self.counts.cumsum(0) - self.counts
        parts = [torch.arange(int(first[i]), int(first[i] + self.counts[i])) for i in chosen]
        atoms = torch.cat([torch.empty(0, dtype=torch.int64), *parts])
        forces = self.forces_eV_per_angstrom
        return replace(
            self,
            atomic_numbers=self.atomic_numbers[atoms],
            positions_angstrom=self.positions_angstrom[atoms],
            counts=self.counts[chosen],
            energies_eV=self.energies_eV[chosen],
            forces_eV_per_angstrom=None if forces is None else forces[atoms],
        )

    def __iter__(self) -> Iterator[Molecules]:
        """One molecule at a time."""
        return (self[i : i + 1] for i in range(len(self)))

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return tuple(sorted(set(self.atomic_numbers.tolist())))

    @property
    def molecule_of_atom(self) -> Tensor:
        """Which molecule each atom belongs to, shape (atoms,), int64."""
        return torch.repeat_interleave(torch.arange(len(self)), self.counts)

    def split(self, *sizes: int, seed: int) -> tuple[Molecules, ...]:
        """Disjoint random parts.

        Args:
            sizes: Molecules of each part; what is left over belongs to none.
            seed: Of the draw; the same seed draws the same molecules.

        Raises:
            ConventionError: A size is negative, or together they exceed the molecules there are.
        """
        if sum(sizes) > len(self) or min(sizes, default=0) < 0:
            raise ConventionError(
                expected=f"sizes that together take at most {len(self)} molecules",
                got=str(sizes), argument="sizes", advice="Ask for fewer.",
            )  # fmt: skip
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return tuple(self[part] for part in order[: sum(sizes)].split(list(sizes)))

    def composition(self, elements: Sequence[int]) -> Tensor:
        """How many atoms of each element every molecule has, shape (molecules, elements), float64.

        Args:
            elements: Atomic numbers.
        """
        table = torch.zeros(len(self), len(elements), dtype=torch.float64)
        for column, number in enumerate(elements):
            here = (self.atomic_numbers == number).to(torch.float64)
            table[:, column].index_add_(0, self.molecule_of_atom, here)
        return table


def _check(name: str, values: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(values.shape) != shape:
        raise _malformed(f"shape {shape}", f"shape {tuple(values.shape)}", name)
    whole = torch.int64 if name in ("counts", "atomic_numbers") else torch.float64
    if values.dtype != whole:
        raise _malformed(f"dtype {whole}", f"{values.dtype}", name)
    if not bool(torch.isfinite(values).all()):
        rows = (~torch.isfinite(values)).reshape(len(values), -1).any(1).nonzero()
        raise _malformed("finite numbers", f"NaN or infinity in row {int(rows[0])}", name)


def _malformed(expected: str, got: str, argument: str) -> DataFormatError:
    return DataFormatError(
        expected=expected, got=got, argument=argument,
        advice="The molecules of a set stand one after another; see Molecules.",
    )  # fmt: skip
