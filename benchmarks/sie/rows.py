"""Rows of the study: the methods compared and the ablations, with the budget of all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from equivariant.measure import ProbeConfig
from equivariant.recipes.sie_3diebench.experiment import SieExperiment
from equivariant.recipes.sie_3diebench.models import ModelConfig
from equivariant.recipes.sie_3diebench.protocol import EvaluationConfig
from equivariant.training import FitConfig

_BASE = ModelConfig(
    width=8, projector=(128, 128, 128), conditioning="matrix", gain=1.0, irreps="20x1o"
)
ROWS: dict[str, tuple[str, ModelConfig]] = {
    "sie": ("SIE", _BASE),
    "simclr": ("SimCLR", replace(_BASE, method="simclr")),
    "vicreg": ("VICReg", replace(_BASE, method="vicreg")),
    "equimod": (
        "EquiMod, MLP predictor",
        replace(_BASE, method="equimod", predictor="mlp", gain=0.0),
    ),
    "augself": ("SimCLR + AugSelf", replace(_BASE, method="augself")),
    "only_equivariance": ("only equivariance", replace(_BASE, method="only_equivariance")),
    "exact": ("split, exact action", replace(_BASE, method="exact")),
    "supervised": ("supervised reference", replace(_BASE, method="supervised")),
    "random": ("random weights", replace(_BASE, method="random")),
    "sie_quaternion": ("SIE, quaternion", replace(_BASE, conditioning="quaternion")),
    "sie_published_start": ("SIE, published start gain", replace(_BASE, gain=0.0)),
    "sie_no_moved_variance": (
        "SIE, no variance of predictions",
        replace(_BASE, moved_variance=False),
    ),
    "sie_mlp": ("SIE, MLP predictor", replace(_BASE, predictor="mlp", gain=0.0)),
}
"""Key, title and network; "sie" is the base of the ablations: rotation matrix, start gain 1."""

ABLATIONS = ("sie_quaternion", "sie_published_start", "sie_no_moved_variance", "sie_mlp")


@dataclass(frozen=True)
class StudyBudget:
    """What every training of a study has.

    Args:
        steps: Optimizer steps.
        batch_size: Pairs per step.
        probe_every: Steps between linear scores on held-out objects.
        head_steps: Steps of the heads of the evaluation.
    """

    steps: int = 400
    batch_size: int = 128
    probe_every: int = 100
    head_steps: int = 300

    @property
    def fit(self) -> FitConfig:
        """Training, the same for every row."""
        return FitConfig(
            steps=self.steps, batch_size=self.batch_size, accelerator="cpu",
            log_every=50, probe_every=self.probe_every, checkpoint_every=max(1, self.steps // 2),
        )  # fmt: skip

    def evaluation(self, seed: int) -> EvaluationConfig:
        """Heads, the same for every row."""
        probe = ProbeConfig(epochs=1, hidden=256, seed=seed, min_steps=self.head_steps)
        return EvaluationConfig(probe=probe)

    def experiment(self, data: Path, row: str, seed: int) -> SieExperiment:
        """One training."""
        return SieExperiment(data=data.resolve(), model=ROWS[row][1], fit=self.fit, seed=seed)
