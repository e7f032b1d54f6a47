"""What is trained on which digits: groups and laws by name, the network, the experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from datasets3d.digits import AffNistLaw, PlaneLaw, RotationLaw, TruncatedHaarLaw, WideAffineLaw
from equivariant.errors import ConventionError, check_option
from equivariant.groups import GL, O2, SL, SO2, Group, ScaledRotations
from equivariant.nn import LieNetworkConfig
from equivariant.nn.lie.pooling import PoolName
from equivariant.nn.lie.sampling import SamplingName
from equivariant.runs import RunFolder
from equivariant.training import FitConfig
from equivariant.workflows.experiment import saved_settings
from equivariant.workflows.recipe import option

GroupName = Literal["gl2", "sl2", "rotation-scale", "rotation", "e2"]
LawName = Literal["affnist", "wide", "rotation", "haar-sl2", "haar-gl2"]
ModelName = Literal["lie", "cnn"]
ObjectiveName = Literal["supervised", "contrastive"]

LINEAR_PARTS: dict[str, Group] = {
    "gl2": GL(2), "sl2": SL(2), "rotation-scale": ScaledRotations(2), "rotation": SO2(), "e2": O2(),
}  # fmt: skip

FIT = FitConfig(
    steps=2000,
    batch_size=128,
    learning_rate=2e-3,
    weight_decay=1e-5,
    warmup_steps=100,
    schedule="cosine",
    gradient_clip=1.0,
    log_every=20,
    probe_every=500,
    checkpoint_every=250,
)
"""How a network for digits is trained if nothing else is asked for."""


@dataclass(frozen=True)
class DigitNetwork:
    """A network for pictures of digits.

    Args:
        model: "lie": convolutions on a group; "cnn": a plain residual network, the baseline that
            knows no group, of which only ``cnn_widths`` and ``vectors`` say the shape.
        group: Linear part of the motions that a Lie network commutes with, beside translations:
            "gl2" (all maps that keep orientation), "sl2" (those that keep area),
            "rotation-scale", "rotation", or "e2" (rotations and mirrors).
        sampling: Law of the group elements in its layers.
        samples: Group elements in every layer.
        radius: Of the law, for stretches.
        scale_radius: Of the law, for scales; None takes ``radius``.
        window: Radii of the group kernels' windows, over those of the law.
        relative_steps: Elements around each sample at which the first group convolution reads
            the lift; 0 for none.
        width: Channels.
        blocks: Residual blocks.
        lift_radius: Of lifting kernels, in units of half the picture's side.
        conv_radius: Of the other kernels.
        stride: Of the lift, in pixels.
        pool: Over places and samples.
        dropout: Before the classes, in [0, 1).
        vectors: Plane vectors in the representation, for the contrastive objective.
        projector: Widths of the projector of what does not move, for the contrastive objective.
        cnn_widths: Channels of each stage of the plain network.

    Raises:
        ConventionError: An unknown word, or no vector.
    """

    model: ModelName = "lie"
    group: GroupName = "gl2"
    sampling: SamplingName = LieNetworkConfig.sampling
    samples: int = LieNetworkConfig.samples
    radius: float = LieNetworkConfig.radius
    scale_radius: float | None = None
    window: float = LieNetworkConfig.window
    relative_steps: int = 0
    width: int = LieNetworkConfig.width
    blocks: int = LieNetworkConfig.blocks
    lift_radius: float = LieNetworkConfig.lift_radius
    conv_radius: float = LieNetworkConfig.conv_radius
    stride: int = LieNetworkConfig.stride
    pool: PoolName = LieNetworkConfig.pool
    dropout: float = 0.0
    vectors: int = 8
    projector: tuple[int, ...] = (128, 64)
    cnn_widths: tuple[int, ...] = (16, 24, 32)

    def __post_init__(self) -> None:
        check_option(self.model, get_args(ModelName), "model")
        check_option(self.group, get_args(GroupName), "group")
        if self.vectors < 1 or not self.projector:
            raise ConventionError(
                expected="at least one vector and one layer of the projector",
                got=f"vectors={self.vectors}, projector={self.projector}", argument="network",
                advice="The contrastive objective compares both parts of a representation.",
            )  # fmt: skip


@dataclass(frozen=True)
class DigitExperiment:
    """Digits under affine maps: a network on a linear group, or a plain one, on MNIST.

    Data: the folder of MNIST's four files. `--objective supervised` teaches classes by centred
    digits, or with `--augment` by transformed ones. `contrastive` compares pairs of pictures of
    one digit whose motion g is recorded: one part of a representation is to stay, plane vectors
    are to move by the linear part of g. Networks on a group do so by construction for g in that
    group alone; other motions of the law they learn. `evaluate`, `measure` and `report` then say
    how well classes are known under transformations, and how far the trained network is from
    commuting with its group. Ctrl-C leaves a checkpoint, and `--resume RUN` goes on.

        equivariant train lie mnist --group sl2 --count 10000 --steps 3000

    Args:
        data: Folder of MNIST's files, compressed or not.
        objective: What is learned.
        network: Network.
        fit: Training.
        law: Of the motions in training (with ``augment``, or contrastive), and of one test set.
        law_radius: Of the laws "haar-sl2" and "haar-gl2".
        augment: Supervised: learn from transformed digits instead of centred ones.
        count: Training digits, at most 50,000; 0 for all. Fewer are among those of a larger count.
        validation: Digits at the end of the training file that are held out for probes.
        probed: How many of these a probe sees; 0 for all.
        size_px: Side of the frame, in which the 28 pixels of a digit stand in the middle.
        seed: Of fresh weights, of the choice of digits, and of their order and motions.

    Raises:
        ConventionError: An unknown word, a number out of range, or augmentation of pairs.
    """

    data: Path
    objective: ObjectiveName = "supervised"
    network: DigitNetwork = field(default_factory=DigitNetwork, metadata=option(""))
    fit: FitConfig = field(default=FIT, metadata=option(""))
    law: LawName = "affnist"
    law_radius: float = 0.4
    augment: bool = False
    count: int = 0
    validation: int = 10_000
    probed: int = field(default=500, metadata=option(free=True))
    size_px: int = field(default=40, metadata=option("size"))
    seed: int = 0
    recipe: str = field(default="lie", init=False)

    def __post_init__(self) -> None:
        check_option(self.objective, get_args(ObjectiveName), "objective")
        check_option(self.law, get_args(LawName), "law")
        if min(self.count, self.probed, self.seed) < 0 or self.validation < 1:
            raise ConventionError(
                expected="count, probed and seed of at least 0, validation of at least 1",
                got=f"count={self.count}, probed={self.probed}, seed={self.seed}, "
                f"validation={self.validation}",
                argument="experiment", advice="0 digits means all of them.",
            )  # fmt: skip
        if self.augment and self.objective == "contrastive":
            raise ConventionError(
                expected="augment with the supervised objective only", got="contrastive",
                argument="augment", advice="Pairs are transformed in any case: leave it out.",
            )  # fmt: skip

    @property
    def run_name(self) -> str:
        """What runs of these settings are called: by network and objective."""
        kind = self.network.group if self.network.model == "lie" else self.network.model
        return f"digits-{kind}" + ("-contrastive" if self.objective == "contrastive" else "")

    @property
    def title(self) -> str:
        """What a run is called in tables and figures."""
        words: list[str] = [self.network.group if self.network.model == "lie" else "plain network"]
        words += ["augmented"] * self.augment
        words += ["contrastive"] * (self.objective == "contrastive")
        return ", ".join(words)


def plane_law(name: LawName, radius: float) -> PlaneLaw:
    """The law of a name.

    Args:
        name: "affnist": affNIST's ranges; "wide": any rotation, shears and scales beyond those;
            "rotation": any rotation; "haar-sl2", "haar-gl2": Haar measure up to a radius.
        radius: Of the last two.

    Raises:
        ConventionError: Another name, or a radius that is not positive.
    """
    check_option(name, get_args(LawName), "law")
    if name == "affnist":
        return AffNistLaw()
    if name == "wide":
        return WideAffineLaw()
    if name == "rotation":
        return RotationLaw()
    return TruncatedHaarLaw("sl2" if name == "haar-sl2" else "gl2", radius)


def network_settings(saved: dict[str, Any]) -> DigitNetwork:
    """A network's settings from what JSON made of them: lists for tuples."""
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}
    return DigitNetwork(**plain)


def restore_experiment(run: RunFolder) -> DigitExperiment:
    """The settings a run was started with.

    Args:
        run: The run.

    Raises:
        DataFormatError: They are missing, damaged, or of another version.
    """
    return saved_settings(run, DigitExperiment, what="digits", network=network_settings)
