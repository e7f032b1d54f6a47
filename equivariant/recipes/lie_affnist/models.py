"""Networks for digits with what they learn: classes, or pairs whose motion is recorded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from equivariant.actions import Action, Declaration, Trivial, Vectors
from equivariant.errors import ConventionError, DataFormatError
from equivariant.groups import Affine
from equivariant.losses import Objective, preset
from equivariant.nn import (
    Classifier,
    ConvNetConfig,
    LieNetwork,
    LieNetworkConfig,
    SplitModel,
    SplitProjector,
)
from equivariant.recipes.lie_affnist.settings import (
    LINEAR_PARTS,
    DigitExperiment,
    DigitNetwork,
    network_settings,
)
from equivariant.shapes import Images
from equivariant.training import Learner, PairLearner, load_weights, read_header

CLASSES = 10
HEADER_FORMAT = "equivariant digits 1"
PARTS = ("invariant", "vectors")


class DigitLearner(Learner):
    """Teaches the classes of pictures by cross-entropy.

    Args:
        model: Pictures to logits.
        augment: Learn from the second pictures of pairs, which are transformed, instead of the
            first, which are centred.
    """

    def __init__(self, model: nn.Module, *, augment: bool) -> None:
        super().__init__(model)
        self.augment = augment

    def forward(
        self, a: Tensor, b: Tensor, g: Tensor, **known: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        logits, label = self.model(b if self.augment else a), known["label"]
        loss = cross_entropy(logits, label)
        right = (logits.detach().argmax(1) == label).to(loss.dtype).mean()
        return loss, {"top1": right}


def lie_config(config: DigitNetwork, *, contrastive: bool) -> LieNetworkConfig:
    """The Lie network that settings describe.

    Args:
        config: The settings.
        contrastive: Whether it gives a representation with vectors, or logits.
    """
    return LieNetworkConfig(
        LINEAR_PARTS[config.group], outputs=None if contrastive else CLASSES, width=config.width,
        blocks=config.blocks, samples=config.samples, sampling=config.sampling,
        radius=config.radius, scale_radius=config.scale_radius, window=config.window,
        steps=config.relative_steps, lift_radius=config.lift_radius, stride=config.stride,
        conv_radius=config.conv_radius, pool=config.pool, dropout=config.dropout,
        vectors=config.vectors if contrastive else 0,
    )  # fmt: skip


def build_network(config: DigitNetwork, *, contrastive: bool) -> nn.Module:
    """A network with fresh weights.

    Args:
        config: Its shape.
        contrastive: Whether it gives embeddings: those of what is to stay, by a projector, then
            the vectors as they are, since a projector would mix their components.
    """
    lie = lie_config(config, contrastive=contrastive)
    if not contrastive:
        if config.model == "cnn":
            return Classifier(ConvNetConfig(config.cnn_widths).build(), CLASSES)
        return lie.build()
    parts = (config.width, 2 * config.vectors)
    encoder: LieNetwork | Classifier = lie.build()
    if config.model == "cnn":
        encoder = Classifier(ConvNetConfig(config.cnn_widths).build(), sum(parts))
    return SplitModel(encoder, SplitProjector(parts, [config.projector, ()]), names=PARTS)


def build_action(config: DigitNetwork) -> Action:
    """How embeddings are to move with the recorded g.

    Vectors move by the linear part of any affine g. A Lie network's do so by construction where g
    is in its own group; of the rest of the affine maps that the law draws, they are taught it.
    """
    return Trivial(config.projector[-1]) + Vectors(Affine(2), config.vectors)


def build_learner(config: DigitExperiment) -> Learner:
    """A fresh network with its objective; the global generator is left as it was.

    Args:
        config: Network, objective, and seed.
    """
    contrastive = config.objective == "contrastive"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build_network(config.network, contrastive=contrastive)
    if contrastive:
        return PairLearner(model, Objective(preset("exact").plan, build_action(config.network)))
    return DigitLearner(model, augment=config.augment)


@dataclass(frozen=True)
class TrainedDigits:
    """A trained network for digits, in evaluation mode.

    Args:
        model: Pictures to logits, or a SplitModel to embeddings.
        config: Its shape.
    """

    model: nn.Module
    config: DigitNetwork

    @property
    def contrastive(self) -> bool:
        """Whether it was trained by pairs, and knows no classes by itself."""
        return isinstance(self.model, SplitModel)

    @property
    def encoder(self) -> nn.Module:
        """What is measured and probed: pictures to logits, or to representations."""
        encoder = self.model.encoder if isinstance(self.model, SplitModel) else self.model
        if not isinstance(encoder, nn.Module):
            raise ConventionError(
                expected="a network of this recipe", got=type(encoder).__name__, argument="model",
                advice="Make it with build_learner.",
            )  # fmt: skip
        return encoder

    def with_samples(self, samples: int | None) -> DigitEncoder:
        """The encoder at so many group elements in every layer; None for a plain network."""
        return DigitEncoder(self, samples)


class DigitEncoder(nn.Module):
    """An encoder at a number of group elements, with the declaration of its Lie network.

    A plain network declares what a Lie network of the same settings would, so that their errors
    are about the same motions.

    Args:
        trained: Whose encoder.
        samples: Group elements in every layer; None for a plain network.
    """

    def __init__(self, trained: TrainedDigits, samples: int | None) -> None:
        super().__init__()
        self.encoder, self.samples = trained.encoder, samples
        self.contrastive, self.config = trained.contrastive, trained.config
        self.width = trained.config.width if trained.contrastive else CLASSES

    def forward(self, images: Images) -> Tensor | dict[str, Tensor]:
        """Logits, or the parts of representations by name."""
        y = self.outputs(images)
        if not self.contrastive:
            return y
        return dict(zip(PARTS, (y[:, : self.width], y[:, self.width :]), strict=True))

    def outputs(self, images: Images) -> Tensor:
        """Logits or representations, shape (batch, dim)."""
        if self.samples is None:
            y: Tensor = self.encoder(images)
        else:
            y = self.encoder(images, samples=self.samples)
        return y

    def declaration(self, signal: Images) -> Declaration:
        """How pictures and outputs move, part by part."""
        network = self.encoder
        if not isinstance(network, LieNetwork):
            with torch.random.fork_rng(devices=[]):  # of its weights, which are not asked
                network = lie_config(self.config, contrastive=self.contrastive).build()
        whole = network.declaration(signal)
        if not self.contrastive:
            return whole
        return Declaration(
            whole.act_in, dict(zip(PARTS, whole.act_out.summands, strict=True)), whole.law
        )


def make_header(config: DigitExperiment, *, data: str) -> dict[str, Any]:
    """What a weights file says of itself, so that it can be loaded without further settings.

    Args:
        config: Settings.
        data: Checksum of the training digits.
    """
    return {
        "format": HEADER_FORMAT,
        "objective": config.objective,
        "network": asdict(config.network),
        "seed": config.seed,
        "data": data,
    }


def load_trained(path: Path) -> TrainedDigits:
    """Load what training saved.

    Args:
        path: ``checkpoints/last.safetensors`` of a run.

    Raises:
        DataFormatError: The file is missing, damaged, of another program or architecture.
    """
    header = read_header(path)
    try:
        if header["format"] != HEADER_FORMAT:
            raise KeyError(f"format {header['format']}")
        experiment = DigitExperiment(
            data=Path(), objective=header["objective"], network=network_settings(header["network"])
        )
    except (KeyError, TypeError) as error:
        raise DataFormatError(
            expected=f"weights of a network for digits, format {HEADER_FORMAT!r}",
            got=f"{type(error).__name__}: {error}", argument=str(path),
            advice="Pass a file that `equivariant train lie` wrote.",
        ) from error  # fmt: skip
    learner = build_learner(experiment)
    load_weights(path, learner)
    return TrainedDigits(learner.model.eval(), experiment.network)
