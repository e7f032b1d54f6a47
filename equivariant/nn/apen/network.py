"""Segmentation and classification of clouds whose parts move, with a certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.actions import Declaration, Points, Trivial
from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.apen.calibration import Calibration
from equivariant.nn.apen.encoder import APENConfig, APENEncoder, Encoding
from equivariant.nn.apen.error_bound import (
    PROBABILITIES_APART,
    ErrorBound,
    affected_points,
    parts_of_cells,
    refinement_failure,
)
from equivariant.nn.apen.partition import Partition
from equivariant.nn.points.layers import FeatureNorm
from equivariant.shapes import Float, Int


@dataclass
class Prediction:
    """What a network says about a batch of clouds, and what is known of its error.

    Args:
        logits: Of each point, shape (batch, points, classes), or of each cloud, (batch, classes).
        encoding: Features, votes and partitions behind them.
        bound: All that is known of the equivariance error.
    """

    logits: Tensor
    encoding: Encoding
    bound: ErrorBound

    @property
    def probabilities(self) -> Tensor:
        """Softmax of the logits: what the bound's M = √2 is about."""
        return self.logits.softmax(-1)

    @property
    def partition(self) -> Partition:
        """The predicted parts."""
        return self.encoding.partition

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """All partitions, from the first cells to the predicted parts."""
        return self.encoding.partitions

    @property
    def votes(self) -> list[Tensor]:
        """Of each layer, where each point sees the centre of its part."""
        return self.encoding.votes

    @property
    def certificate(self) -> Float[Tensor, " batch"]:
        """Bound on the probability that the prediction changes as parts move, in (0, 1].

        By more than ``bound.tolerance``, 0 if not set otherwise. 1, which says nothing, until the
        network is calibrated.
        """
        return self.bound.probability

    def keys(self) -> tuple[str, ...]:
        """Names of what an action moves: the logits."""
        return ("logits",)

    def __getitem__(self, key: str) -> Any:
        if key not in self.keys():
            raise KeyError(key)
        return getattr(self, key)


class _Certified(nn.Module):
    """What segmenter and classifier share: an encoder, and counts of its failures.

    Args:
        classes: At least 1.
        config: Shape of the network.
        local: Whether outputs at a point depend on its last cell alone.
    """

    def __init__(self, classes: int, config: APENConfig | None, *, local: bool) -> None:
        super().__init__()
        config = config or APENConfig()
        if classes < 1:
            raise ConventionError(
                expected="at least 1 class", got=str(classes), argument="classes",
                advice="Give the number of labels.",
            )  # fmt: skip
        self.config, self.classes, self.local = config, classes, local
        self.encoder = APENEncoder(config)
        self.calibration = Calibration()

    def calibrate(
        self,
        clouds: Float[Tensor, "scenes points 3"],
        moved: Float[Tensor, "scenes points 3"],
        parts: Int[Tensor, "scenes points"],
        *,
        tolerance: float = 0.0,
        level: float = 0.9,
        draws: int = 200,
        batch: int = 16,
    ) -> None:
        """Learn the certificates from scenes with known parts, each in two states.

        Scenes should be none that the weights were trained on, and exchangeable with those that
        certificates are for, states included: drawn by the same law, in any order. Then see
        :class:`equivariant.nn.apen.calibration.Calibration` for what holds. A scene fails where
        probabilities change by more than ``tolerance``, in the mean over points of |p - p'|₂; with
        tolerance 0, where :func:`equivariant.nn.apen.error_bound.affected_points` finds a point.

        Args:
            clouds: Scenes, shape (scenes, points, 3).
            moved: The same points after their parts have moved.
            parts: True part of each point.
            tolerance: Change that the certificate allows, in [0, √2).
            level: Of the bounds on the share of points and on the change, in (0, 1).
            draws: For λ of each scene.
            batch: Scenes at a time; no result depends on it.

        Raises:
            ShapeError: Clouds, states and parts that do not fit.
            ConventionError: A tolerance or level out of range.
        """
        if moved.shape != clouds.shape or parts.shape != clouds.shape[:2] or len(clouds) < 3:
            raise ShapeError(
                expected="at least three scenes, each in two states, with a part per point",
                got=f"shapes {[tuple(v.shape) for v in (clouds, moved, parts)]}",
                argument="moved", advice="Row i of both states is the same point.",
            )  # fmt: skip
        if not 0 <= tolerance < PROBABILITIES_APART:
            raise ConventionError(
                expected="a tolerance in [0, √2)", got=str(tolerance), argument="tolerance",
                advice="0 asks that nothing changes; 0.1 is a visible change.",
            )  # fmt: skip
        was_training = self.training
        self.eval()
        found = []
        with torch.no_grad():
            for start in range(0, len(clouds), batch):
                rows = slice(start, start + batch)
                states = self(clouds[rows]), self(moved[rows])
                found.append(_outcomes(*states, Partition(parts[rows]), draws))
        self.train(was_training)
        scores, shares, refinement, change = (torch.cat(v) for v in zip(*found, strict=True))
        failed = (change > tolerance if tolerance else shares > 0).double()
        self.calibration.fit(
            scores, failed, shares if self.local else (shares > 0).double(),
            refinement=refinement, change=change, tolerance=tolerance, level=level,
        )  # fmt: skip

    def _bound(self, encoding: Encoding) -> ErrorBound:
        coarsening = encoding.coarsenings[-1]
        return self.calibration.bound(
            -coarsening.log_certainty.detach(), delta=coarsening.delta.detach()
        )

    def _head(self, inputs: int) -> nn.Sequential:
        config = self.config
        return nn.Sequential(
            nn.Linear(inputs, config.hidden), FeatureNorm(config.hidden, config.norm),
            nn.LeakyReLU(0.2), nn.Dropout(config.dropout),
            nn.Linear(config.hidden, self.classes),
        )  # fmt: skip

    def declaration(self, signal: Tensor) -> Declaration:
        """Under motions of the whole cloud the logits stay.

        Args:
            signal: An input; only its presence matters.
        """
        return Declaration(Points(self.config.group), {"logits": Trivial(self.classes)})


def _outcomes(
    before: Prediction, after: Prediction, parts: Partition, draws: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each scene: score, share of points that may change, λ, and how much changed."""
    affected = affected_points(before.partitions, after.partitions, parts)
    coarsening = before.encoding.coarsenings[-1]
    owner = parts_of_cells(coarsening.finer, parts)
    cloud = coarsening.finer.cloud_of_cell
    refinement = [
        refinement_failure(coarsening.probabilities[cloud == k], owner[cloud == k], draws=draws)
        for k in range(len(affected))
    ]
    score = -coarsening.log_certainty.double()
    change = (after.probabilities - before.probabilities).double().norm(dim=-1)
    change = (change.mean(1) if change.ndim == 2 else change).clamp(max=PROBABILITIES_APART)
    return score, affected.double().mean(1), torch.tensor(refinement).to(score), change


class APENSegmenter(_Certified):
    """A class for every point of clouds whose parts move by themselves.

    Logits are a small network's, point by point, of the features of an
    :class:`equivariant.nn.APENEncoder`. They do not change as parts move, where the predicted
    partition refines the parts; how often it does not is what the certificate bounds.

    Args:
        classes: At least 1.
        config: Shape of the network.

    Raises:
        ConventionError: A setting out of range.

    Example:
        >>> config = APENConfig(cells=8, widths=(8, 16), sigmas=(0.1, 0.3))
        >>> segmenter = APENSegmenter(4, config).eval()
        >>> found = segmenter(torch.randn(2, 100, 3))
        >>> found.logits.shape, found.partition.labels.shape, found.certificate
        (torch.Size([2, 100, 4]), torch.Size([2, 100]), tensor([1., 1.]))

    Source: Atzmon et al. 2024.
    """

    def __init__(self, classes: int, config: APENConfig | None = None) -> None:
        config = config or APENConfig()
        super().__init__(classes, config, local=not config.context)
        self.head = self._head(self.encoder.dim * (2 if config.context else 1))

    def forward(
        self, clouds: Float[Tensor, "batch points xyz"], known: Partition | None = None
    ) -> Prediction:
        """Logits of every point, with partitions and certificate.

        Args:
            clouds: Shape (batch, points, 3), about one unit in size.
            known: True parts, where they are known; see :class:`equivariant.nn.APENEncoder`.

        Raises:
            ShapeError: The last axis is not 3, or there is no point.
        """
        encoding = self.encoder(clouds, known)
        features = encoding.features
        if self.config.context:
            features = torch.cat([features, features.amax(1, keepdim=True).expand_as(features)], -1)
        return Prediction(self.head(features), encoding, self._bound(encoding))


class APENClassifier(_Certified):
    """A class for every cloud whose parts move by themselves.

    Logits are those of the mean and the maximum of the features over the points.

    Args:
        classes: At least 1.
        config: Shape of the network.

    Raises:
        ConventionError: A setting out of range.

    Example:
        >>> config = APENConfig(cells=8, widths=(8, 16), sigmas=(0.1, 0.3))
        >>> APENClassifier(10, config).eval()(torch.randn(2, 100, 3)).logits.shape
        torch.Size([2, 10])

    Source: Atzmon et al. 2024.
    """

    def __init__(self, classes: int, config: APENConfig | None = None) -> None:
        super().__init__(classes, config, local=False)
        self.head = self._head(2 * self.encoder.dim)

    def forward(
        self, clouds: Float[Tensor, "batch points xyz"], known: Partition | None = None
    ) -> Prediction:
        """Logits of every cloud, with partitions and certificate.

        Args:
            clouds: Shape (batch, points, 3), about one unit in size.
            known: True parts, where they are known; see :class:`equivariant.nn.APENEncoder`.

        Raises:
            ShapeError: The last axis is not 3, or there is no point.
        """
        encoding = self.encoder(clouds, known)
        pooled = torch.cat([encoding.features.mean(1), encoding.features.amax(1)], -1)
        return Prediction(self.head(pooled), encoding, self._bound(encoding))
