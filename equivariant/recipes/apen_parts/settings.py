"""What is trained on which bodies: the network, the poses, the experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets3d.bodies.splits import KINDS, SplitKind
from equivariant.errors import ConventionError, check_option
from equivariant.groups import E3, SE3
from equivariant.nn import APENConfig
from equivariant.runs import RunFolder
from equivariant.training import FitConfig
from equivariant.workflows.experiment import saved_settings
from equivariant.workflows.recipe import option

FIT = FitConfig(
    steps=3000, batch_size=8, learning_rate=5e-3, warmup_steps=50, schedule="cosine",
    gradient_clip=1.0, log_every=20, probe_every=500, checkpoint_every=250,
)  # fmt: skip
"""How a network is trained if nothing else is asked for."""


@dataclass(frozen=True)
class PartNetwork:
    """A network for clouds of bodies.

    Args:
        cells: First cells of a cloud.
        widths: Features of each layer.
        sigmas: Width of the mixture after each layer, in metres, rising.
        reach: Components nearer than this many sigmas are one.
        hidden: Width of the head.
        reflections: Commute with reflections of parts too: a left arm is then a right one.
    """

    cells: int = 96
    widths: tuple[int, ...] = (32, 64, 96)
    sigmas: tuple[float, ...] = (0.05, 0.1, 0.15)
    reach: float = 0.7
    hidden: int = 128
    reflections: bool = False

    def config(self) -> APENConfig:
        """The same as the network's own settings."""
        return APENConfig(
            group=E3() if self.reflections else SE3(), cells=self.cells, widths=self.widths,
            sigmas=self.sigmas, reach=self.reach, hidden=self.hidden,
        )  # fmt: skip


@dataclass(frozen=True)
class PartExperiment:
    """Parts of moving bodies: a network on predicted parts, taught on recorded motions.

    Data: a folder of motions as CMU's database has them, SUBJECT/SUBJECT.asf and
    SUBJECT/SUBJECT_TRIAL.amc. Bodies of capsules take the recorded poses, and the network learns
    which of fourteen parts each of their points belongs to. In a share of the steps it is told
    the parts of a batch, in the others it has to find them; afterwards it is never told.
    `evaluate` says how well it finds parts in unseen poses, and what its certificates are worth;
    `measure` moves every part by an element of its own. Ctrl-C leaves a checkpoint, and
    `--resume RUN` goes on.

        equivariant train apen cmu_mocap --split "unseen sequences" --steps 3000

    Args:
        data: Folder of the motions.
        split: "random frames", "unseen sequences" or "unseen action".
        subjects: Whose motions; all if not given.
        every: Every so manieth frame is used.
        bodies: Synthetic bodies of different proportions.
        points: Points of each cloud.
        network: Network.
        fit: Training.
        told: Share of the steps that are told the parts, in [0, 1].
        votes: Weight of the votes for centres of parts, not negative.
        probed: Validation clouds that a probe sees.
        seed: Of fresh weights, of the split, of bodies and points, and of the order.

    Raises:
        ConventionError: A number is out of its range, or an unknown word.
    """

    data: Path
    split: SplitKind = "unseen sequences"
    subjects: tuple[str, ...] = ()
    every: int = 12
    bodies: int = 10
    points: int = 512
    network: PartNetwork = field(default_factory=PartNetwork, metadata=option(""))
    fit: FitConfig = field(default=FIT, metadata=option(""))
    told: float = 0.5
    votes: float = 1.0
    probed: int = field(default=64, metadata=option(free=True))
    seed: int = 0
    recipe: str = field(default="apen", init=False)

    def __post_init__(self) -> None:
        check_option(self.split, KINDS, "split")
        if (
            not 0 <= self.told <= 1
            or min(self.votes, self.seed) < 0
            or (min(self.every, self.bodies, self.points, self.probed) < 1)
        ):
            raise ConventionError(
                expected="told in [0, 1], votes and seed not negative, other numbers at least 1",
                got=f"told={self.told}, votes={self.votes}, seed={self.seed}, "
                f"every={self.every}, bodies={self.bodies}, points={self.points}",
                argument="experiment", advice="Leave out what you do not need to set.",
            )  # fmt: skip

    @property
    def run_name(self) -> str:
        """What runs of these settings are called."""
        return "parts-" + self.split.replace(" ", "-")


def network_settings(saved: dict[str, Any]) -> PartNetwork:
    """A network's settings from what JSON made of them: lists for tuples."""
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}
    return PartNetwork(**plain)


def restore_experiment(run: RunFolder) -> PartExperiment:
    """The settings a run was started with.

    Args:
        run: The run.

    Raises:
        DataFormatError: They are missing, damaged, or of another version.
    """
    return saved_settings(
        run, PartExperiment, what="parts of bodies", subjects=tuple, network=network_settings
    )
