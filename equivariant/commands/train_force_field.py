"""equivariant train-force-field"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from equivariant.commands.resume import going_on, with_ends
from equivariant.commands.terminal import say
from equivariant.errors import ConventionError
from equivariant.nn.force_field import ForceFieldConfig
from equivariant.recipes.force_field.evaluation import errors_table, evaluate_files, keep_measures
from equivariant.recipes.force_field.training import (
    FIT,
    ForceFieldExperiment,
    restore_experiment,
    train,
)
from equivariant.runs import RunFolder
from equivariant.training import FitConfig, launch


@dataclass(frozen=True)
class TrainForceField:
    """Train a force field on molecules with energies and forces.

    Data: an extended xyz file (energies in eV, forces in eV/Å; needs the extra `molecules`), or
    an npz file of the revised MD17 data set, whose kcal/mol are converted. `--product gaunt` and
    `gaunt_full` couple features by products of functions on the sphere, `clebsch_gordan` by every
    coupling of e3nn, in the same network. Training lasts `--minutes`, or `--steps`, whichever
    ends first; Ctrl-C leaves a checkpoint, and `--resume RUN` goes on.

        equivariant train-force-field train_300K.xyz --isolated-atoms isolated_atoms.xyz \
            --tests test_MD_300K.xyz test_MD_600K.xyz --product gaunt --minutes 10

    Args:
        data: Training file.
        tests: Files to evaluate on at the end; nothing is learned or chosen from them.
        isolated_atoms: Extended xyz file with the energies of isolated atoms, in eV.
        model: Network.
        fit: Training.
        validation: Molecules of the training file that are held out for probes.
        train: Molecules that are trained on, of the others; 0 for all of them.
        fitted_atoms: Fit the energies of atoms to the training set; else those of isolated atoms
            are kept, and the energy of binding has to be learned.
        energy_weight: Of the squared error of the energy per atom, in 1/eV².
        force_weight: Of the squared error of force components, in Å²/eV².
        seed: Of the split, of fresh weights and of the order of batches.
        runs: Folder under which run folders are made.
        name: Of the run; force-field-PRODUCT if not given.
        resume: Go on with this run folder; settings are then read from it, and others refused,
            but for `--steps` and `--minutes` of the whole run, which may be raised, what changes
            no step, and the place of files that were moved.
        quiet: Show no progress bar.
    """

    verb: ClassVar[str] = "train-force-field"
    bare: ClassVar[tuple[str, ...]] = ("model", "fit")
    free: ClassVar[tuple[str, ...]] = ("tests", "isolated_atoms")

    data: Annotated[Path | None, tyro.conf.Positional] = None
    tests: tuple[Path, ...] = ()
    isolated_atoms: Path | None = None
    model: Annotated[ForceFieldConfig, tyro.conf.arg(name="")] = field(
        default_factory=ForceFieldConfig
    )
    fit: Annotated[FitConfig, tyro.conf.arg(name="")] = FIT
    validation: int = 50
    train: int = 0
    fitted_atoms: bool = True
    energy_weight: float = 40.0
    force_weight: float = 1000.0
    seed: int = 0
    runs: Path = Path("runs")
    name: str = ""
    resume: Path | None = None
    quiet: bool = False

    def __call__(self) -> None:
        run = None if self.resume is None else RunFolder.open(self.resume)
        config = self.config()
        fabric = launch(config.fit)
        if run is None:
            name, path = self.name or f"force-field-{config.model.product}", ""
            if fabric.is_global_zero:
                path = str(RunFolder.create(self.runs, name, config=config).path)
            run = RunFolder(Path(fabric.broadcast(path)))
        with going_on(self.verb, run, config):
            model = train(config, run, fabric=fabric, progress=not self.quiet)
        if not fabric.is_global_zero:
            return
        say(f"weights: {run.weights}")
        if self.tests:
            measures = evaluate_files(model, self.tests)
            keep_measures(run, measures, self.tests)
            say(errors_table(measures).text())
        else:
            say(f"next: equivariant evaluate-force-field {run.path} TEST_FILE")

    def config(self) -> ForceFieldExperiment:
        """What is trained on what."""
        if self.data is None:
            raise ConventionError(
                expected="a training file, or --resume RUN", got="neither", argument="data",
                advice="Pass an extended xyz file or an npz file of rMD17.",
            )  # fmt: skip
        isolated = self.isolated_atoms
        return ForceFieldExperiment(
            data=self.data.resolve(),
            isolated_atoms=None if isolated is None else isolated.resolve(),
            model=self.model,
            fit=self.fit,
            validation=self.validation,
            train=self.train,
            fitted_atoms=self.fitted_atoms,
            energy_weight=self.energy_weight,
            force_weight=self.force_weight,
            seed=self.seed,
        )

    def saved(self, run: RunFolder) -> TrainForceField:
        """This command with the settings of a run."""
        config = restore_experiment(run)
        return replace(
            self,
            data=config.data,
            tests=(),
            isolated_atoms=config.isolated_atoms,
            model=config.model,
            fit=with_ends(config.fit, run),
            validation=config.validation,
            train=config.train,
            fitted_atoms=config.fitted_atoms,
            energy_weight=config.energy_weight,
            force_weight=config.force_weight,
            seed=config.seed,
            runs=Path("runs"),
            name="",
        )
