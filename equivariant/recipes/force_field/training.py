"""Training of force fields whose features couple by products on the sphere, after Luo et al. 2024.

The same network with Clebsch and Gordan's products is the baseline: ``product`` says which.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from datasets3d import MoleculeGraphs, Molecules, read_isolated_atoms, read_molecules
from equivariant.errors import ConventionError, DataFormatError
from equivariant.nn.force_field import Calibration, ForceField, ForceFieldConfig
from equivariant.recipes.force_field.evaluation import force_field_errors
from equivariant.runs import RunFolder, file_digest, read_json
from equivariant.training import FitConfig, PotentialLearner, fit, load_weights, read_header
from equivariant.workflows.recipe import option

HEADER_FORMAT = "equivariant force field 1"

FIT = FitConfig(
    steps=0,
    minutes=10.0,
    batch_size=5,
    learning_rate=2e-2,
    weight_decay=0.0,
    warmup_steps=20,
    schedule="cosine",
    amsgrad=True,
    gradient_clip=10.0,
    average_decay=0.99,
    log_every=50,
    checkpoint_every=500,
)
"""How a force field is trained if nothing else is asked for."""


@dataclass(frozen=True)
class ForceFieldExperiment:
    """A force field, trained on molecules with energies and forces.

    Data: an extended xyz file (energies in eV, forces in eV/Å; needs the extra `molecules`), or
    an npz file of the revised MD17 data set, whose kcal/mol are converted. `--product gaunt` and
    `gaunt_full` couple features by products of functions on the sphere, `clebsch_gordan` by every
    coupling of e3nn, in the same network. Training lasts `--minutes`, or `--steps`, whichever
    ends first; Ctrl-C leaves a checkpoint, and `--resume RUN` goes on.

        equivariant train force-field train_300K.xyz --isolated-atoms isolated_atoms.xyz \\
            --tests test_MD_300K.xyz test_MD_600K.xyz --product gaunt --minutes 10

    Args:
        data: Molecules with forces: extended xyz in eV and Å, or an npz file of rMD17.
        isolated_atoms: Extended xyz file with the energies of isolated atoms, in eV.
        model: Network.
        fit: Training.
        validation: Molecules of the file that are held out for probes, drawn with the seed.
        train: Molecules that are trained on, of the others; 0 for all of them.
        fitted_atoms: Fit the energies of atoms to the training set; else those of isolated atoms
            are kept as they are, and the energy of binding has to be learned.
        energy_weight: Of the squared error of the energy per atom, in 1/eV².
        force_weight: Of the squared error of force components, in Å²/eV².
        seed: Of the split, of fresh weights and of the order of batches.
        tests: Files to evaluate on at the end; nothing is learned or chosen from them.
    """

    data: Path
    isolated_atoms: Path | None = field(default=None, metadata=option(free=True))
    model: ForceFieldConfig = field(default_factory=ForceFieldConfig, metadata=option(""))
    fit: FitConfig = field(default=FIT, metadata=option(""))
    validation: int = 50
    train: int = 0
    fitted_atoms: bool = True
    energy_weight: float = 40.0
    force_weight: float = 1000.0
    seed: int = 0
    tests: tuple[Path, ...] = field(default=(), metadata=option(free=True))
    recipe: str = field(default="force-field", init=False)

    def __post_init__(self) -> None:
        if self.fit.precision != "32":
            raise ConventionError(
                expected="precision 32", got=self.fit.precision, argument="fit.precision",
                advice="Forces are gradients; in half precision they are too coarse to learn from.",
            )  # fmt: skip

    @property
    def run_name(self) -> str:
        """What runs of these settings are called: by the product."""
        return f"force-field-{self.model.product}"


def read_training_sets(config: ForceFieldExperiment) -> tuple[Molecules, Molecules]:
    """The molecules to train on and those held out.

    Args:
        config: Which file, and how many.

    Raises:
        DataFormatError: A file is malformed.
        ConventionError: There are fewer molecules than asked for.
    """
    molecules = read_molecules(config.data)
    if config.isolated_atoms is not None:
        atoms = read_isolated_atoms(config.isolated_atoms)
        molecules = replace(molecules, atom_energies_eV=atoms)
    count = config.train or len(molecules) - config.validation
    train, validation = molecules.split(max(count, 1), config.validation, seed=config.seed)
    return train, validation


def calibrate(molecules: Molecules, graphs: MoleculeGraphs, *, fitted_atoms: bool) -> Calibration:
    """What a network takes from its training set.

    Energies of atoms are those of isolated atoms, plus, where they are fitted, the correction
    with the smallest norm that explains the energies best by what molecules consist of. The
    scale is the root mean square of force components times 1 Å.

    Args:
        molecules: Training set, with forces.
        graphs: The same as graphs.
        fitted_atoms: Whether the correction is made.

    Raises:
        ConventionError: Energies of isolated atoms are needed and not known, or there are no
            forces.
    """
    elements = molecules.elements
    lacking = [n for n in elements if n not in molecules.atom_energies_eV]
    if lacking and not fitted_atoms:
        raise ConventionError(
            expected="energies of isolated atoms", got=f"none of elements {lacking}",
            argument="isolated_atoms", advice="Pass their file, or fit them.",
        )  # fmt: skip
    if molecules.forces_eV_per_angstrom is None:
        raise ConventionError(
            expected="molecules with forces", got="energies only", argument="molecules",
            advice="Train on a file with forces.",
        )  # fmt: skip
    e0 = torch.zeros(len(elements), dtype=torch.float64)
    if not lacking:
        e0 = torch.tensor([molecules.atom_energies_eV[n] for n in elements], dtype=torch.float64)
    counts = molecules.composition(elements)
    if fitted_atoms:
        e0 = e0 + torch.linalg.pinv(counts) @ (molecules.energies_eV - counts @ e0)
    forces = molecules.forces_eV_per_angstrom
    return Calibration(
        elements,
        tuple(e0.tolist()),
        trained_atoms=fitted_atoms,
        scale_eV=max(float(forces.square().mean().sqrt()), 1e-6),
        mean_neighbors=max(graphs.mean_neighbors, 1e-6),
        fitted_compositions=_independent(counts) if fitted_atoms else (),
    )


def _independent(counts: Tensor) -> tuple[tuple[int, ...], ...]:
    """Distinct rows, each kept if those before do not combine to it, rarest compositions last."""
    rows, repeats = counts.unique(dim=0, return_counts=True)
    kept: list[Tensor] = []
    for row in rows[repeats.argsort(descending=True, stable=True)]:
        if int(torch.linalg.matrix_rank(torch.stack([*kept, row]))) > len(kept):
            kept.append(row)
        if len(kept) == counts.shape[1]:
            break
    return tuple(tuple(int(n) for n in row) for row in kept)


def train(
    config: ForceFieldExperiment,
    run: RunFolder,
    *,
    fabric: Fabric | None = None,
    progress: bool = True,
) -> ForceField:
    """Train a force field and keep weights, metrics and settings in a run folder.

    Args:
        config: What to train on what.
        run: Where to keep it; a run that was interrupted there goes on.
        fabric: Processes that are started already.
        progress: Show a bar with time left on stderr.

    Returns:
        The force field in evaluation mode.

    Raises:
        DataFormatError: A file is malformed.
        ConventionError: Settings do not fit the data, or the loss is not finite.
    """
    molecules, held_out = read_training_sets(config)
    cutoff = config.model.cutoff_angstrom
    graphs = MoleculeGraphs(molecules, cutoff_angstrom=cutoff, seed=config.seed)
    calibration = calibrate(molecules, graphs, fitted_atoms=config.fitted_atoms)
    learner = build_learner(config, calibration)
    unseen = MoleculeGraphs(held_out, cutoff_angstrom=cutoff)

    def probe(model: nn.Module) -> dict[str, float]:
        return force_field_errors(model, unseen).numbers()

    fit(
        learner, graphs, config.fit, run=run, header=_header(config, calibration), fabric=fabric,
        probe=probe if len(held_out) else None, progress=progress, seed=config.seed,
        identity=_identity(config),
    )  # fmt: skip
    return _force_field(learner)


def build_learner(config: ForceFieldExperiment, calibration: Calibration) -> PotentialLearner:
    """A fresh network with its loss; the global generator is left as it was.

    Args:
        config: Network, weights of the loss, and seed.
        calibration: What the network takes from data.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = config.model.build(calibration)
    return PotentialLearner(
        model, energy_weight=config.energy_weight, force_weight=config.force_weight
    )


def load_force_field(path: Path) -> ForceField:
    """Load what training saved.

    Args:
        path: ``checkpoints/last.safetensors`` of a run.

    Returns:
        The force field in evaluation mode, with the averaged weights where there are some.

    Raises:
        DataFormatError: The file is missing, damaged, of another program or architecture.
    """
    header = read_header(path)
    try:
        if header["format"] != HEADER_FORMAT:
            raise KeyError(f"format {header['format']}")
        experiment = ForceFieldExperiment(
            data=Path(), model=ForceFieldConfig(**_tuples(header["model"]))
        )
        calibration = Calibration(**_tuples(header["calibration"]))
    except (KeyError, TypeError) as error:
        raise DataFormatError(
            expected=f"weights of a force field, format {HEADER_FORMAT!r}",
            got=f"{type(error).__name__}: {error}", argument=str(path),
            advice="Pass a file that `equivariant train force-field` wrote.",
        ) from error  # fmt: skip
    learner = build_learner(experiment, calibration)
    load_weights(path, learner)
    return _force_field(learner)


def restore_experiment(run: RunFolder) -> ForceFieldExperiment:
    """The settings a run was started with.

    Args:
        run: The run.

    Raises:
        DataFormatError: They are missing, damaged, or of another version.
    """
    path = run.path / "config.json"
    saved = read_json(path)
    try:
        isolated = saved["isolated_atoms"]
        return ForceFieldExperiment(**{
            **{name: value for name, value in saved.items() if name != "recipe"},
            "data": Path(saved["data"]),
            "tests": tuple(map(Path, saved.get("tests", ()))),
            "isolated_atoms": None if isolated is None else Path(isolated),
            "model": ForceFieldConfig(**_tuples(saved["model"])),
            "fit": FitConfig(**saved["fit"]),
        })  # fmt: skip
    except (KeyError, TypeError) as error:
        raise DataFormatError(
            expected="the settings of a force field's run", got=f"{type(error).__name__}: {error}",
            argument=str(path), advice="Resume with the version that started the run.",
        ) from error  # fmt: skip


def _identity(config: ForceFieldExperiment) -> dict[str, Any]:
    """What determines the weights besides the network and training, files by their content."""
    names = ("validation", "train", "fitted_atoms", "energy_weight", "force_weight")
    atoms = config.isolated_atoms
    return {
        "data": file_digest(config.data),
        "isolated_atoms": None if atoms is None else file_digest(atoms),
        **{name: getattr(config, name) for name in names},
    }


def _header(config: ForceFieldExperiment, calibration: Calibration) -> dict[str, Any]:
    """What a weights file says of itself, so that it can be loaded without further settings."""
    return {
        "format": HEADER_FORMAT,
        "model": asdict(config.model),
        "calibration": asdict(calibration),
        "seed": config.seed,
    }


def _tuples(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as they were before JSON made lists of their tuples."""
    return {key: _tuple(value) for key, value in settings.items()}


def _tuple(value: Any) -> Any:
    """A tuple, with tuples inside, from a list; other values as they are."""
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


def _force_field(learner: PotentialLearner) -> ForceField:
    """The trained network inside a learner, in evaluation mode."""
    model = learner.model.eval()
    if not isinstance(model, ForceField):
        raise ConventionError(
            expected="a learner of this recipe", got=type(model).__name__, argument="learner",
            advice="Make it with build_learner.",
        )  # fmt: skip
    return model
