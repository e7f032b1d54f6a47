"""SIE and its baselines on pairs of rendered views: models, actions and objectives.

    x ──encoder──▶ y = [y_inv, y_equ] ──projectors──▶ z = [z_inv, z_equ] ──ρ(g)──▶ compare

A method is a choice of split, action and terms; nothing here computes anything of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from datasets3d.pairs.elements import ElementConvention
from equivariant.actions import Action, DirectSum, Factor, IrrepsAction, Trivial
from equivariant.errors import ConventionError, DataFormatError
from equivariant.groups import SO3, Product
from equivariant.losses import Objective, preset
from equivariant.nn import (
    Hypernetwork,
    ImageEncoderConfig,
    SharedProjector,
    SplitModel,
    SplitProjector,
)
from equivariant.training import (
    Learner,
    PairLearner,
    SupervisedLearner,
    load_weights,
    read_header,
)

Method = Literal[
    "random", "supervised", "vicreg", "simclr", "sie", "equimod", "equimod_split", "exact"
]
SPLIT_METHODS = ("sie", "equimod_split", "exact")
_METHODS = ("random", "supervised", "vicreg", "simclr", "equimod", *SPLIT_METHODS)
_TITLES = {
    "random": "random weights",
    "supervised": "supervised reference",
    "vicreg": "VICReg, invariant",
    "simclr": "SimCLR, invariant",
    "equimod": "EquiMod",
    "equimod_split": "EquiMod's idea, split",
    "exact": "split, exact action",
}
HEADER_FORMAT = 1


@dataclass(frozen=True)
class ModelConfig:
    """A method and its network.

    Args:
        method: "sie": split representation, the equivariant half moved by a hypernetwork.
            "equimod_split": the same network, contrast instead of variance terms. "exact": the
            same split, the equivariant half moved by a known representation of the rotation.
            "equimod": no split; two heads that both see the whole representation, contrast of
            the invariant one and of the other after a hypernetwork.
            "vicreg", "simclr": invariant baselines without a split.
            "supervised": the same encoder taught class and rotation. "random": not trained.
        width: Channels of the encoder's first stage; the representation has 8 times as many.
        topology: "standard", or "sie" for the published code's network.
        projector: Width of each projector layer over both halves together; a split method
            gives each half half of it, "equimod" each of its heads all of it.
        elements: What pairs tell the action: "rotation", or "rotation+color" for the changes of
            floor and light hue besides.
        conditioning: What the hypernetwork sees of a rotation: "quaternion", signed as in the
            published code, or "matrix", which is single-valued.
        gain: By how much the hypernetwork's prediction lengthens a vector at the start; 0 for the
            published start, whose gain grows with the width (9.2 at the paper's).
        irreps: For "exact": the representation of the equivariant half, as e3nn writes it.
    """

    method: Method = "sie"
    width: int = 64
    topology: Literal["standard", "sie"] = "standard"
    projector: tuple[int, ...] = (2048, 2048, 2048)
    elements: Literal["rotation", "rotation+color"] = "rotation"
    conditioning: Literal["quaternion", "matrix"] = "quaternion"
    gain: float = 0.0
    irreps: str = "64x1o"

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise ConventionError(
                expected=f"one of {', '.join(_METHODS)}",
                got=repr(self.method), argument="method",
                advice="See the documentation of ModelConfig.",
            )  # fmt: skip
        if not self.projector or any(width < 2 or width % 2 for width in self.projector):
            raise ConventionError(
                expected="even projector widths of at least 2",
                got=str(self.projector), argument="projector",
                advice="A split gives each half half of every width.",
            )  # fmt: skip

    @property
    def title(self) -> str:
        """What the method is called in tables and figures."""
        if self.method == "sie":
            return f"SIE, {self.conditioning}-conditioned"
        return _TITLES[self.method]

    @property
    def split(self) -> bool:
        """Whether the representation has an invariant and an equivariant half."""
        return self.method in SPLIT_METHODS

    @property
    def convention(self) -> ElementConvention:
        """How g is written.

        A representation of the rotation as the camera sees it turns by the element in world
        axes, on the left. A hypernetwork takes it in the object's axes, as in the paper.
        """
        if self.method == "exact":
            return ElementConvention(self.elements, frame="world")
        return ElementConvention(self.elements, cover=self.conditioning == "quaternion")


def build_action(config: ModelConfig) -> Action:
    """How g moves an embedding: z_inv stays, z_equ moves; everything stays for a baseline."""
    if not config.split and config.method != "equimod":
        return Trivial(config.projector[-1], config.convention.group)
    half = config.projector[-1] if config.method == "equimod" else config.projector[-1] // 2
    if config.method != "exact":
        return Trivial(half) + Hypernetwork(
            config.convention.group, half, config.conditioning, gain=config.gain or None
        )
    rotation: Action = IrrepsAction(config.irreps, SO3())
    if isinstance(config.convention.group, Product):
        rotation = Factor(rotation, config.convention.group, 0)
    return Trivial(half) + rotation


def build_model(config: ModelConfig) -> SplitModel:
    """Encoder and projectors, with fresh weights from the global generator."""
    encoder = ImageEncoderConfig(width=config.width, topology=config.topology).build()
    if config.method == "equimod":
        heads = SharedProjector(encoder.dim, [config.projector] * 2)
        return SplitModel(encoder, heads, names=("all",))
    if not config.split:
        projector = SplitProjector((encoder.dim,), [config.projector])
        return SplitModel(encoder, projector, names=("all",))
    half = tuple(width // 2 for width in config.projector)
    equivariant = half
    if config.method == "exact":
        # One linear map: a nonlinear one would have to commute with rotations by itself.
        equivariant = (IrrepsAction(config.irreps, SO3()).dim,)
    parts = (encoder.dim // 2, encoder.dim - encoder.dim // 2)
    projector = SplitProjector(parts, [half, equivariant])
    return SplitModel(encoder, projector, names=("invariant", "equivariant"))


def build_learner(config: ModelConfig, *, classes: int, seed: int) -> Learner:
    """The model together with its action and objective, ready to be trained.

    Args:
        config: Method and network.
        classes: Number of classes, for the supervised reference.
        seed: Of all fresh weights; the global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(config)
        if config.method in ("random", "supervised"):
            return SupervisedLearner(model, dim=model.encoder.dim, classes=classes)
        plan = preset(config.method).plan
        return PairLearner(model, Objective(plan, build_action(config)))


@dataclass(frozen=True)
class Trained:
    """A trained model with everything that evaluation needs.

    Args:
        model: In evaluation mode.
        action: The same action the loss used, weights included; None for a method without one.
        config: Method and network.
        labels: Names of the classes.
        channel_mean: Of images in [0, 1], three numbers.
        channel_std: The same.
    """

    model: SplitModel
    action: DirectSum | None
    config: ModelConfig
    labels: tuple[str, ...]
    channel_mean: tuple[float, ...]
    channel_std: tuple[float, ...]


def make_header(
    config: ModelConfig,
    *,
    labels: tuple[str, ...],
    channel_mean: tuple[float, ...],
    channel_std: tuple[float, ...],
    seed: int,
    data: str,
) -> dict[str, Any]:
    """What a weights file says of itself, so that it can be loaded without further settings.

    Args:
        config: Method and network.
        labels: Names of the classes.
        channel_mean: Of images in [0, 1], three numbers.
        channel_std: The same.
        seed: Of fresh weights and of pairs.
        data: Fingerprint of the training data.
    """
    return {
        "format": HEADER_FORMAT,
        "model": asdict(config),
        "labels": list(labels),
        "channel_mean": list(channel_mean),
        "channel_std": list(channel_std),
        "seed": seed,
        "data": data,
    }


def model_config(settings: dict[str, Any]) -> ModelConfig:
    """A ModelConfig from what JSON made of it (lists for tuples)."""
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()
    }
    return ModelConfig(**values)


def load_trained(path: Path) -> Trained:
    """Load what ``fit`` saved.

    Args:
        path: A weights file, ``checkpoints/last.safetensors`` of a run.

    Raises:
        DataFormatError: The file is missing, damaged, of another program or architecture.
    """
    header = read_header(path)
    if header.get("format") != HEADER_FORMAT or "model" not in header:
        raise DataFormatError(
            expected=f"weights of this recipe, header format {HEADER_FORMAT}",
            got=f"header {sorted(header)}",
            argument=str(path),
            advice="Pass a file that `equivariant train` wrote.",
        )
    config = model_config(header["model"])
    learner = build_learner(config, classes=len(header["labels"]), seed=0)
    load_weights(path, learner)
    learner.eval()
    return trained(learner, config, header)


def trained(learner: Learner, config: ModelConfig, header: dict[str, Any]) -> Trained:
    """A trained model for evaluation, from the learner that trained it."""
    action = learner.objective.action if isinstance(learner, PairLearner) else None
    model = learner.model
    if not isinstance(model, SplitModel):
        raise ConventionError(
            expected="a learner of this recipe", got=type(model).__name__, argument="learner",
            advice="Make it with build_learner.",
        )  # fmt: skip
    return Trained(
        model=model.eval(),
        action=action if isinstance(action, DirectSum) else None,
        config=config,
        labels=tuple(header["labels"]),
        channel_mean=tuple(header["channel_mean"]),
        channel_std=tuple(header["channel_std"]),
    )
