"""equivariant evaluate-force-field"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from equivariant.commands.terminal import say
from equivariant.recipes.force_field.evaluation import (
    errors_table,
    evaluate_files,
    keep_measures,
    warnings_of,
)
from equivariant.recipes.force_field.training import load_force_field
from equivariant.runs import RunFolder


@dataclass(frozen=True)
class EvaluateForceField:
    """Compare a trained force field with known energies and forces; writes measures.json.

    Mean absolute and root mean square errors for each file, energies in meV and forces in meV/Å.
    Files measured before stay in measures.json; one of the same name is replaced.
    Files without forces, such as scans along a path, are compared by their energies.

        equivariant evaluate-force-field runs/force-field-gaunt/... test_MD_300K.xyz

    Args:
        run: Run folder that train-force-field made.
        tests: Extended xyz files (eV, Å) or npz files of rMD17.
        batch_size: Molecules at a time.
    """

    run: Annotated[Path, tyro.conf.Positional]
    tests: Annotated[tuple[Path, ...], tyro.conf.Positional]
    batch_size: int = 32

    def __call__(self) -> None:
        run = RunFolder.open(self.run)
        model = load_force_field(run.weights)
        measures = evaluate_files(model, self.tests, batch_size=self.batch_size)
        stale = keep_measures(run, measures, self.tests)
        say(errors_table(measures).text())
        for warning in warnings_of(measures):
            say(f"warning: {warning}")
        if stale:
            say(f"left out of measures.json, of other weights: {', '.join(stale)}")
