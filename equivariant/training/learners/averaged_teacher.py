"""Learning to predict what a moving average of the network says of the other view."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from equivariant.actions import Action
from equivariant.groups import Group
from equivariant.losses import preset
from equivariant.training.learners.teachers import TeacherLearner


class AveragedTeacherLearner(TeacherLearner):
    """Trains a network and a predictor; the target is an average of the network's weights.

        loss = |unit(ρ(g) z_a) - unit(t_b)|² + |unit(ρ(g⁻¹) z_b) - unit(t_a)|²,
        z = network,  t = teacher without gradient,  teacher ← d teacher + (1 - d) network

    A predictor that reads g is told how to get from one view to the other; one that does not asks
    for invariance. The teacher follows after every step of the optimizer, that is before the next.

    Args:
        model: Views to embeddings.
        predictor: (g, z) to predictions; its weights are trained.
        group: Of the pairs' elements, for their inverses.
        decay: d, in [0, 1).

    Raises:
        ConventionError: The decay is out of range.

    Source: Grill et al. 2020 (BYOL), eq. 1 and 2; conditional: as in the comparisons of seq-JEPA.
    """

    def __init__(
        self, model: nn.Module, predictor: Action, group: Group, *, decay: float = 0.99
    ) -> None:
        super().__init__(model, decay=decay)
        self.predictor, self.group = predictor, group
        self.loss = preset("byol").build()

    def forward(
        self, a: Tensor, b: Tensor, g: Tensor, **known: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        self.follow()
        z_a, z_b = self.model(a), self.model(b)
        with torch.no_grad():
            target_a, target_b = self.teacher(a), self.teacher(b)
        value = self.loss(
            a=self.predictor(g, z_a), b=self.predictor(self.group.inverse(g), z_b),
            target_a=target_a, target_b=target_b,
        )  # fmt: skip
        return value.total, value.terms
