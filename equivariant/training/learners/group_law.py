"""An objective, and a pull of its learned action towards the law of its group."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from equivariant.actions import Action, DirectSum
from equivariant.errors import ConventionError
from equivariant.losses import Objective
from equivariant.shapes import Matrix, Vector
from equivariant.training.learners.pairs import PairLearner

Side = Literal["left", "right"]


def group_law_terms(
    action: Action, g: Matrix, z: Vector, *, side: Side = "left"
) -> dict[str, Tensor]:
    """How far a learned action is from a group action, as three mean squares.

        identity     mean |ρ(e) z − z|² / D
        inverse      mean |ρ(g⁻¹) ρ(g) z − z|² / D
        composition  mean |ρ(h) ρ(g) z − ρ(hg) z|² / D,   gh in place of hg for a right action

    Args:
        action: ρ, on vectors of width D.
        g: Elements, shape (N, n, n), N at least 2; h is that of the next row, the first of the
            last one.
        z: Vectors, shape (N, D).
        side: "left" where elements act on the left (world frame); "right" where views are related
            by R_b = R_a g (object frame, SIE): moving by g, then by h, is moving by gh.

    Returns:
        The three terms, each of shape (), all zero for an action that obeys the law.

    Raises:
        ConventionError: The action names no group.

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO3
        >>> g = SO3().sample(4, generator=torch.Generator().manual_seed(0))
        >>> terms = group_law_terms(Vectors(SO3(), channels=2), g, torch.ones(4, 6).double())
        >>> {name: round(float(x), 9) for name, x in terms.items()}
        {'identity': 0.0, 'inverse': 0.0, 'composition': 0.0}
    """
    group = action.group
    if group is None:
        raise ConventionError(
            expected="an action of a group", got=f"{action}, of any", argument="action",
            advice="Name the group where the action is made.",
        )  # fmt: skip
    e = group.identity(dtype=g.dtype, device=g.device).expand_as(g)
    h, moved = g.roll(-1, 0), action(g, z)
    both = h @ g if side == "left" else g @ h
    pairs = {
        "identity": (action(e, z), z),
        "inverse": (action(group.inverse(g), moved), z),
        "composition": (action(h, moved), action(both, z)),
    }
    return {name: (one - other).square().mean() for name, (one, other) in pairs.items()}


class GroupLawLearner(PairLearner):
    """Trains embeddings by an objective whose learned action is drawn towards its group's law.

        total = objective(z_a, z_b, g) + weight (identity + inverse + composition)

    The terms are :func:`group_law_terms` of the action's last summand on z_a, without gradient to
    the embeddings: what is regularized is the action.

    Args:
        model: Views to embeddings.
        objective: Compares them; the last summand of its action is a learned one.
        weight: Of the three terms, not negative.
        side: See :func:`group_law_terms`.

    Raises:
        ConventionError: The weight is negative, or nothing of the action is learned.

    Source: ours. SIE's hypernetwork is no homomorphism (Garrido et al. 2023 leave it free).
    """

    def __init__(
        self,
        model: torch.nn.Module,
        objective: Objective,
        *,
        weight: float = 1.0,
        side: Side = "left",
    ) -> None:
        super().__init__(model, objective)
        action = objective.action
        learned = isinstance(action, DirectSum) and any(
            True for _ in action.summands[-1].parameters()
        )
        if weight < 0 or not learned:
            raise ConventionError(
                expected="a weight of at least 0, and an action whose last summand is learned",
                got=f"weight={weight}, {action}", argument="objective",
                advice="An action without weights obeys the law, or cannot be changed.",
            )  # fmt: skip
        self.weight, self.side = weight, side

    def forward(
        self, a: Tensor, b: Tensor, g: Tensor, **known: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        z_a, z_b = self.model(a), self.model(b)
        value = self.compared(z_a, z_b, g, known)
        action: Any = self.objective.action  # a direct sum, as checked
        part: Action = action.summands[-1]
        z = z_a.detach()[:, action.slices[-1]]
        terms = group_law_terms(part, g, z, side=self.side)
        total = value.total + self.weight * torch.stack(list(terms.values())).sum()
        return total, {**value.terms, **{f"law_{k}": v.detach() for k, v in terms.items()}}
