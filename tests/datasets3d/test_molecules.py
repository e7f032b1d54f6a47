"""Units, readers on good and malformed files, selection, graphs without padding."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from datasets3d import (
    MoleculeGraphs,
    Molecules,
    read_isolated_atoms,
    read_molecules,
    read_rmd17,
    read_xyz,
)
from datasets3d.molecules import files as molecule_files
from datasets3d.molecules.files import HARTREE_IN_EV, KCAL_PER_MOL_IN_EV, has_forces
from equivariant.errors import ConventionError, DataFormatError

WATER = """3
Properties=species:S:1:pos:R:3:forces:R:3 energy=-2078.5 config_type=md pbc="F F F"
O 0.0 0.0 0.0 0.1 0.2 0.3
H 0.96 0.0 0.0 -0.1 0.0 0.0
H -0.24 0.93 0.0 0.0 -0.2 -0.3
"""
ATOMS = """1
Properties=species:S:1:pos:R:3 config_type=isolated_atom energy=-13.5 pbc="F F F"
H 0 0 0
1
Properties=species:S:1:pos:R:3 config_type=isolated_atom energy=-2041.0 pbc="F F F"
O 0 0 0
"""


def written(folder, text, name="file.xyz"):
    path = folder / name
    path.write_text(text)
    return path


def rmd17(folder, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "nuclear_charges": np.array([8, 1, 1], dtype=np.uint8),
        "coords": rng.normal(size=(4, 3, 3)),
        "energies": rng.normal(size=4) - 1000.0,
        "forces": rng.normal(size=(4, 3, 3)),
        "old_indices": np.arange(4),
    }
    arrays |= changes
    path = folder / "molecule.npz"
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return path, arrays


def test_xyz_values_arrive_as_written(tmp_path):
    found = read_xyz(written(tmp_path, WATER + ATOMS + WATER.replace("-2078.5", "-2078.25")))
    assert len(found) == 2 and found.elements == (1, 8)
    assert found.energies_eV.tolist() == [-2078.5, -2078.25]
    assert found.positions_angstrom[4].tolist() == [0.96, 0.0, 0.0]
    assert found.forces_eV_per_angstrom[5].tolist() == [0.0, -0.2, -0.3]
    assert found.atom_energies_eV == {1: -13.5, 8: -2041.0}
    assert found.molecule_of_atom.tolist() == [0, 0, 0, 1, 1, 1]
    assert read_isolated_atoms(written(tmp_path, ATOMS)) == {1: -13.5, 8: -2041.0}


def test_units_are_converted_once_and_only_there(tmp_path):
    assert pytest.approx(1 / 23.060548, rel=1e-7) == KCAL_PER_MOL_IN_EV
    assert pytest.approx(627.509474, rel=1e-8) == HARTREE_IN_EV / KCAL_PER_MOL_IN_EV
    path = written(tmp_path, WATER)
    plain, kcal = read_xyz(path), read_xyz(path, energy_unit="kcal/mol")
    assert torch.equal(kcal.energies_eV, plain.energies_eV * KCAL_PER_MOL_IN_EV)
    assert torch.equal(
        kcal.forces_eV_per_angstrom, plain.forces_eV_per_angstrom * KCAL_PER_MOL_IN_EV
    )
    assert torch.equal(kcal.positions_angstrom, plain.positions_angstrom)
    file, arrays = rmd17(tmp_path)
    found = read_rmd17(file)
    assert np.allclose(found.energies_eV, arrays["energies"] / 23.060548, rtol=1e-7)
    assert np.allclose(found.forces_eV_per_angstrom, arrays["forces"].reshape(-1, 3) / 23.060548)
    assert np.array_equal(found.positions_angstrom, arrays["coords"].reshape(-1, 3))
    assert found.atomic_numbers.tolist() == [8, 1, 1] * 4


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (":forces:R:3", "", "malformed|forces"),
        ("energy=-2078.5", "energetic=-2078.5", "energy"),
        ("energy=-2078.5", "energy=nan", "energies_eV"),
        ("H 0.96", "H nan", "positions_angstrom"),
        ("0.1 0.2 0.3", "inf 0.2 0.3", "forces_eV_per_angstrom"),
        ("0.1 0.2 0.3", "x 0.2 0.3", "file.xyz"),
        ("O 0.0", "Xx 0.0", "file.xyz"),
        ('pbc="F F F"', 'Lattice="9 0 0 0 9 0 0 0 9" pbc="T T T"', "periodic"),
        ("3\n", "4\n", "file.xyz"),
        ("forces:R:3", "forces:R:2", "forces|file.xyz"),
    ],
)
def test_malformed_xyz_files_are_refused_by_name(tmp_path, old, new, says):
    path = written(tmp_path, WATER.replace(old, new, 1))
    with pytest.raises(DataFormatError, match=says) as caught:
        read_xyz(path)
    assert "file.xyz" in str(caught.value)


def test_forces_may_be_left_out_where_only_energies_are_asked_for(tmp_path):
    text = "2\nProperties=species:S:1:pos:R:3 energy=-3.0\nH 0 0 0\nH 1 0 0\n"
    path = written(tmp_path, text)
    with pytest.raises(DataFormatError, match="forces"):
        read_molecules(path)
    assert read_molecules(path, forces=False).forces_eV_per_angstrom is None
    assert not has_forces(path) and has_forces(written(tmp_path, WATER))
    named = written(tmp_path, WATER.replace("energy=", "REF_energy=").replace("forces:", "f:"))
    found = read_xyz(named, energy_key="REF_energy", forces_key="f")
    assert found.energies_eV.tolist() == [-2078.5]


def test_absent_empty_and_foreign_files(tmp_path):
    for call in (read_xyz, read_isolated_atoms, read_rmd17):
        with pytest.raises(DataFormatError, match="absent"):
            call(tmp_path / "absent.xyz")
    with pytest.raises(DataFormatError):
        read_xyz(written(tmp_path, ""))
    with pytest.raises(DataFormatError, match=r"\.xyz"):
        read_molecules(tmp_path / "molecules.pdb")
    with pytest.raises(DataFormatError, match="one atom"):
        read_isolated_atoms(written(tmp_path, WATER))


def test_an_unknown_unit_is_refused():
    with pytest.raises(ConventionError, match="parsec"):
        molecule_files._factor("parsec")


@pytest.mark.parametrize(
    "changes",
    [
        {"forces": None},
        {"forces": np.zeros((4, 3, 2))},
        {"energies": np.full(4, np.nan)},
        {"coords": np.zeros((4, 2, 3))},
        {"energies": np.zeros((4, 1))},
        {"nuclear_charges": np.array([0, 1, 1])},
        {"nuclear_charges": np.array(["O", "H", "H"])},
        {"coords": np.array([None, {}], dtype=object)},
    ],
)
def test_malformed_rmd17_files_are_refused(tmp_path, changes):
    path, _ = rmd17(tmp_path, **changes)
    with pytest.raises(DataFormatError, match=r"molecule\.npz"):
        read_rmd17(path)


def test_a_damaged_archive_is_refused(tmp_path):
    path, _ = rmd17(tmp_path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataFormatError, match=r"molecule\.npz"):
        read_rmd17(path)


def made(count=5, seed=0):
    """Molecules of one to four atoms."""
    g = torch.Generator().manual_seed(seed)
    counts = torch.arange(count) % 4 + 1
    atoms = int(counts.sum())
    return Molecules(
        torch.randint(1, 4, (atoms,), generator=g),
        2 * torch.randn(atoms, 3, generator=g, dtype=torch.float64),
        counts,
        torch.randn(count, generator=g, dtype=torch.float64),
        torch.randn(atoms, 3, generator=g, dtype=torch.float64),
    )


def test_the_record_refuses_what_does_not_fit():
    good = made()
    for change in (
        {"positions_angstrom": good.positions_angstrom[:-1]},
        {"positions_angstrom": good.positions_angstrom.float()},
        {"energies_eV": good.energies_eV[:-1]},
        {"forces_eV_per_angstrom": good.forces_eV_per_angstrom[:, :2]},
        {"atomic_numbers": good.atomic_numbers + 118},
        {"counts": torch.tensor([0, 2, 3, 4, 2])},
        {"energies_eV": good.energies_eV * math.nan},
    ):
        with pytest.raises(DataFormatError):
            replace(good, **change)


def test_selection_by_seed_is_disjoint_and_repeats():
    molecules = made(20)
    first, second = molecules.split(12, 5, seed=3)
    again, _ = molecules.split(12, 5, seed=3)
    other, _ = molecules.split(12, 5, seed=4)
    assert torch.equal(first.energies_eV, again.energies_eV)
    assert not torch.equal(first.energies_eV, other.energies_eV)
    seen = set(first.energies_eV.tolist()) | set(second.energies_eV.tolist())
    assert len(seen) == 17 and seen <= set(molecules.energies_eV.tolist())
    for part in first:  # each keeps its own atoms
        (row,) = (molecules.energies_eV == part.energies_eV).nonzero()
        whole = molecules[int(row) : int(row) + 1]
        assert torch.equal(part.positions_angstrom, whole.positions_angstrom)
    with pytest.raises(ConventionError):
        molecules.split(21, seed=0)


def test_composition_counts_atoms():
    molecules = made(6)
    table = molecules.composition((1, 2, 3))
    slow = [[m.atomic_numbers.tolist().count(n) for n in (1, 2, 3)] for m in molecules]
    assert table.tolist() == slow and torch.equal(table.sum(1).long(), molecules.counts)


def slow_edges(molecules, cutoff):
    """Pairs by a loop over all atoms."""
    x, owner = molecules.positions_angstrom, molecules.molecule_of_atom
    return {
        (j, i)
        for i in range(len(x))
        for j in range(len(x))
        if i != j and owner[i] == owner[j] and float((x[i] - x[j]).norm()) < cutoff
    }


def test_edges_are_those_of_a_slow_loop_and_batches_shift_them():
    molecules = made(9, seed=1)
    graphs = MoleculeGraphs(molecules, cutoff_angstrom=3.0)
    whole = graphs.batch(range(9))
    found = {tuple(pair) for pair in whole.edge_index.T.tolist()}
    assert found == slow_edges(molecules, 3.0) and len(found) == whole.edge_index.shape[1] > 5
    assert graphs.mean_neighbors == pytest.approx(len(found) / len(molecules.atomic_numbers))
    some = graphs.batch([7, 3])
    chosen = molecules[[7, 3]]
    assert {tuple(p) for p in some.edge_index.T.tolist()} == slow_edges(chosen, 3.0)
    assert some.graph_index.tolist() == [0] * 4 + [1] * 4
    assert some.positions_angstrom.dtype == torch.float32
    assert some.energies_eV.dtype == torch.float64
    assert [len(b) for b in graphs.batches(4)] == [4, 4, 1]
    assert len(graphs.batch([])) == 0


def test_coincident_atoms_and_a_cutoff_of_zero_are_refused():
    twice = replace(made(2), positions_angstrom=torch.zeros(3, 3, dtype=torch.float64))
    with pytest.raises(DataFormatError, match="molecule 1"):
        MoleculeGraphs(twice, cutoff_angstrom=3.0)
    with pytest.raises(ConventionError):
        MoleculeGraphs(made(), cutoff_angstrom=0.0)


def test_a_stream_depends_on_the_step_alone_and_visits_all_equally():
    graphs = MoleculeGraphs(made(7), cutoff_angstrom=3.0, seed=5)
    stream = graphs.stream(3)
    steps = [next(stream) for _ in range(14)]
    energies = [e for batch in steps for e in batch.energies_eV.tolist()]
    assert all(energies[7 * k : 7 * k + 7] != energies[:7] for k in range(1, 6))
    for k in range(6):
        assert sorted(energies[7 * k : 7 * k + 7]) == sorted(graphs.molecules.energies_eV.tolist())
    late = next(graphs.stream(3, start=9))
    assert torch.equal(late.positions_angstrom, steps[9].positions_angstrom)
    shares = [next(graphs.stream(4, start=2, rank=r, world=2)).energies_eV for r in (0, 1)]
    whole = next(graphs.stream(4, start=2)).energies_eV
    assert sorted(torch.cat(shares).tolist()) == sorted(whole.tolist())
    with pytest.raises(ConventionError):
        next(MoleculeGraphs(made()[:0], cutoff_angstrom=3.0).stream(2))


@pytest.mark.parametrize("name", ["test_dihedral", "train_300K", "test_MD_300K"])
def test_real_acetylacetone(real_data, name):
    path = real_data / "botnet" / "dataset_acac" / f"{name}.xyz"
    if not path.is_file():
        pytest.skip("no acetylacetone")
    found = read_molecules(path, forces=has_forces(path))
    assert set(found.counts.tolist()) == {15} and found.elements == (1, 6, 8)
    atoms = read_isolated_atoms(path.parent / "isolated_atoms.xyz")
    e0 = found.composition((1, 6, 8)) @ torch.tensor([atoms[n] for n in (1, 6, 8)]).double()
    bound = found.energies_eV - e0  # eV: a molecule of 14 bonds is bound by about 70
    assert float(bound.min()) > -80 and float(bound.max()) < -65


def test_real_rmd17_agrees_with_botnets_ethanol(real_data):
    path = real_data / "rmd17" / "rmd17_ethanol_train_01.npz"
    if not path.is_file():
        pytest.skip("no ethanol")
    found = read_rmd17(path)
    assert len(found) == 1000 and found.elements == (1, 6, 8)
    total = found.forces_eV_per_angstrom.view(1000, 9, 3).sum(1).abs().max()
    assert float(total) < 1e-6  # momentum is kept
    assert 0.5 < float(found.forces_eV_per_angstrom.square().mean().sqrt()) < 3.0
    assert 0.05 < float(found.energies_eV.std()) < 0.5
