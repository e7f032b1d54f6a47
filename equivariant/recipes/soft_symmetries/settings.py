"""What is trained on which task: methods by name, the network, the experiment."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from equivariant.errors import ConventionError, check_option
from equivariant.runs import RunFolder
from equivariant.training import FitConfig
from equivariant.workflows.experiment import saved_settings
from equivariant.workflows.recipe import option

TaskName = Literal["inertia", "cosine", "distance"]
Broken = Literal["none", "axis", "scale", "turns", "shifts"]
MethodName = Literal[
    "mlp", "augmented", "frames", "emlp", "emlp-true", "residual", "mixed-residual", "free",
    "projection", "smooth", "scale-free", "frobenius", "spectral", "sampled", "generators",
    "primal-dual", "relaxed",
]  # fmt: skip

BROKEN: dict[str, tuple[str, ...]] = {
    "inertia": ("none", "axis"), "cosine": ("none", "scale", "turns"),
    "distance": ("none", "shifts", "turns"),
}  # fmt: skip
"""What can be broken of each task."""

FIT = FitConfig(
    steps=800,
    batch_size=200,
    learning_rate=1e-2,
    weight_decay=0.0,
    schedule="cosine",
    accelerator="cpu",
    log_every=50,
    checkpoint_every=400,
)
"""How a network is trained if nothing else is asked for."""


@dataclass(frozen=True)
class SoftExperiment:
    """A task whose symmetry is partly broken, learned exactly, freely, or softly.

    Tasks are made from formulas: moments of inertia with an axis of their own, cosines of vectors,
    lengths of edges. Of some candidate symmetries one part is exact and another broken. Methods:
    `mlp`, `augmented` (an mlp that sees moved inputs), `frames` (an mlp averaged over frames; of
    inertia), `emlp` (exact, of the group of the unbroken task), `emlp-true` (exact, of what is
    left), `residual` and `mixed-residual` (exact plus a rest that a prior keeps small), `free`,
    and the same free network with a term of soft equivariance over the candidates, by its penalty
    or by the rule of its strengths. `evaluate` gives errors in and out of distribution,
    equivariance errors and, for free networks, the levels that were found.

        equivariant train soft --task inertia --broken axis --breaking 0.3 --method scale-free

    Args:
        data: Not used: tasks are made from formulas.
        task: What is learned.
        broken: What breaks it: "axis" of inertia; "scale" or "turns" of cosines; "shifts" or
            "turns" of distances.
        breaking: By how much.
        method: How it is learned.
        strength: Of the term; None for the method's own.
        tune_at: Step at which strengths are changed; 0 for half of the steps.
        width: Entries of hidden representations, or hidden units.
        layers: Linear layers.
        fit: Training.
        count: Items of each set: training, validation, test, and shifted test.
        shift: Added to coordinates of the shifted test set.
        seed: Of data, fresh weights and order.

    Raises:
        ConventionError: An unknown word, words that do not go together, or a number out of range.
    """

    data: Path = Path()
    task: TaskName = "inertia"
    broken: Broken = "axis"
    breaking: float = 0.3
    method: MethodName = "scale-free"
    strength: float | None = None
    tune_at: int = 0
    width: int = 96
    layers: int = 3
    fit: FitConfig = field(default=FIT, metadata=option(""))
    count: int = 1000
    shift: float = 0.5
    seed: int = 0
    recipe: str = field(default="soft", init=False)

    def __post_init__(self) -> None:
        check_option(self.task, get_args(TaskName), "task")
        check_option(self.method, get_args(MethodName), "method")
        check_option(self.broken, BROKEN[self.task], "broken")
        if self.method == "frames" and self.task != "inertia":
            raise ConventionError(
                expected="frames with the task inertia", got=self.task, argument="method",
                advice="Frames are those of O(3), which the other tasks are not about.",
            )  # fmt: skip
        if min(self.width, self.layers, self.count) < 1 or min(self.seed, self.tune_at) < 0:
            raise ConventionError(
                expected="width, layers and count of at least 1, seed and tune_at of at least 0",
                got=f"{self.width}, {self.layers}, {self.count}, {self.seed}, {self.tune_at}",
                argument="experiment", advice="Leave them out for 96, 3, 1000, 0 and 0.",
            )  # fmt: skip
        if not all(map(math.isfinite, (self.breaking, self.shift, self.strength or 0.0))):
            raise ConventionError(
                expected="a finite breaking, shift and strength",
                got=f"{self.breaking}, {self.shift}, {self.strength}", argument="experiment",
                advice="0 breaks nothing, and a strength of None is the method's own.",
            )  # fmt: skip
        if self.fit.batch_size > self.count:
            raise ConventionError(
                expected=f"batches of at most {self.count} items", got=str(self.fit.batch_size),
                argument="--batch-size", advice="Pass a smaller batch or a larger --count.",
            )  # fmt: skip

    @property
    def run_name(self) -> str:
        """What runs of these settings are called: by task and method."""
        return f"soft-{self.task}-{self.method}"

    @property
    def title(self) -> str:
        """What a run is called in tables."""
        broken = "unbroken" if self.broken == "none" else f"{self.broken} by {self.breaking:g}"
        return f"{self.task}, {broken}: {self.method}"


def restore_experiment(run: RunFolder) -> SoftExperiment:
    """The settings a run was started with.

    Args:
        run: The run.

    Raises:
        DataFormatError: They are missing, damaged, or of another version.
    """
    return saved_settings(run, SoftExperiment, what="tasks with soft symmetries")
