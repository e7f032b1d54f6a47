"""Several losses on the same embeddings, whose gradients are made to agree before they flow on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.training.learners.pairs import Learner
from equivariant.training.surgery import conflict, harmonized

EmbeddingLoss = Callable[[Mapping[str, Tensor]], Tensor]
"""From embeddings by name to a scalar."""


class HarmonizedLearner(Learner):
    """Gradients of several losses by one embedding are projected, example by example.

        g_k = ∂L_k/∂z,   g = Σ_k harmonized(g)_k,   ∂total/∂weights = (∂z/∂weights)ᵀ g

    for every embedding z that two losses or more reach; others get the plain sum. With a
    curriculum, an example whose conflict, the smallest over its embeddings, is at most γ is left
    out of the step; γ rises from the first value to the second over a number of steps, which are
    counted in the learner's state. The value of the total is that of the plain sum, and parameters
    of the losses, such as temperatures, have the plain sum's gradient.

    Args:
        model: Fields of the batch, by name, to embeddings by name, row i of each of example i.
        losses: Losses by name, at least two, that are modules or functions.
        curriculum: γ at first and at last, in [-1, 1], and over how many steps; None leaves none
            out.

    Raises:
        ConventionError: There are fewer than two losses, or the curriculum is out of range.
        ShapeError: In a step, the embeddings have different numbers of rows.

    Source: Wu et al. 2022 (cross-modality gradient harmonization); the schedule from -0.3 to 0 is
    ours.
    """

    step: Tensor
    conflicts: Tensor | None = None
    """Conflict of each example of the last batch, shape (N,)."""

    def __init__(
        self,
        model: nn.Module,
        losses: Mapping[str, EmbeddingLoss],
        *,
        curriculum: tuple[float, float, int] | None = None,
    ) -> None:
        super().__init__(model)
        if len(losses) < 2:
            raise ConventionError(
                expected="two losses or more", got=", ".join(losses) or "none", argument="losses",
                advice="A single loss has no other to conflict with.",
            )  # fmt: skip
        if curriculum is not None:
            first, last, steps = curriculum
            if not -1.0 <= first <= last <= 1.0 or steps < 1:
                raise ConventionError(
                    expected="-1 <= first <= last <= 1 and at least one step",
                    got=str(curriculum), argument="curriculum",
                    advice="(-0.3, 0.0, 1000) leaves out ever milder conflicts.",
                )  # fmt: skip
        self.losses, self.curriculum = dict(losses), curriculum
        self.trained = nn.ModuleList(x for x in losses.values() if isinstance(x, nn.Module))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def threshold(self) -> float | None:
        """γ as it is now; None where no example is left out."""
        if self.curriculum is None:
            return None
        first, last, steps = self.curriculum
        return first + (last - first) * min(int(self.step) / steps, 1.0)

    def forward(self, **batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        embeddings: Mapping[str, Tensor] = self.model(**batch)
        lengths = {name: len(z) for name, z in embeddings.items()}
        if len(set(lengths.values())) > 1:
            raise ShapeError(
                expected="as many rows of every embedding", got=str(lengths), argument="model",
                advice="Row i of each is of example i.",
            )  # fmt: skip
        leaves = {name: z.detach().requires_grad_() for name, z in embeddings.items()}
        values = {name: loss(leaves) for name, loss in self.losses.items()}
        total = torch.stack(list(values.values())).sum()
        terms = {name: value.detach() for name, value in values.items()}
        if not total.requires_grad:
            return total, terms
        found = self._gradients(list(values.values()), leaves)
        pulled = torch.stack([(embeddings[n] * found[n]).sum() for n in embeddings]).sum()
        if self.conflicts is not None:
            terms["conflicting"] = (self.conflicts < 0).float().mean()
        if self.training:
            self.step += 1
        return total + (pulled - pulled.detach()), terms

    def _gradients(self, values: list[Tensor], leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The gradient of each embedding, harmonized, 0 for examples that are left out."""
        names = list(leaves)
        by_loss = [
            torch.autograd.grad(value, [leaves[n] for n in names], retain_graph=True,
                                allow_unused=True)
            for value in values
        ]  # fmt: skip
        result: dict[str, Tensor] = {}
        worst: list[Tensor] = []
        for place, name in enumerate(names):
            reached = [g[place] for g in by_loss if g[place] is not None]
            if len(reached) > 1:
                worst.append(conflict(reached))
                reached = harmonized(reached)
            result[name] = sum(reached, torch.zeros_like(leaves[name]))
        self.conflicts = torch.stack(worst).amin(0) if worst else None
        gamma = self.threshold()
        if gamma is not None and self.conflicts is not None:
            stays = self.conflicts > gamma
            for name, g in result.items():
                result[name] = torch.where(stays.view(-1, *[1] * (g.ndim - 1)), g, 0.0)
        return result
