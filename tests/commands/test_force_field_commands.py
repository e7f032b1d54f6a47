"""Force fields from the command line: train, resume, evaluate, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from datasets3d import MoleculeGraphs, Molecules, read_molecules
from equivariant.commands.main import main
from equivariant.errors import ConventionError, DataFormatError
from equivariant.nn.force_field import Calibration, ForceFieldConfig
from equivariant.recipes.force_field.evaluation import (
    evaluate_files,
    force_field_equivariance,
    force_field_errors,
)
from equivariant.recipes.force_field.training import (
    ForceFieldExperiment,
    calibrate,
    load_force_field,
    read_training_sets,
    restore_experiment,
)
from equivariant.runs import RunFolder
from equivariant.training import FitConfig, read_metrics

SMALL = ["--channels", "2", "--lmax", "1", "--radial-size", "4", "--radial-hidden", "8",
         "--cutoff-angstrom", "4", "--accelerator", "cpu", "--quiet"]  # fmt: skip


def springs(count, seed):
    """Water-like molecules whose atoms are held together by springs: energies in eV, forces."""
    rng = np.random.default_rng(seed)
    rest = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    x = rest + 0.05 * rng.normal(size=(count, 3, 3))
    energies, forces = np.full(count, -2078.5), np.zeros_like(x)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        d = x[:, i] - x[:, j]
        r, r0 = np.linalg.norm(d, axis=1), np.linalg.norm(rest[i] - rest[j])
        energies += 10.0 * (r - r0) ** 2
        pull = -20.0 * ((r - r0) / r)[:, None] * d
        forces[:, i] += pull
        forces[:, j] -= pull
    return x, energies, forces


def write(path, count, seed, *, forces=True):
    x, energies, f = springs(count, seed)
    lines = []
    for k in range(count):
        columns = ":forces:R:3" if forces else ""
        head = f"Properties=species:S:1:pos:R:3{columns} energy={energies[k]:.10f}"
        lines += ["3", f'{head} pbc="F F F"']
        for a, name in enumerate("OHH"):
            values = [*x[k, a], *(f[k, a] if forces else ())]
            lines.append(name + " " + " ".join(f"{v:.10f}" for v in values))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("molecules")
    write(folder / "train.xyz", 24, 0)
    write(folder / "test.xyz", 8, 1)
    write(folder / "scan.xyz", 4, 2, forces=False)
    (folder / "atoms.xyz").write_text(
        "1\nProperties=species:S:1:pos:R:3 energy=-13.5\nH 0 0 0\n"
        "1\nProperties=species:S:1:pos:R:3 energy=-2041.0\nO 0 0 0\n"
    )
    return folder


def trained(files, runs, *options, status=0):
    words = ["train", "force-field", *options, *SMALL, "--runs", str(runs)]
    assert main(words) == status
    return max(runs.glob("*/*"), key=lambda path: path.stat().st_mtime) if status == 0 else None


@pytest.mark.parametrize("product", ["gaunt", "clebsch_gordan_natural"])
def test_training_learns_and_evaluates(files, tmp_path, product, capsys):
    run = trained(
        files, tmp_path, str(files / "train.xyz"), "--product", product, "--steps", "60",
        "--minutes", "0", "--validation", "4", "--probe-every", "30", "--log-every", "10",
        "--isolated-atoms", str(files / "atoms.xyz"), "--tests", str(files / "test.xyz"),
    )  # fmt: skip
    first, *_, last = [m for m in read_metrics(run / "metrics.jsonl") if "total" in m]
    assert last["total"] < 0.3 * first["total"]
    probes = [m for m in read_metrics(run / "metrics.jsonl") if "probe/energy_mae_meV" in m]
    assert [m["step"] for m in probes] == [30, 60]
    assert "test" in capsys.readouterr().out
    kept = json.loads((run / "measures.json").read_text())["test"]
    words = ["evaluate", str(run), str(files / "test.xyz"), str(files / "scan.xyz")]
    assert main(words) == 0
    measures = json.loads((run / "measures.json").read_text())
    assert measures["test"] == pytest.approx(kept)
    assert measures["scan"]["forces_mae_meV_per_angstrom"] is None
    assert measures["test"]["forces_mae_meV_per_angstrom"] < 600  # forces of about 1 eV/Å
    model = load_force_field(RunFolder(run).weights)
    graphs = MoleculeGraphs(read_molecules(files / "test.xyz"), cutoff_angstrom=4.0)
    report = force_field_equivariance(model, graphs.batch(range(3)).tensors(), samples=2)
    assert max(report.value("worst", output=name) for name in ("energies", "forces")) < 1e-3


def test_an_interrupted_run_is_the_uninterrupted_one_bit_for_bit(files, tmp_path, monkeypatch):
    options = [str(files / "train.xyz"), "--steps", "9", "--minutes", "0", "--checkpoint-every",
               "4", "--validation", "4"]  # fmt: skip
    whole = trained(files, tmp_path / "whole", *options)
    original = MoleculeGraphs.stream

    def killed(self, batch_size, *, start=0, rank=0, world=1):
        for step, batch in enumerate(original(self, batch_size, start=start), start):
            if step == 6:
                raise KeyboardInterrupt
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(MoleculeGraphs, "stream", killed)
        trained(files, tmp_path / "parts", *options, status=130)
    (parts,) = (tmp_path / "parts").glob("*/*")
    assert main(["train", "force-field", "--resume", str(parts), "--quiet"]) == 0
    for name in ("checkpoints/last.safetensors", "resume.safetensors"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_errors_are_those_of_a_loop(files):
    class Zero(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.zeros(()))

        def forward(self, graph):
            return {
                "energies_eV": torch.full((len(graph["energies_eV"]),), -2078.0).double(),
                "forces_eV_per_angstrom": torch.zeros_like(graph["positions_angstrom"]),
            }

    _, energies, forces = springs(8, 1)
    graphs = MoleculeGraphs(read_molecules(files / "test.xyz"), cutoff_angstrom=4.0)
    found = force_field_errors(Zero(), graphs, batch_size=3)
    error = 1000 * (-2078.0 - energies)
    assert found.energy_mae_meV == pytest.approx(np.abs(error).mean(), rel=1e-6)
    assert found.energy_rmse_meV == pytest.approx(np.sqrt((error**2).mean()), rel=1e-6)
    assert found.energy_mae_meV_per_atom == pytest.approx(np.abs(error).mean() / 3, rel=1e-6)
    assert found.relative_rmse_meV == pytest.approx(error.std(), rel=1e-5)
    assert found.forces_mae_meV_per_angstrom == pytest.approx(1000 * np.abs(forces).mean(), 1e-5)
    assert found.forces_rmse_meV_per_angstrom == pytest.approx(
        1000 * np.sqrt((forces**2).mean()), rel=1e-5
    )
    with pytest.raises(ConventionError):
        force_field_errors(Zero(), MoleculeGraphs(graphs.molecules[:0], cutoff_angstrom=4.0))


def test_calibration_fits_atoms_or_keeps_isolated_ones(files):
    mixed = Molecules(
        torch.tensor([1, 1, 8, 1, 8, 8]),
        torch.arange(18).view(6, 3).double(),
        torch.tensor([2, 2, 2]),
        torch.tensor([-26.0, -2050.0, -4074.0]).double(),
        torch.ones(6, 3).double() * 2,
        {1: -13.5, 8: -2041.0},
    )
    graphs = MoleculeGraphs(mixed, cutoff_angstrom=9.0)
    fitted = calibrate(mixed, graphs, fitted_atoms=True)
    assert fitted.atom_energies_eV == pytest.approx((-13.0, -2037.0)) and fitted.trained_atoms
    kept = calibrate(mixed, graphs, fitted_atoms=False)
    assert kept.atom_energies_eV == (-13.5, -2041.0) and not kept.trained_atoms
    assert kept.scale_eV == pytest.approx(2.0) and kept.mean_neighbors == 1.0
    bare = replace(mixed, atom_energies_eV={})
    assert calibrate(bare, graphs, fitted_atoms=True).atom_energies_eV == pytest.approx((-13.0, -2037.0))  # fmt: skip  # noqa: E501
    with pytest.raises(ConventionError, match="isolated"):
        calibrate(bare, graphs, fitted_atoms=False)
    with pytest.raises(ConventionError, match="forces"):
        calibrate(replace(mixed, forces_eV_per_angstrom=None), graphs, fitted_atoms=True)


def test_splits_depend_on_the_seed_alone_and_never_overlap(files):
    config = ForceFieldExperiment(files / "train.xyz", validation=4, seed=3)
    train, held_out = read_training_sets(config)
    again, _ = read_training_sets(config)
    assert (len(train), len(held_out)) == (20, 4)
    assert torch.equal(train.energies_eV, again.energies_eV)
    assert not set(train.energies_eV.tolist()) & set(held_out.energies_eV.tolist())
    with pytest.raises(ConventionError):
        read_training_sets(replace(config, train=30))
    with pytest.raises(ConventionError, match="precision"):
        ForceFieldExperiment(files / "train.xyz", fit=FitConfig(precision="bf16"))


def test_settings_return_and_foreign_files_are_refused(files, tmp_path):
    config = ForceFieldExperiment(
        files / "train.xyz", model=ForceFieldConfig("gaunt_full", radial_hidden=(4, 5))
    )
    run = RunFolder.create(tmp_path, "x", config=config, command=[])
    assert restore_experiment(run) == config
    with pytest.raises(DataFormatError):
        load_force_field(run.weights)
    (run.path / "config.json").write_text('{"data": "x"}')
    with pytest.raises(DataFormatError, match=r"config\.json"):
        restore_experiment(run)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "force-field"], "data"),
        (["train", "force-field", "absent.xyz"], "absent.xyz"),
        (["train", "force-field", "SCAN"], "forces"),
        (["train", "force-field", "TRAIN", "--validation", "99"], "sizes"),
        (["evaluate", "absent", "TRAIN"], "absent"),
    ],
)
def test_mistakes_are_told_in_one_line(files, tmp_path, words, says, capsys):
    names = {"SCAN": str(files / "scan.xyz"), "TRAIN": str(files / "train.xyz")}
    words = [names.get(word, word) for word in words]
    options = ["--runs", str(tmp_path), "--quiet"] if words[0].startswith("train") else []
    assert main([*words, *options]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ") and says in message and message.count("\n") == 1


def test_two_tests_of_one_name_are_refused(files, tmp_path):
    copy = tmp_path / "test.xyz"
    copy.write_text((files / "test.xyz").read_text())
    model = ForceFieldConfig(channels=1).build(Calibration((1, 8), (0.0, 0.0)))
    with pytest.raises(ConventionError, match="different names"):
        evaluate_files(model, [files / "test.xyz", copy])


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_help_teaches(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        main([verb, "force-field", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "eV" in text and "npz" in text


def test_pages_of_force_fields(files, tmp_path, capsys):
    runs = []
    for seed in ("0", "1"):
        runs.append(trained(
            files, tmp_path / seed, str(files / "train.xyz"), "--steps", "4", "--minutes", "0",
            "--validation", "4", "--probe-every", "2", "--log-every", "1", "--seed", seed,
            "--tests", str(files / "test.xyz"), str(files / "scan.xyz"),
        ))  # fmt: skip
    page = tmp_path / "page.html"
    assert main(["report", *map(str, runs), "--out", str(page), "--title", "Springs"]) == 0
    text = page.read_text()
    assert "<title>Springs</title>" in text and "<script" not in text and "http:" not in text[:900]
    assert all(f"gaunt (seed {s}): {t}" in text for s in (0, 1) for t in ("test", "scan"))
    assert "forces, held out" in text
    assert main(["report", str(runs[0]), str(runs[0])]) == 1
    assert "every run once" in capsys.readouterr().err
    words = ["--molecules", "2", "--samples", "2"]
    assert main(["measure", str(runs[0]), str(files / "test.xyz"), *words]) == 0
    assert "force field: forces" in capsys.readouterr().out
    found = json.loads((runs[0] / "equivariance.json").read_text())
    assert found["error"]["outputs"]["forces"]["metrics"]["worst"] < 1e-3
    assert "test.xyz" in (runs[0] / "equivariance.html").read_text()
    # Errors of weights that the run no longer has do not stand on its page.
    more = ["train", "force-field", "--resume", str(runs[0]), "--quiet", "--steps", "5", "--tests"]
    assert main(more) == 0
    assert main(["report", str(runs[0])]) == 1
    assert "Evaluate it first" in capsys.readouterr().err


def of_other_compositions(files, folder):
    """The test file with its second atom renamed: OOH instead of OHH."""
    lines = (files / "test.xyz").read_text().splitlines()
    for start in range(0, len(lines), 5):
        lines[start + 3] = "O" + lines[start + 3][1:]
    path = folder / "other.xyz"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("fitted", [True, False])
def test_energies_that_nothing_determines_are_said(files, tmp_path, fitted, capsys):
    options = [str(files / "train.xyz"), "--steps", "2", "--minutes", "0", "--validation", "4"]
    if not fitted:
        options += ["--isolated-atoms", str(files / "atoms.xyz"), "--no-fitted-atoms"]
    run = trained(files, tmp_path, *options)
    other = of_other_compositions(files, tmp_path)
    capsys.readouterr()
    assert main(["evaluate", str(run), str(files / "test.xyz"), str(other)]) == 0
    said = capsys.readouterr().out
    assert ("warning: other: 8 of 8 molecules" in said) == fitted
    assert "warning: test" not in said
    measures = json.loads((run / "measures.json").read_text())
    counts = [measures[name]["undetermined_energies"] for name in ("test", "other")]
    assert counts == [0, 8 if fitted else 0]


def test_a_composition_is_kept_once_for_all_that_it_combines_to(files):
    config = ForceFieldExperiment(data=files / "train.xyz", validation=4)
    molecules, _ = read_training_sets(config)
    calibration = calibrate(
        molecules, MoleculeGraphs(molecules, cutoff_angstrom=4.0), fitted_atoms=True
    )
    assert calibration.fitted_compositions == ((2, 1),)
