"""Moving averages of weights, which are less noisy than the last ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError


class WeightAverage(nn.Module):
    """Exponential moving average of a module's parameters.

        average ← d average + (1 − d) weights,    d = min(decay, (1 + t) / (10 + t))

    after step t = 1, 2, ...; the smaller d of the first steps forgets the fresh weights.

    Args:
        module: Whose parameters are averaged; the average starts at what they are now.
        decay: In (0, 1); 0.99 remembers about 100 steps.

    Raises:
        ConventionError: The decay is out of range.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(layer.weight)
        >>> average = WeightAverage(layer, decay=0.5)
        >>> _ = nn.init.ones_(layer.weight)
        >>> average.update(layer)
        >>> with average.applied(layer):
        ...     round(layer.weight.item(), 4)
        0.8182
        >>> layer.weight.item()
        1.0
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        super().__init__()
        if not 0 < decay < 1:
            raise ConventionError(
                expected="a decay between 0 and 1", got=str(decay), argument="decay",
                advice="0.99 for some thousand steps, 0.999 for many.",
            )  # fmt: skip
        self.decay = decay
        self._names = [name for name, _ in module.named_parameters()]
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        for index, parameter in enumerate(module.parameters()):
            self.register_buffer(f"average_{index}", parameter.detach().clone())

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the weights after a step into the average.

        Args:
            module: The module the average was made of.
        """
        self.steps += 1
        t = int(self.steps)
        keep = min(self.decay, (1 + t) / (10 + t))
        for average, parameter in self._pairs(module):
            average.lerp_(parameter, 1 - keep)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Put the average in the place of the weights, and the weights back at the end.

        Args:
            module: The module the average was made of.
        """
        kept = [parameter.detach().clone() for parameter in module.parameters()]
        self.apply_to(module)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, weights in zip(module.parameters(), kept, strict=True):
                    parameter.copy_(weights)

    @torch.no_grad()
    def apply_to(self, module: nn.Module) -> None:
        """Put the average in the place of the weights for good.

        Args:
            module: The module the average was made of.
        """
        for average, parameter in self._pairs(module):
            parameter.copy_(average)

    def _pairs(self, module: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        for index, parameter in enumerate(module.parameters()):
            yield self.get_buffer(f"average_{index}"), parameter
