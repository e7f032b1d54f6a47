"""SIE and its baselines on pairs of rendered views: models, actions and objectives.

    x ──encoder──▶ y = [y_inv, y_equ] ──projectors──▶ z = [z_inv, z_equ] ──ρ(g)──▶ compare

A method is a choice of split, action and terms; nothing here computes anything of its own.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from datasets3d.pairs.elements import ElementConvention
from equivariant.actions import Action, DirectSum, Factor, IrrepsAction, Trivial
from equivariant.errors import ConventionError, DataFormatError, check_option
from equivariant.groups import SO3, Product
from equivariant.losses import Objective, preset
from equivariant.losses.presets.preset import Plan
from equivariant.nn import (
    Hypernetwork,
    ImageEncoderConfig,
    MLPPredictor,
    SharedProjector,
    SplitModel,
    SplitProjector,
)
from equivariant.nn.hypernetwork import element_features
from equivariant.nn.split_model import Encoder
from equivariant.recipes.sie_3diebench.methods import (
    AVERAGED_TEACHER,
    METHODS,
    SPLIT_METHODS,
    Method,
)
from equivariant.shapes import Matrix, Vector
from equivariant.training import (
    Learner,
    PairLearner,
    SupervisedLearner,
    load_weights,
    read_header,
)
from equivariant.training.learners.averaged_teacher import AveragedTeacherLearner
from equivariant.training.learners.group_law import GroupLawLearner
from equivariant.training.learners.pairs import NamedElementLearner
from equivariant.workflows.measuring.foreign_model import load_model

_OWN_PREDICTOR = ("exact", *AVERAGED_TEACHER)  # whatever the setting says
HEADER_FORMAT = 1


@dataclass(frozen=True)
class ModelConfig:
    """A method and its network.

    Args:
        method: What is trained, see ``methods.py``.
            Split representations, each half with a projector of its own: "sie", whose
            equivariant half a predictor moves; "equimod_split", the same network with contrast
            instead of variance terms; "exact", moved by a known representation of the rotation.
            Without a split: "equimod" (two heads that both see all of the representation,
            contrast of the invariant one and of the other after the predictor) and
            "equimod_vicreg"; "only_equivariance" and "sen" (all of the embedding moves; SIE's
            terms, or contrast); "conditional_byol" (the predictor reads the element).
            Invariant: "vicreg", "vicreg_part" (half of the embedding is aligned), "simclr",
            "byol"; "augself" (SimCLR, and a head that names the element from both views).
            "supervised": the same encoder taught class and rotation. "random": not trained.
        encoder: An encoder of your own instead of the residual network: module:factory or
            file.py:factory, called without arguments; a module from images (batch, 3, height,
            width) to representations, with their width as its attribute dim. "" for ours.
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
        predictor: What moves embeddings, but for "exact": "hypernetwork"; "deep", one with a
            small network before its matrices; "mlp", a perceptron of embedding and element.
        predictor_layers: Of "mlp"; the published ablation has 1.
        moved_variance: Whether "sie" keeps the variance of predictions up; without it the method
            is the published ablation SIENoVar.
        group_law: Weight of three terms that draw a learned predictor towards its group's law:
            identity, inverse, composition (ours; 0 leaves it free, as published).
        irreps: For "exact": the representation of the equivariant half, as e3nn writes it.
    """

    method: Method = "sie"
    encoder: str = ""
    width: int = 64
    topology: Literal["standard", "sie"] = "standard"
    projector: tuple[int, ...] = (2048, 2048, 2048)
    elements: Literal["rotation", "rotation+color"] = "rotation"
    conditioning: Literal["quaternion", "matrix"] = "quaternion"
    gain: float = 0.0
    irreps: str = "64x1o"
    predictor: Literal["hypernetwork", "deep", "mlp"] = "hypernetwork"
    predictor_layers: int = 1
    moved_variance: bool = True
    group_law: float = 0.0

    def __post_init__(self) -> None:
        check_option(self.method, tuple(METHODS), "method")
        place, _, factory = self.encoder.rpartition(":")
        if place.endswith(".py"):  # found again from anywhere
            object.__setattr__(self, "encoder", f"{Path(place).resolve()}:{factory}")
        check_option(self.predictor, ("hypernetwork", "deep", "mlp"), "predictor")
        moves = self.method not in _OWN_PREDICTOR and METHODS[self.method].moves != "nothing"
        if self.group_law < 0 or (self.group_law and not moves):
            raise ConventionError(
                expected="a weight of at least 0, and 0 for methods without a predictor",
                got=f"group_law={self.group_law}, method={self.method}", argument="group_law",
                advice="An exact action obeys the law; an invariant method has none.",
            )  # fmt: skip
        if self.predictor_layers < 1 or (self.gain and self.predictor == "mlp"):
            raise ConventionError(
                expected="at least one layer, and a gain for hypernetworks only",
                got=f"predictor={self.predictor}, predictor_layers={self.predictor_layers}, "
                f"gain={self.gain}",
                argument="predictor", advice="A perceptron starts as PyTorch's layers do.",
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
        words = [METHODS[self.method].title]
        if self.method == "sie":
            words.append(f"{self.conditioning}-conditioned")
        if self.predictor != "hypernetwork" and self.method not in ("exact", "byol"):
            words += (
                [] if METHODS[self.method].moves == "nothing" else [f"{self.predictor} predictor"]
            )
        if self.group_law:
            words.append("drawn to the group's law")
        if not self.moved_variance:
            words.append("without the predictions' variance")
        return ", ".join(words)

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

    def element_features(self, g: Matrix) -> Vector:
        """What predictors see of elements, shape (..., features)."""
        return element_features(self.convention.group, g, self.conditioning)


def build_action(config: ModelConfig) -> Action:
    """How g moves an embedding: what does not move stays, everything does for a baseline."""
    entry, width = METHODS[config.method], config.projector[-1]
    group = config.convention.group
    if config.method in AVERAGED_TEACHER:  # the predictor of a network that predicts a teacher
        seen = config.conditioning if config.method == "conditional_byol" else None
        return MLPPredictor(
            group, width, conditioning=seen, layers=2, hidden=2 * width, normalize=True
        )
    half = width if entry.projectors == "heads" else width // 2
    if config.method == "exact":
        rotation: Action = IrrepsAction(config.irreps, SO3())
        if isinstance(group, Product):
            rotation = Factor(rotation, group, 0)
        return Trivial(half) + rotation
    if entry.moves == "half":
        return Trivial(half) + _predictor(config, half)
    if entry.moves == "all":
        return DirectSum([_predictor(config, width)])
    if config.method == "vicreg_part":
        return Trivial(half, group) + Trivial(half, group)
    return Trivial(width, group)


def _predictor(config: ModelConfig, width: int) -> Action:
    group = config.convention.group
    if config.predictor == "mlp":
        return MLPPredictor(
            group, width, conditioning=config.conditioning, layers=config.predictor_layers
        )
    return Hypernetwork(
        group, width, config.conditioning, gain=config.gain or None,
        deep=config.predictor == "deep",
    )  # fmt: skip


def build_model(config: ModelConfig) -> SplitModel:
    """Encoder and projectors, with fresh weights from the global generator."""
    encoder = build_encoder(config)
    projectors = METHODS[config.method].projectors
    if projectors == "heads":
        heads = SharedProjector(encoder.dim, [config.projector] * 2)
        return SplitModel(encoder, heads, names=("all",))
    if projectors == "one":
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


def build_encoder(config: ModelConfig) -> Encoder:
    """The encoder that settings name, in training mode.

    Args:
        config: Of a model.

    Raises:
        DataFormatError: There is no such module, file or factory.
        ConventionError: What the factory returns is no module, or does not say its width.
    """
    if not config.encoder:
        return ImageEncoderConfig(width=config.width, topology=config.topology).build()
    found = load_model(config.encoder, dtype=torch.float32, device="cpu")
    dim = getattr(found, "dim", None)
    if not isinstance(found, nn.Module) or not isinstance(dim, int) or dim < 2:
        raise ConventionError(
            expected="a torch.nn.Module whose attribute dim is the width of what it returns, at "
            "least 2",
            got=f"{type(found).__name__} with dim={dim!r}", argument="model.encoder",
            advice="Set self.dim in its __init__, or encoder.dim = ... before the factory returns.",
        )  # fmt: skip
    own: Any = deepcopy(found).train()  # a module that stands in a file is not shared
    encoder: Encoder = own
    return encoder


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
        action = build_action(config)
        if config.method in AVERAGED_TEACHER:
            return AveragedTeacherLearner(model, action, config.convention.group)
        objective = Objective(_plan(config), action)
        if config.method == "augself":
            return NamedElementLearner(model, objective, config.element_features)
        if config.group_law:
            return GroupLawLearner(model, objective, weight=config.group_law, side="right")
        return PairLearner(model, objective)


def _plan(config: ModelConfig) -> Plan:
    if config.method == "sie" and not config.moved_variance:
        return preset("sie", std_moved=0.0).plan
    plan = METHODS[config.method].plan
    return [] if plan is None else plan()


@dataclass(frozen=True)
class Trained:
    """A trained model with everything that evaluation needs.

    Args:
        model: In evaluation mode.
        action: The same action the loss used, weights included: its last summand moves; None for
            a method without one.
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
    action: Action | None = None
    moves = METHODS[config.method].moves != "nothing"
    if isinstance(learner, PairLearner):
        action = learner.objective.action
    elif isinstance(learner, AveragedTeacherLearner) and config.method == "conditional_byol":
        action = DirectSum([learner.predictor])
    model = learner.model
    if not isinstance(model, SplitModel):
        raise ConventionError(
            expected="a learner of this recipe", got=type(model).__name__, argument="learner",
            advice="Make it with build_learner.",
        )  # fmt: skip
    return Trained(
        model=model.eval(),
        action=action if moves and isinstance(action, DirectSum) else None,
        config=config,
        labels=tuple(header["labels"]),
        channel_mean=tuple(header["channel_mean"]),
        channel_std=tuple(header["channel_std"]),
    )
