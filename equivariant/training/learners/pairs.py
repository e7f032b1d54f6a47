"""What a training step computes: a loss from a batch of pairs, and its parts for the log."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from equivariant.errors import ConventionError
from equivariant.losses import Objective, ObjectiveValue

_ROTATIONS = ("pose_a", "pose_b", "relative_xyzw")


class Learner(nn.Module, ABC):
    """A model and what it is trained for.

    Args:
        model: What is kept after training.
    """

    generator: torch.Generator | None = None
    """Source of what a loss draws; ``fit`` gives every step its own, derived from (seed, step)."""

    mean_over_samples: bool = False
    """Whether the loss of a batch is the mean of those of equal parts: it may be accumulated."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def forward(self, *args: Any, **batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its parts, detached.

        The arguments are the tensors of a batch by name; of a PairBatch a, b, g, and those of
        object_id, label, pose_a, pose_b, relative_xyzw that are known.
        """


class PairLearner(Learner):
    """Trains embeddings by an objective.

    Args:
        model: Views to embeddings.
        objective: Compares them; the weights of its action are trained too.
    """

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__(model)
        self.objective = objective

    def forward(
        self, a: Tensor, b: Tensor, g: Tensor, **known: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        value = self.compared(self.model(a), self.model(b), g, known)
        return value.total, value.terms

    def compared(
        self, z_a: Tensor, z_b: Tensor, g: Tensor, known: Mapping[str, Tensor]
    ) -> ObjectiveValue:
        """The objective's value on embeddings and what a batch knows besides."""
        names = {name: x for name, x in known.items() if name not in _ROTATIONS}
        value: ObjectiveValue = self.objective(z_a, z_b, g, generator=self.generator, **names)
        return value


class NamedElementLearner(PairLearner):
    """Trains embeddings by an objective, and a head that names the element from both views.

        total = objective(z_a, z_b, g) + weight |head([y_a, y_b]) - c(g)|² / K

    The head reads representations, not embeddings: three layers with rectifiers, twice as wide as
    a representation.

    Args:
        model: Has ``represent`` and ``embed``, and an ``encoder`` with ``dim``.
        objective: Compares embeddings.
        features: Elements (batch, n, n) to the K numbers c(g) that the head names.
        weight: Of the head's error.

    Source: Lee et al. 2021 (AugSelf), as in SIE's published code, weight 1.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        features: Callable[[Tensor], Tensor],
        *,
        weight: float = 1.0,
    ) -> None:
        super().__init__(model, objective)
        self.features, self.weight = features, weight
        group: Any = objective.action.group
        outputs = features(group.identity()).shape[-1]
        width = 2 * int(model.encoder.dim)  # type: ignore[arg-type]
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, outputs),
        )  # fmt: skip

    def forward(
        self, a: Tensor, b: Tensor, g: Tensor, **known: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        y_a, y_b = self.model.represent(a), self.model.represent(b)  # type: ignore[operator]
        z_a, z_b = self.model.embed(y_a), self.model.embed(y_b)  # type: ignore[operator]
        value = self.compared(z_a, z_b, g, known)
        named = mse_loss(self.head(torch.cat([y_a, y_b], -1)), self.features(g).to(y_a.dtype))
        total = value.total + self.weight * named
        return total, {**value.terms, "named_element": named.detach()}


class SupervisedLearner(Learner):
    """The reference: the same encoder taught class and relative rotation from labels.

    Class by cross-entropy on each view, the relative quaternion q_a⁻¹ q_b (signed as the protocol's
    target) by the squared error of a three-layer network on
    both representations. What self-supervised methods reach is read against it.

    Args:
        model: Has ``represent``, images to representations.
        dim: Width of a representation.
        classes: Number of classes.

    Raises:
        ConventionError: On a batch without labels or relative quaternions.
    """

    mean_over_samples = True

    def __init__(self, model: nn.Module, *, dim: int, classes: int) -> None:
        super().__init__(model)
        self.classifier = nn.Linear(dim, classes)
        self.rotation = nn.Sequential(
            nn.Linear(2 * dim, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 4)
        )

    def forward(
        self, a: Tensor, b: Tensor, g: Tensor, **known: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        missing = {"label", "relative_xyzw"} - known.keys()
        if missing:
            raise ConventionError(
                expected="pairs with labels and relative rotations",
                got=f"pairs without {', '.join(sorted(missing))}", argument="batch",
                advice="TransformPairs provides them.",
            )  # fmt: skip
        y_a, y_b = self.model.represent(a), self.model.represent(b)  # type: ignore[operator]
        logits = torch.cat([self.classifier(y_a), self.classifier(y_b)])
        label_loss = cross_entropy(logits, torch.cat([known["label"]] * 2))
        target = known["relative_xyzw"].to(y_a.dtype)
        rotation_loss = mse_loss(self.rotation(torch.cat([y_a, y_b], -1)), target)
        total = label_loss + 4.0 * rotation_loss
        return total, {"label": label_loss.detach(), "rotation": rotation_loss.detach()}
