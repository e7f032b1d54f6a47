"""Elements of a group that a network chooses."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from equivariant.actions import Action
from equivariant.errors import ConventionError
from equivariant.shapes import Float


class GroupAugmenter(nn.Module):
    """Moves every input by an element that depends on it and on chance.

        a(x) = ρ(exp(most · tanh(n(x, u)))) x,    u ~ N(0, I)

    With the ascent of a loss (:class:`equivariant.training.AlternatingLearner`) it finds where in
    the group two networks disagree. It stays in the group, whatever it learns: the label of what
    it moves, and the element, remain known.

    Args:
        action: Of a group with an exponential on inputs, as ``Points(SO3())``.
        network: From summaries and noise, shape (batch, dim + noise), to coordinates of the Lie
            algebra, shape (batch, group's dimension).
        summary: From inputs to what the network reads of them, shape (batch, dim).
        noise: Number of the coordinates of u, at least 1.
        most: Largest coordinate, above 0; π reaches every rotation.

    Raises:
        ConventionError: A setting is out of range.

    Example:
        >>> from equivariant.actions import Points
        >>> from equivariant.groups import SO3
        >>> augmenter = GroupAugmenter(
        ...     Points(SO3()), nn.Linear(3 + 4, 3), lambda x: x.mean(1), noise=4
        ... )
        >>> augmenter(torch.randn(5, 20, 3)).shape
        torch.Size([5, 20, 3])

    Source: after HARD (2023), whose augmenter is not published; the definition is ours.
    """

    def __init__(
        self,
        action: Action,
        network: nn.Module,
        summary: Callable[[Tensor], Tensor],
        *,
        noise: int = 4,
        most: float = torch.pi,
    ) -> None:
        super().__init__()
        if noise < 1 or not most > 0 or action.group is None:
            raise ConventionError(
                expected="an action of a group, noise of 1 or more, and most above 0",
                got=f"noise={noise}, most={most}, group {action.group}", argument="most",
                advice="Points(SO3()) acts on clouds; π reaches every rotation.",
            )  # fmt: skip
        self.group = action.group
        self.action, self.network, self.summary = action, network, summary
        self.noise, self.most = noise, most

    def elements(
        self, x: Tensor, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch n n"]:
        """The elements for inputs, as matrices, shape (batch, n, n).

        Args:
            x: Inputs, first axis batch.
            generator: Of the noise, on the CPU.
        """
        read = self.summary(x)
        u = torch.randn((len(x), self.noise), generator=generator).to(read)
        chosen = self.most * torch.tanh(self.network(torch.cat([read, u], 1)))
        return self.group.exp(chosen)

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """The moved inputs, the shape of x.

        Args:
            x: Inputs, first axis batch.
            generator: Of the noise, on the CPU.
        """
        moved: Tensor = self.action(self.elements(x, generator=generator), x)
        return moved
