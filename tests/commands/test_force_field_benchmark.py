"""The benchmark of force fields on a folder made here: parts, repetition, table."""

import numpy as np
import pytest
from test_force_field_commands import springs, write

from benchmarks import force_field
from equivariant.runs import read_json

OPTIONS = ["--channels", "1", "--lmax", "1", "--layers", "1", "--steps", "3", "--minutes", "0.005",
           "--products", "gaunt", "clebsch_gordan_natural", "--quiet"]  # fmt: skip


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    acac, rmd17 = folder / "botnet" / "dataset_acac", folder / "rmd17"
    acac.mkdir(parents=True)
    rmd17.mkdir()
    write(acac / "train_300K.xyz", 60, 0)
    for seed, name in enumerate(force_field.ACAC):
        write(acac / f"{name}.xyz", 3, seed, forces="MD" in name)
    (acac / "isolated_atoms.xyz").write_text(
        "1\nProperties=species:S:1:pos:R:3 energy=-13.5\nH 0 0 0\n"
        "1\nProperties=species:S:1:pos:R:3 energy=-2041.0\nO 0 0 0\n"
    )
    for part, count in (("train", 60), ("test", 4)):
        x, energies, forces = springs(count, 5)
        np.savez(
            rmd17 / f"rmd17_ethanol_{part}_01.npz", nuclear_charges=np.array([8, 1, 1]),
            coords=x, energies=23.06 * energies, forces=23.06 * forces,
        )  # fmt: skip
    return folder


@pytest.mark.exhaustive
def test_runs_in_parts_are_not_repeated_and_give_a_table(data, tmp_path, capsys):
    results = tmp_path / "results.json"
    words = ["--data", str(data), "--runs", str(tmp_path / "runs"), "--results", str(results),
             "--sets", "acac", "ethanol", *OPTIONS]  # fmt: skip
    force_field.main([*words, "--limit", "3"])
    assert len(read_json(results)["runs"]) == 3
    force_field.main(words)
    runs = read_json(results)["runs"]
    assert len(runs) == 8
    keys = {(r["set"], r["product"], r["mode"]) for r in runs}
    assert len(keys) == 8 and all(r["equivariance_error"]["forces"] < 1e-3 for r in runs)
    assert all(r["steps"] == 3 for r in runs if r["mode"] == "steps")
    assert all(set(r["tests"]) == set(force_field.ACAC) for r in runs if r["set"] == "acac")
    assert not any(str(tmp_path) in str(r) for r in runs)  # no paths
    capsys.readouterr()
    force_field.main(words)
    assert "8 of 8 runs are on disk" in capsys.readouterr().out
    force_field.main([*words, "--steps", "4", "--sets", "ethanol", "--modes", "steps"])
    assert len(read_json(results)["runs"]) == 10
    force_field.main(["--results", str(results), "--table"])
    text = capsys.readouterr().out
    assert "clebsch_gordan_natural" in text and "published" in text and "test_MD_600K" in text
